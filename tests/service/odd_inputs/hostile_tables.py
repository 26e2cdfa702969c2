"""Tables, arrays and JSON lines of someone who means harm."""

import gzip
import io
import json
import os
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .case import Asked, hostile
from .made import MIB, N, deflated, jsonl, parquet, pictures, raw_zip, texts, vectors, written

TRICKS = (
    "{{7*7}}",
    "${7*7}",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0",
    "'; DROP TABLE items;--",
)


class Harm:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("unpickled",)


def header(text: str) -> bytes:
    """An array's head with this description."""
    body = text.encode() + b" " * (63 - (10 + len(text)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body


def described(shape: str, kind: str = "'<f4'") -> str:
    return f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}"


def arrow(batch: pa.RecordBatch) -> bytes:
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, batch.schema) as stream:
        stream.write_batch(batch)
    return buffer.getvalue()


@hostile("vectors", offered=3, read=None, upload=422, said="pickled")
def npy_with_pickled_objects(folder: Path) -> Path:
    array = np.array([Harm(), Harm(), Harm()], dtype=object)
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return written(folder, "a.npy", buffer.getvalue())


@hostile("vectors", offered=1, read=None, upload=415)
def bare_pickle_under_the_name_of_an_array(folder: Path) -> Path:
    return written(folder, "a.npy", pickle.dumps(Harm()))


@hostile("vectors", offered=N, read=N, upload=422)
def npz_with_pickled_objects_beside_vectors(folder: Path) -> Path:
    buffer = io.BytesIO()
    np.savez(buffer, vectors=vectors(), harm=np.array([Harm()], dtype=object))
    return written(folder, "a.npz", buffer.getvalue())


@hostile("vectors", offered=0, read=None, upload=422)
def npy_header_that_is_code(folder: Path) -> Path:
    return written(folder, "a.npy", header("__import__('os').mkdir('ran') or " + described("(2, 6)")) + bytes(48))


@hostile("vectors", offered=0, read=None, upload=422)
def npy_header_of_sixty_thousand_brackets(folder: Path) -> Path:
    return written(folder, "a.npy", header("(" * 60_000))


@hostile("vectors", offered=1, read=None, upload=413)
def npy_that_states_two_to_the_sixtieth_rows(folder: Path) -> Path:
    return written(folder, "a.npy", header(described(f"({2**60}, 1)")) + bytes(2))


@hostile("vectors", offered=N, read=N, upload=413)
def npy_with_vectors_and_a_statement_of_two_to_the_fiftieth_rows(folder: Path) -> Path:
    return written(folder, "a.npy", header(described(f"({2**50}, 6)")) + vectors().tobytes())


@hostile("vectors", offered=0, read=None, upload=202)
def npy_of_negative_shape(folder: Path) -> Path:
    return written(folder, "a.npy", header(described("(-1, -6)")) + vectors().tobytes())


@hostile("vectors", offered=1, read=None, upload=413)
def npy_with_elements_of_two_gigabytes(folder: Path) -> Path:
    return written(folder, "a.npy", header(described("(3, 2)", "'|V2147483647'")) + bytes(100))


@hostile("vectors", offered=1, read=None, upload=202)
def npy_with_a_row_of_five_million_numbers(folder: Path) -> Path:
    path = written(folder, "a.npy", header(described("(1, 5000000)")))
    os.truncate(path, path.stat().st_size + 4 * 5_000_000)
    return path


@hostile("vectors", offered=N + 80_000_000, read=None, upload=413)
def npz_that_unpacks_to_two_gigabytes(folder: Path) -> Path:
    head = header(described(f"({2**31 // 24}, 6)"))
    data, _ = deflated(2**31 // 24 * 24)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    size = len(head) + 2**31 // 24 * 24
    return written(folder, "a.npz", raw_zip([(b"v.npy", start + data, 1, size)]))


@hostile("texts", offered=20_000_000, read=None, upload=202)
def parquet_of_twenty_million_missing_texts(folder: Path) -> Path:
    path = folder / "a.parquet"
    rows = pa.table({"text": pa.nulls(5_000_000, pa.string())})
    with pq.ParquetWriter(path, rows.schema) as writer:
        for _ in range(4):
            writer.write_table(rows, row_group_size=5_000_000)
    return path


@hostile("images", offered=2000, read=None, upload=202)
def parquet_with_one_value_of_a_megabyte_two_thousand_times(folder: Path) -> Path:
    values = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(2000, dtype=np.int32)), pa.array([bytes(MIB)], pa.binary())
    )
    return parquet(folder / "a.parquet", pa.table({"image": values}), dictionary_pagesize_limit=2**30)


@hostile("images", offered=40, read=None, upload=202)
def parquet_with_one_image_of_150_megabytes_forty_times(folder: Path) -> Path:
    values = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(40, dtype=np.int32)), pa.array([bytes(150 * MIB)], pa.binary())
    )
    return parquet(
        folder / "a.parquet", pa.table({"image": values}), dictionary_pagesize_limit=2**30, compression="zstd"
    )


@hostile("texts", offered=N, read=None, upload=202)
def parquet_with_a_footer_longer_than_the_file(folder: Path) -> Path:
    path = parquet(folder / "a.parquet", pa.table({"text": texts()}))
    data = path.read_bytes()
    return written(folder, "a.parquet", data[:-8] + b"\xff\xff\xff\x7fPAR1")


@hostile("texts", offered=N, read=N, upload=202)
def parquet_with_columns_named_like_sql(folder: Path) -> Path:
    names = ("'; DROP TABLE audits;--", "\x1b[31mred", "a\nb", "\u202eesrever", '"', "{{7*7}}", "<script>")
    return parquet(folder / "a.parquet", pa.table({"text": texts(), **{name: texts() for name in names}}))


@hostile("images", offered=N, read=None, upload=202, said="no column")
def parquet_whose_refusal_would_write_on_a_terminal(folder: Path) -> Path:
    names = ("'; DROP TABLE audits;--", "\x1b[31mred", "a\nb", "\u202eesrever", '"', "\x9b31m")
    return parquet(folder / "a.parquet", pa.table({name: list(range(N)) for name in names}))


@hostile("images", offered=N, read=None, upload=202, said="no column")
def parquet_of_five_thousand_columns(folder: Path) -> Path:
    return parquet(folder / "a.parquet", pa.table({f"column {i:04d}": [i] for i in range(5000)}))


@hostile("texts", offered=N, read=None, code=(1, 2, 4), upload=202)
def arrow_with_offsets_that_lead_outside(folder: Path) -> Path:
    data = bytearray(arrow(pa.record_batch({"text": texts()})))
    offsets = np.cumsum([0, *map(len, texts())], dtype=np.int32).tobytes()
    place = data.index(offsets)
    data[place + 8 : place + 12] = struct.pack("<i", 2**31 - 1)
    return written(folder, "a.arrow", bytes(data))


@hostile("vectors", offered=2**31 - 1, read=None, upload=202)
def arrow_with_two_billion_vectors_of_no_width(folder: Path) -> Path:
    kind = pa.list_(pa.float32(), 0)
    cells = pa.FixedSizeListArray.from_buffers(kind, 2**31 - 1, [None], children=[pa.array([], pa.float32())])
    return written(folder, "a.arrow", arrow(pa.record_batch({"vector": cells})))


@hostile("images", offered=2**31 - 1, read=None, upload=202)
def arrow_with_two_billion_images_of_no_bytes(folder: Path) -> Path:
    cells = pa.FixedSizeBinaryArray.from_buffers(pa.binary(0), 2**31 - 1, [None, pa.py_buffer(b"")])
    return written(folder, "a.arrow", arrow(pa.record_batch({"image": cells})))


@hostile("texts", offered=N + 2, read=N, upload=202)
def json_lines_two_hundred_thousand_brackets_deep(folder: Path) -> Path:
    deep = b"[" * 200_000 + b"\n" + b'{"a":' * 100_000 + b"\n"
    return written(folder, "a.jsonl", jsonl(texts()) + deep)


@hostile("texts", offered=N + 1, read=N, upload=413)
def json_line_of_sixty_four_megabytes_that_never_ends(folder: Path) -> Path:
    return written(folder, "a.jsonl", jsonl(texts()) + b'{"text": "' + b"word " * (64 * MIB // 5 - 100))


@hostile("texts", offered=N + 1, read=N, upload=202)
def json_line_over_sixty_four_megabytes(folder: Path) -> Path:
    return written(
        folder, "a.jsonl.gz", gzip.compress(jsonl(texts()) + b'{"text": "' + b"word " * (70 * MIB // 5) + b'"}\n', 3)
    )


@hostile("texts", offered=N + 1, read=N, upload=202)
def json_line_with_a_hundred_thousand_keys_one_of_them_twice(folder: Path) -> Path:
    keys = ", ".join(f'"k{i}": {i}' for i in range(100_000))
    return written(folder, "a.jsonl", jsonl(texts()) + f'{{"text": "a", "text": "b", {keys}}}\n'.encode())


@hostile("texts", offered=N + 300_000, read=N, upload=202)
def json_line_of_three_hundred_thousand_objects(folder: Path) -> Path:
    return written(folder, "a.jsonl", jsonl(texts()) + b'{"a": 1}' * 300_000 + b"\n")


@hostile("texts", offered=1, read=None, upload=202, said="text")
def json_line_with_a_hundred_thousand_other_keys(folder: Path) -> Path:
    return written(folder, "a.jsonl", json.dumps({f"\x1b[31m{i}": i for i in range(100_000)}).encode())


@hostile("texts", offered=len(TRICKS) + N, read=len(TRICKS) + N, upload=202)
def texts_that_are_templates_and_scripts(folder: Path) -> Path:
    return written(folder, "a.jsonl", jsonl([*TRICKS, *texts()]))


@hostile("texts", offered=N + 4, read=N + 3, upload=202)
def texts_with_escapes_nulls_and_half_characters(folder: Path) -> Path:
    strange = ("\x1b[2J\x1b]0;owned\x07", "nul \0 nul", "\u202eright to left\u2066", "\ud800 half")
    return written(folder, "a.jsonl", jsonl([*strange, *texts()]))


@hostile("vectors", offered=N + 4, read=N, upload=202)
def json_vectors_of_endless_numbers(folder: Path) -> Path:
    rows = [{"embedding": row.tolist()} for row in vectors()]
    strange = b"".join(
        b'{"embedding": [' + number + b", 1, 2, 3, 4, 5]}\n"
        for number in (b"9" * 100_000, b"1e400", b"NaN", b"-Infinity")
    )
    return written(folder, "a.jsonl", jsonl(rows) + strange)


@hostile("images", offered=N + 7, read=N, upload=None)
def json_paths_that_lead_away(folder: Path) -> Path:
    for i, data in enumerate(pictures()):
        written(folder, f"{i}.png", data)
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    paths = [f"{i}.png" for i in range(N)]
    away = ["/etc/passwd", "../../../etc/passwd", "pipe.png", "zero.png", "a\0b.png", "x" * 5000, "file:///etc/passwd"]
    return written(folder, "a.jsonl", jsonl({"path": path} for path in (*paths, *away)))


@hostile("images", offered=N, read=N, upload=202)
def parquet_paths_that_lead_away_beside_images(folder: Path) -> Path:
    cells = [{"bytes": data, "path": "/etc/passwd"} for data in pictures()]
    return parquet(folder / "a.parquet", pa.table({"image": cells}))


@hostile("texts", offered=N, read=None, upload=202, said="no column")
def column_that_is_a_template(folder: Path) -> Any:
    parquet(folder / "a.parquet", pa.table({"words": texts()}))
    return Asked(folder / "a.parquet", column="{{7*7}}\x1b[31m<script>")
