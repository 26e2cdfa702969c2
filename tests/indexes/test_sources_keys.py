"""JSON lines whose keys differ: each line finds its own, and none decides for all."""

import base64
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from indexes.errors import InputError
from indexes.records import Item, Kind, Skip
from indexes.sources import open_source


def read(folder: Path, *lines: Any, name: str = "a.jsonl", kind: Kind = "text", column: str | None = None) -> list[Any]:
    written = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / name).write_text("\n".join(written) + "\n", encoding="utf-8")
    return [r for s in open_source(folder / name, kind=kind, column=column).shards for r in s.read()]


def values(records: list[Any]) -> list[Any]:
    return [record.data if isinstance(record, Item) else record.reason for record in records]


def test_the_first_line_does_not_decide_the_key_of_the_others(tmp_path: Path) -> None:
    assert values(read(tmp_path, {"caption": "a"}, {"text": "b"}, {"Content": "c"}, {"text": "d", "caption": "x"})) == [
        "a", "b", "c", "d"
    ]  # fmt: skip


@pytest.mark.parametrize("first", [{"version": 1}, {"id": 3, "url": "x"}, "[1, 2]", "{broken", '"text"', "null"])
def test_a_first_line_without_any_key_decides_nothing(tmp_path: Path, first: Any) -> None:
    found = values(read(tmp_path, first, {"text": "a"}, {"text": "b"}))
    assert found[1:] == ["a", "b"]


def test_a_key_that_comes_late_is_found(tmp_path: Path) -> None:
    found = values(read(tmp_path, *({"n": i} for i in range(300)), {"text": "a"}))
    assert found == ["missing value"] * 300 + ["a"]


def test_a_line_with_several_keys_that_fit_is_asked_about_or_counted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a.jsonl: prompt and response can all hold texts; choose one with --column"):
        read(tmp_path, {"prompt": "a", "response": "b"})
    assert values(read(tmp_path, {"text": "a"}, {"prompt": "a", "response": "b"})) == ["a", "several keys fit"]
    assert values(read(tmp_path, {"prompt": "a", "response": "b"}, column="response")) == ["b"]


def test_shards_of_one_set_may_name_their_key_differently(tmp_path: Path) -> None:
    for name, key in (("a", "text"), ("b", "content"), ("c", "Caption")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({key: name}) + "\n")
    assert values([r for s in open_source(tmp_path, kind="text").shards for r in s.read()]) == ["a", "b", "c"]


def test_a_file_whose_lines_have_no_key_is_refused_and_counted_whole_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"b.jsonl: expected a key .*found wording; name one with --column"):
        read(tmp_path, *({"wording": "x"} for _ in range(70)), name="b.jsonl")
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    skip, item = [r for s in open_source(tmp_path, kind="text").shards for r in s.read()]
    assert item == Item("a.jsonl#1", "a")
    assert (skip.reason, skip.items, skip.bytes) == ("no text column", 70, (tmp_path / "b.jsonl").stat().st_size)


def test_the_key_asked_for_holds_for_every_line_in_any_case(tmp_path: Path) -> None:
    found = read(tmp_path, {"a": "x", "text": "t"}, {"A": "y"}, {"text": "t"}, column="a")
    assert values(found) == ["x", "y", "missing value"]


def test_a_key_that_a_line_states_twice_is_counted(tmp_path: Path) -> None:
    assert values(read(tmp_path, '{"text": "a", "text": "b"}', '{"n": 1, "n": 2, "text": "c"}')) == [
        "repeated key",
        "c",
    ]


@pytest.mark.parametrize(
    ("line", "items"),
    [
        ('[{"text": "a"}, {"text": "b"}]', 2), ('{"text": "a"}{"text": "b"}{"text": "c"}', 3),
        ('{"text": "a"}, {"text": "b"}', 2), ("{broken", 1), ("[1, 2, 3]", 1), ('{"text": "a"} trailing', 1),
    ],
)  # fmt: skip
def test_a_line_of_several_items_stands_for_all_of_them(tmp_path: Path, line: str, items: int) -> None:
    first, bad = read(tmp_path, {"text": "good"}, line)
    assert isinstance(first, Item)
    assert isinstance(bad, Skip)
    assert bad.items == items


def image() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    return buffer.getvalue()


def test_images_in_base64_are_read_even_beside_image_files(tmp_path: Path) -> None:
    text = base64.b64encode(image()).decode()
    (tmp_path / "0.png").write_bytes(image())
    lines = [{"image": text}, {"image": f"data:image/png;base64,{text}"}, {"image": "https://a.org/b.png"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = values([r for s in open_source(tmp_path, kind="image").shards for r in s.read()])
    assert found == [image(), image(), image(), "web address, not fetched"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_lines_that_are_cut_before_they_are_read_lack_what_they_lost(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexes.sources.jsonl._BLOCK_BYTES", 1000)
    data = b"".join(b'{"text": "line %d"}\n' % i for i in range(200))
    stored = gzip.compress(data) if name.endswith("gz") else data
    (tmp_path / name).write_bytes(stored)
    shards = open_source(tmp_path, kind="text").shards
    assert len(shards) == (1 if name.endswith("gz") else 5)
    os.truncate(tmp_path / name, len(stored) // 2)
    lost = [record for shard in shards for record in shard.read() if isinstance(record, Skip)]
    cut = [skip for skip in lost if skip.reason == "file was cut while it was read"]
    assert sum(skip.bytes or 0 for skip in cut) == len(stored) - len(stored) // 2
    assert all(skip.items is None for skip in cut)
