"""Which column of a table is read, and what its cells may be."""

import base64
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from indexes.errors import InputError
from indexes.records import Item, Kind, Skip
from indexes.sources import open_source
from indexes.sources.cells import value_record
from indexes.sources.files import File


def picture(format: str = "PNG", side: int = 8) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


def plain(data: bytes) -> str:
    return base64.b64encode(data).decode()


def write(path: Path, table: pa.Table | dict[str, Any]) -> Path:
    table = pa.table(table) if isinstance(table, dict) else table
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as handle, pa.ipc.new_stream(handle, table.schema) as stream:
            stream.write_table(table)
    return path


def read(path: Path, kind: Kind, column: str | None = None) -> list[Item | Skip]:
    return [record for shard in open_source(path, kind=kind, column=column).shards for record in shard.read()]


def answers(found: list[Item | Skip]) -> list[Any]:
    return [record.reason if isinstance(record, Skip) else record.data for record in found]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("side", [2, 64])
def test_images_in_base64_are_read_in_every_spelling(tmp_path: Path, format: str, side: int) -> None:
    data = picture(format, side)
    spellings = [
        plain(data),
        plain(data).rstrip("="),
        base64.urlsafe_b64encode(data).decode(),
        base64.encodebytes(data).decode(),
        f"data:image/{format.lower()};base64,{plain(data)}",
        f"data:;charset=utf-8;base64,{plain(data)}",
    ]
    for name in ("image", "img", "base64", "IMAGE_BASE64", "jpg"):
        assert answers(read(write(tmp_path / "t.parquet", {name: spellings}), "image")) == [data] * len(spellings)


def test_base64_in_bytes_and_structs_is_read(tmp_path: Path) -> None:
    data = picture()
    text = plain(data)
    assert answers(read(write(tmp_path / "a.parquet", {"image": [text.encode()]}), "image")) == [data]
    cells = [{"bytes": text, "path": None}]
    assert answers(read(write(tmp_path / "b.parquet", {"image": cells}), "image")) == [data]
    file = File("t.jsonl", str(tmp_path / "t.jsonl"))
    assert value_record("t.jsonl#1", cells[0], "path", file) == Item("t.jsonl#1", data)


def test_what_is_no_image_in_base64_is_called_by_what_is_wrong(tmp_path: Path) -> None:
    data = picture(side=64)
    values = [
        plain(data)[:2000] + "!" + plain(data)[2000:],
        "data:image/png;base64,%%%",
        plain(b"just a text" * 200),
        "not at all base64!",
        "https://example.org/a.png",
        "s3://bucket/a.png",
        "//example.org/a.png",
        "www.example.org/a.png",
    ]
    assert answers(read(write(tmp_path / "t.parquet", {"image_base64": values}), "image")) == [
        "broken base64",
        "broken base64",
        "not an image",
        "broken base64",
        *["web address, not fetched"] * 4,
    ]


def test_a_file_that_exists_comes_before_base64_and_both_may_share_a_column(tmp_path: Path) -> None:
    data = picture()
    (tmp_path / "a.png").write_bytes(b"x")
    path = write(tmp_path / "t.parquet", {"image": ["a.png", plain(data), "gone.png", "../a.png"]})
    assert answers(read(path, "image", "image"))[:2] == [b"x", data]
    names = write(tmp_path / "u.parquet", {"path": ["a.png", "gone.png", "../a.png"]})
    assert answers(read(names, "image")) == [b"x", "missing file", "path leaves the source"]


def test_a_table_of_base64_beside_images_is_no_list_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    write(tmp_path / "t.parquet", {"image": [None, plain(picture("JPEG"))]})
    assert answers(read(tmp_path, "image")) == [picture(), "missing value", picture("JPEG")]


def test_an_empty_text_beside_a_name_is_no_image(tmp_path: Path) -> None:
    assert answers(read(write(tmp_path / "t.parquet", {"image": ["", None, "data:,"]}), "image")) == [
        "missing value",
        "missing value",
        "empty file",
    ]


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_shards_of_one_set_may_name_their_column_differently(tmp_path: Path, ending: str) -> None:
    for number, name in enumerate(("text", "Content", "BODY", "document", "caption", "response")):
        write(tmp_path / f"{number}.{ending}", {name: [name], "label": ["x"]})
    assert answers(read(tmp_path, "text")) == ["text", "Content", "BODY", "document", "caption", "response"]


@pytest.mark.parametrize(
    ("columns", "kind", "named"),
    [
        ({"prompt": ["x"], "response": ["y"]}, "text", "prompt and response"),
        ({"caption": ["x"], "body": ["y"]}, "text", "caption and body"),
        ({"text": ["x"], "TEXT": ["y"]}, "text", "text and TEXT"),
        ({"image": ["x"], "mask": [b"y"]}, "image", "mask and image"),
        ({"image_base64": ["x"], "b64": ["y"], "jpg": ["z"]}, "image", "image_base64, b64 and jpg"),
        ({"emb": [[1.0]], "features": [[2]]}, "vector", "emb and features"),
    ],
)
def test_two_fitting_columns_are_asked_about(tmp_path: Path, columns: dict[str, Any], kind: Kind, named: str) -> None:
    for name in ("t.parquet", "t.arrow"):
        with pytest.raises(InputError, match=rf"{name}: {named} can all hold {kind}s; choose one with --column"):
            read(write(tmp_path / name, columns), kind)


def test_a_text_column_is_never_chosen_by_its_type_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found language \(string\); name it with --column"):
        read(write(tmp_path / "t.parquet", {"language": ["en"]}), "text")


def repeated(names: list[str]) -> pa.Table:
    return pa.Table.from_arrays([pa.array([f"{place}"]) for place in range(len(names))], names=names)


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_a_repeated_name_stops_only_where_it_is_meant(tmp_path: Path, name: str) -> None:
    for names, column in ((["text", "text", "a"], None), (["a", "b", "b"], "b")):
        with pytest.raises(InputError, match=f"{name}: 2 columns are named '{column or 'text'}', expected one"):
            read(write(tmp_path / name, repeated(names)), "text", column)
    for names, column, value in ((["a", "text", "a"], None, "1"), (["a", "a", "b"], "b", "2")):
        assert answers(read(write(tmp_path / name, repeated(names)), "text", column)) == [value]


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_a_name_with_dots_is_not_taken_for_a_field_of_another(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, {"a.b": ["x"], "a": [{"b": "y", "c": "z"}], "a.c": ["v"]})
    assert answers(read(path, "text", "a.b")) == ["x"]
    assert answers(read(path, "text", "a.c")) == ["v"]


VECTORS = [
    pa.list_(pa.int8()),
    pa.list_(pa.uint16(), 2),
    pa.large_list(pa.int64()),
    pa.list_(pa.float16()),
    pa.list_(pa.decimal128(6, 2)),
    pa.fixed_shape_tensor(pa.float32(), [2]),
    pa.list_view(pa.float64()),
    pa.dictionary(pa.int8(), pa.list_(pa.float32())),
]


def vectors(type_: Any) -> Any:
    """The vectors (1, 2) and (3, 4) as this type."""
    if isinstance(type_, pa.FixedShapeTensorType):
        return pa.ExtensionArray.from_storage(type_, vectors(type_.storage_type))
    if pa.types.is_dictionary(type_):
        return pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), vectors(type_.value_type))
    number = Decimal if pa.types.is_decimal(type_.value_type) else int
    return pa.array([[number(1), number(2)], [number(3), number(4)]], type_)


@pytest.mark.parametrize("type_", VECTORS, ids=str)
def test_lists_of_any_numbers_are_vectors(tmp_path: Path, type_: Any) -> None:
    column = vectors(type_)
    for name in ("t.parquet", "t.arrow"):
        if name == "t.parquet" and (pa.types.is_dictionary(type_) or pa.types.is_list_view(type_)):
            continue  # Parquet cannot hold them
        found = answers(read(write(tmp_path / name, pa.table({"embedding": column})), "vector"))
        np.testing.assert_array_equal(found, np.array([[1, 2], [3, 4]], np.float32))


def test_lists_of_integers_are_vectors_by_name_or_when_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", {"input_ids": [[1, 2]], "x": [[0.5, 1.0]]})
    np.testing.assert_array_equal(answers(read(path, "vector")), [[0.5, 1.0]])
    np.testing.assert_array_equal(answers(read(path, "vector", "input_ids")), [[1, 2]])
    with pytest.raises(InputError, match=r"found input_ids \(list<element: int64>\)"):
        read(write(tmp_path / "u.parquet", {"input_ids": [[1, 2]]}), "vector")


def test_lists_of_lists_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", {"embedding": [[[1.0, 2.0], [3.0, 4.0]]]})
    with pytest.raises(InputError, match=r"a vector is one list of numbers\); found embedding \(list<element: list<"):
        read(path, "vector")


def test_vectors_with_missing_numbers_are_counted(tmp_path: Path) -> None:
    column = pa.array([[1, None], None, [], [3, 4]], pa.list_(pa.int32()))
    *bad, good = answers(read(write(tmp_path / "t.parquet", {"emb": column}), "vector"))
    assert bad == ["not finite", "missing value", "not a vector of numbers"]
    np.testing.assert_array_equal(good, [3, 4])


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_bytes_of_text_are_read_when_asked_for_and_named_where_they_are_none(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, {"raw": ["über".encode(), b"\xff\xfe", b" ", None]})
    assert answers(read(path, "text", "raw")) == ["über", "not UTF-8 text", "empty text", "missing value"]


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
@pytest.mark.parametrize("form", [pa.string(), pa.large_string(), pa.string_view()])
def test_one_string_that_is_not_utf8_loses_no_other(tmp_path: Path, name: str, form: Any) -> None:
    bytes_of = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}
    column = pa.array([b"one", b"\xff\xff", b"three"], bytes_of[form]).view(form)
    assert answers(read(write(tmp_path / name, {"text": column}), "text")) == ["one", "not UTF-8 text", "three"]


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_dictionary_columns_of_text_and_images_are_read(tmp_path: Path, name: str) -> None:
    texts = pa.array(["x", None, "x", "y"]).dictionary_encode()
    images = pa.array([b"p", b"q", b"p", None]).dictionary_encode()
    path = write(tmp_path / name, {"text": texts, "image": images})
    assert answers(read(path, "text")) == ["x", "missing value", "x", "y"]
    assert answers(read(path, "image")) == [b"p", b"q", b"p", "missing value"]


def test_a_value_that_was_looked_at_and_cannot_be_used_says_so(tmp_path: Path) -> None:
    found = read(write(tmp_path / "t.parquet", {"text": [" ", None]}), "text")
    assert [(skip.reason, skip.was_read) for skip in found if isinstance(skip, Skip)] == [
        ("empty text", True),
        ("missing value", False),
    ]
