"""Structs in Thrift's compact protocol."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexes.sources.parquet_footer import read_footer
from indexes.sources.thrift import read_struct


def footer(table: pa.Table, **options: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    data = buffer.getvalue()
    return data[-8 - int.from_bytes(data[-8:-4], "little") : -8]


def test_values_are_read_by_field_number() -> None:
    data = bytes([0x15, 0x07, 0x28, 2, 104, 105, 0x11, 0x39, 0x35, 2, 4, 6, 0x1C, 0x15, 1, 0, 0])
    values, length = read_struct(data)
    assert values == {1: -4, 3: b"hi", 4: True, 7: [1, 2, 3], 8: {1: -1}}
    assert length == 17


@pytest.mark.parametrize("data", [b"", b"\x15", b"\x18\x7fab", b"\x19\xf5\xff\xff\xff\x0f\x02", b"\x1c" * 99, b"\x1e"])
def test_damage_is_an_error_that_callers_expect(data: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        read_struct(data)


def test_rows_and_places_agree_with_pyarrow() -> None:
    table = pa.table({"list": [[[1, 2], []]] * 25, "s": [{"a": [1], "b": 2}] * 25, "flat": range(25)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=10)
    metadata = pq.read_metadata(io.BytesIO(buffer.getvalue()))
    columns = [metadata.row_group(group).column(place) for group in range(3) for place in range(metadata.num_columns)]
    found = read_footer(footer(table, row_group_size=10))
    assert found.rows == (10, 10, 5)
    firsts = [min(filter(None, (column.dictionary_page_offset, column.data_page_offset))) for column in columns]
    lengths = [column.total_compressed_size for column in columns]
    assert found.chunks == tuple((first, first + length) for first, length in zip(firsts, lengths, strict=True))
