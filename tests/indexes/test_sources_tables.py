"""Parquet, Hugging Face and JSON-lines tables."""

import gzip
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexes.errors import InputError
from indexes.records import Item, Kind, Skip, Source
from indexes.sources import jsonl, open_source


def read(source: Source) -> list[Item | Skip]:
    return [record for shard in source.shards for record in shard.read()]


def ids(source: Source) -> list[str]:
    return [record.id for record in read(source) if isinstance(record, Item)]


def skips(source: Source) -> list[Skip]:
    return [record for record in read(source) if isinstance(record, Skip)]


def write_parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def write_lines(path: Path, *lines: Any) -> Path:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_parquet_bytes_are_items_by_row(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "p.parquet", {"jpg": [b"x", None, b""], "caption": ["a", "b", "c"]})
    assert read(open_source(path, kind="image")) == [
        Item("p.parquet#0", b"x"),
        Skip("p.parquet#1", "missing value"),
        Skip("p.parquet#2", "empty file"),
    ]


def test_parquet_structs_give_bytes_or_else_the_file_beside(tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(b"y")
    cells = [{"bytes": b"x", "path": "no"}, {"bytes": None, "path": "b.jpg"}, {"bytes": None, "path": None}]
    path = write_parquet(tmp_path / "p.parquet", {"image": cells, "label": [0, 1, 2]})
    assert read(open_source(path, kind="image")) == [
        Item("p.parquet#0", b"x"),
        Item("p.parquet#1", b"y"),
        Skip("p.parquet#2", "missing value"),
    ]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_paths_in_tables_stay_inside_their_folder(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (folder / "sub" / "a.jpg").write_bytes(b"x")
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    paths = ["sub/a.jpg", "../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg", "gone.jpg", "sub", "a\0b", None]
    table = folder / f"t.{form}"
    if form == "parquet":
        write_parquet(table, {"path": paths})
    else:
        write_lines(table, *({"path": path} for path in paths))
    records = read(open_source(table, kind="image"))
    assert [record.reason if isinstance(record, Skip) else record.data for record in records] == [
        b"x",
        *["path leaves the source"] * 3,
        "missing file",
        "not a regular file",
        "missing file",
        "missing value",
    ]


def test_a_table_of_paths_changes_identity_with_the_files_it_names(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    shard = open_source(write_parquet(tmp_path / "p.parquet", {"path": ["a.jpg"]}), kind="image").shards[0]
    before = shard.identity()
    (tmp_path / "a.jpg").write_bytes(b"y")
    assert shard.identity() != before


@pytest.mark.parametrize("type_", [pa.list_(pa.float32()), pa.list_(pa.float64()), pa.list_(pa.float16(), 2)])
def test_parquet_lists_are_vectors(tmp_path: Path, type_: pa.DataType) -> None:
    values = np.array([[1, 2], [3, np.nan]], np.float16)
    column = pa.array(list(values.astype(type_.value_type.to_pandas_dtype())), type_)
    good, bad = read(open_source(write_parquet(tmp_path / "p.parquet", {"emb": column}), kind="vector"))
    assert isinstance(good, Item)
    np.testing.assert_array_equal(good.data, np.array([1, 2], np.float32))
    assert bad == Skip("p.parquet#1", "not finite")


def test_parquet_text_is_read_from_the_column_asked_for(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "p.parquet", {"text": ["a", " "], "title": ["b", "c"]})
    assert read(open_source(path, kind="text")) == [Item("p.parquet#0", "a"), Skip("p.parquet#1", "empty text")]
    assert read(open_source(path, kind="text", column="title"))[0] == Item("p.parquet#0", "b")


def test_small_row_groups_are_joined_into_shards_of_1024_rows(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "p.parquet", {"text": [str(i) for i in range(2500)]}, row_group_size=500)
    source = open_source(path, kind="text")
    assert [(shard.name, len(list(shard.read()))) for shard in source.shards] == [
        ("p.parquet:00000", 1500),
        ("p.parquet:00001", 1000),
    ]
    assert [(record.id, record.data) for record in read(source) if isinstance(record, Item)] == [
        (f"p.parquet#{i}", str(i)) for i in range(2500)
    ]


@pytest.mark.parametrize(
    ("columns", "kind", "column", "message"),
    [
        ({"a": [b"x"], "b": [b"y"]}, "image", None, "a and b can all hold images; choose one with --column"),
        ({"image": [b"x"], "img": [b"y"]}, "image", None, "image and img"),
        ({"title": ["x"]}, "text", None, r"found title \(string\); name it with --column"),
        ({"text": ["x"]}, "text", "body", "no column 'body'"),
        ({"text": ["x"]}, "vector", "text", "no column 'text' that can hold vectors"),
    ],
)
def test_a_column_that_cannot_be_told_is_refused(
    tmp_path: Path, columns: dict[str, Any], kind: Kind, column: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        open_source(write_parquet(tmp_path / "p.parquet", columns), kind=kind, column=column)


def test_a_broken_parquet_is_refused_alone_and_one_skip_in_a_folder(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"text": ["x"]})
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    with pytest.raises(InputError, match=r"b\.parquet: cannot be opened"):
        open_source(tmp_path / "b.parquet", kind="text")
    source = open_source(tmp_path, kind="text")
    assert read(source) == [Skip("b.parquet", "broken archive"), Item("a.parquet#0", "x")]


def test_damaged_parquet_pages_are_one_skip(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["hello"] * 50}, compression="zstd")
    data = bytearray(path.read_bytes())
    data[4:60] = b"\xff" * 56
    path.write_bytes(data)
    (skip,) = read(open_source(path, kind="text"))
    assert skip == Skip("a.parquet#0-49", "broken archive")
    assert isinstance(skip, Skip)
    assert skip.items == 50


def write_arrow(path: Path, texts: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"text": texts})
    with pa.OSFile(str(path), "wb") as handle, pa.ipc.new_stream(handle, table.schema) as stream:
        stream.write_table(table, max_chunksize=2)


def test_a_hugging_face_dataset_on_disk_gives_the_files_it_lists(tmp_path: Path) -> None:
    for split in ("test", "train"):
        write_arrow(tmp_path / split / "data-00000-of-00001.arrow", [f"{split} {i}" for i in range(3)])
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
        (tmp_path / split / "state.json").write_text(json.dumps(state))
        (tmp_path / split / "dataset_info.json").write_text("{}")
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["test", "train"]}')
    write_arrow(tmp_path / "train" / "cache-1.arrow", ["stale"])
    source = open_source(tmp_path, kind="text")
    assert [record.data for record in read(source) if isinstance(record, Item)] == [
        f"{split} {i}" for split in ("test", "train") for i in range(3)
    ]
    assert ids(source)[1] == "test/data-00000-of-00001.arrow#1"
    assert skips(source) == [Skip("train/cache-1.arrow", "not part of the dataset")]


def test_a_cut_arrow_file_keeps_its_first_rows(tmp_path: Path) -> None:
    write_arrow(tmp_path / "a.arrow", [str(i) * 100 for i in range(10)])
    data = (tmp_path / "a.arrow").read_bytes()
    (tmp_path / "a.arrow").write_bytes(data[: len(data) * 2 // 3])
    records = read(open_source(tmp_path, kind="text"))
    assert isinstance(records[0], Item)
    assert records[-1] == Skip("a.arrow#6-", "broken archive")


def test_arrow_offsets_that_point_outside_are_one_skip(tmp_path: Path) -> None:
    write_arrow(tmp_path / "a.arrow", ["x" * 7, "y" * 9])
    data = (tmp_path / "a.arrow").read_bytes()
    offsets = np.array([0, 7, 16], np.int32).tobytes()
    assert data.count(offsets) == 1
    (tmp_path / "a.arrow").write_bytes(data.replace(offsets, np.array([0, 2**30, 16], np.int32).tobytes()))
    assert read(open_source(tmp_path, kind="text")) == [Skip("a.arrow#0-1", "broken archive")]


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
def test_json_lines_are_items_by_line_number(tmp_path: Path, name: str) -> None:
    lines = [
        {"text": "a"},
        "",
        {"text": "über"},
        "{broken",
        '["list"]',
        {"text": " "},
        {"other": 1},
        '{"text": "\\ud800"}',
    ]
    path = write_lines(tmp_path / name, *lines, {"text": 3}, "[" * 100_000)
    assert read(open_source(path, kind="text")) == [
        Item(f"{name}#1", "a"),
        Item(f"{name}#3", "über"),
        Skip(f"{name}#4", "broken JSON line"),
        Skip(f"{name}#5", "broken JSON line"),
        Skip(f"{name}#6", "empty text"),
        Skip(f"{name}#7", "missing value"),
        Skip(f"{name}#8", "not UTF-8 text"),
        Skip(f"{name}#9", "not a text"),
        Skip(f"{name}#10", "broken JSON line"),
    ]


def test_json_vectors_are_lists_of_numbers(tmp_path: Path) -> None:
    values = [[1, 2.5], [1, "2"], "1.5", 3, [], None, [1e300], [[1.0]], [10**400]]
    path = write_lines(tmp_path / "t.jsonl", *({"embedding": value} for value in values))
    first, *rest = read(open_source(path, kind="vector"))
    assert isinstance(first, Item)
    np.testing.assert_array_equal(first.data, np.array([1, 2.5], np.float32))
    wrong = "not a vector of numbers"
    assert [record.reason for record in rest if isinstance(record, Skip)] == [
        *[wrong] * 4,
        "missing value",
        "not finite",
        wrong,
        wrong,
    ]


def test_a_cut_gzip_keeps_what_came_before_and_ends_with_one_skip(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 2**60, 5000).tolist()
    path = write_lines(tmp_path / "t.jsonl.gz", *({"text": str(number)} for number in noise))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    *items, last = read(open_source(path, kind="text"))
    assert items == [Item(f"t.jsonl.gz#{i}", str(number)) for i, number in enumerate(noise[: len(items)], 1)]
    assert len(items) > 1000
    assert last == Skip("t.jsonl.gz", "archive ends early, more may be missing")


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
def test_a_line_over_the_limit_is_skipped_and_the_next_is_read(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "_MAX_LINE_BYTES", 50)
    monkeypatch.setattr(jsonl, "_BLOCK_BYTES", 16)
    path = write_lines(tmp_path / name, {"text": "a"}, {"text": "b" * 300}, {"text": "c"})
    assert read(open_source(path, kind="text")) == [
        Item(f"{name}#1", "a"),
        Skip(f"{name}#2", "too large"),
        Item(f"{name}#3", "c"),
    ]


def test_blocks_of_a_large_file_read_the_same_as_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lines(tmp_path / "t.jsonl", *({"text": f"{i}" * (i % 40 + 1)} for i in range(300)))
    whole = read(open_source(path, kind="text"))
    monkeypatch.setattr(jsonl, "_BLOCK_BYTES", 512)
    source = open_source(path, kind="text")
    assert len(source.shards) > 10
    assert read(source) == whole
    assert len({shard.identity() for shard in source.shards}) == len(source.shards)


def test_an_empty_or_keyless_json_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="empty"):
        open_source(write_lines(tmp_path / "a.jsonl"), kind="text")
    with pytest.raises(InputError, match=r"expected a key text or caption .*, found title; name one with --column"):
        open_source(write_lines(tmp_path / "b.jsonl", {"title": "x"}), kind="text")


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz", "t.parquet"])
def test_table_identity_follows_content_and_not_place(tmp_path: Path, name: str) -> None:
    def write(path: Path, text: str) -> None:
        write_parquet(path, {"text": [text]}) if name == "t.parquet" else write_lines(path, {"text": text})

    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "one" / name, "a")
    shutil.copy(tmp_path / "one" / name, tmp_path / "two" / name)
    one, two = (open_source(tmp_path / folder, kind="text").shards[0] for folder in ("one", "two"))
    assert one.identity() == two.identity()
    assert list(pickle.loads(pickle.dumps(one)).read()) == list(two.read())
    write(tmp_path / "two" / name, "b")
    assert open_source(tmp_path / "two", kind="text").shards[0].identity() != one.identity()
