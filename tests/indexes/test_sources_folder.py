"""Folders: which files are items, which are skips, and which only describe others."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from indexes.errors import InputError
from indexes.records import Item, Skip, Source
from indexes.sources import open_source


def read(source: Source) -> list[Item | Skip]:
    return [record for shard in source.shards for record in shard.read()]


def ids(source: Source) -> list[str]:
    return [record.id for record in read(source) if isinstance(record, Item)]


def skips(source: Source) -> list[Skip]:
    return [record for record in read(source) if isinstance(record, Skip)]


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def identities(source: Source) -> list[tuple[str, str]]:
    return [(shard.name, shard.identity()) for shard in source.shards]


def test_images_of_all_suffixes_come_in_path_order_from_nested_folders(tmp_path: Path) -> None:
    names = ["a/1.JPG", "a/2.jpeg", "b.png", "c.webp", "d.bmp", "e.gif", "f.tif", "g.TIFF"]
    source = open_source(write(tmp_path, dict.fromkeys(names, b"x")), kind="image")
    assert ids(source) == names


def test_image_bytes_are_those_of_the_file(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert read(open_source(tmp_path, kind="image")) == [Item("a.png", (tmp_path / "a.png").read_bytes())]


def test_a_folder_is_cut_into_chunks_of_1024_files(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, {f"{i:04d}.jpg": b"x" for i in range(1025)}), kind="image")
    assert [(shard.name, len(list(shard.read()))) for shard in source.shards] == [
        ("images-00000", 1024),
        ("images-00001", 1),
    ]


def test_every_unusable_file_is_one_skip_in_path_order(tmp_path: Path) -> None:
    write(tmp_path, {".DS_Store": b"x", "a.jpg": b"x", "b.jpg": b"", "c.doc": b"x", "d/Thumbs.db": b"x", "f.jpg": b"x"})
    (tmp_path / "e.jpg").symlink_to(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "g.jpg")
    source = open_source(tmp_path, kind="image")
    assert read(source) == [
        Skip(".DS_Store", "hidden system file"),
        Item("a.jpg", b"x"),
        Skip("b.jpg", "empty file"),
        Skip("c.doc", "unsupported file type"),
        Skip("d/Thumbs.db", "hidden system file"),
        Skip("e.jpg", "symbolic link"),
        Item("f.jpg", b"x"),
        Skip("g.jpg", "not a regular file"),
    ]


def test_a_loop_of_folder_links_is_one_skip(tmp_path: Path) -> None:
    write(tmp_path, {"a/1.jpg": b"x"})
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert read(open_source(tmp_path, kind="image")) == [Item("a/1.jpg", b"x"), Skip("a/loop", "symbolic link")]


def test_a_file_that_vanished_after_opening_is_a_skip(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, {"a.jpg": b"x", "b.jpg": b"x"}), kind="image")
    (tmp_path / "a.jpg").unlink()
    assert read(source) == [Skip("a.jpg", "unreadable file"), Item("b.jpg", b"x")]


def test_captions_beside_images_are_neither_items_nor_skips(tmp_path: Path) -> None:
    write(tmp_path, {"a.jpg": b"x", "a.json": b"{}", "a.txt": b"a cat", "alone.txt": b"x"})
    source = open_source(tmp_path, kind="image")
    assert read(source) == [Item("a.jpg", b"x"), Skip("alone.txt", "unsupported file type")]


def test_texts_are_read_from_a_folder_of_images_and_texts(tmp_path: Path) -> None:
    write(tmp_path, {"a.jpg": b"x", "a.txt": "über".encode(), "b.txt": b" \n", "c.txt": b"\xff"})
    assert read(open_source(tmp_path, kind="text")) == [
        Item("a.txt", "über"),
        Skip("b.txt", "empty text"),
        Skip("c.txt", "not UTF-8 text"),
    ]


def test_a_table_that_lists_the_images_beside_it_does_not_count_them_twice(tmp_path: Path) -> None:
    write(tmp_path, {"a.jpg": b"x", "metadata.jsonl": b'{"file_name": "a.jpg"}\n'})
    pq.write_table(pa.table({"path": ["a.jpg"]}), tmp_path / "n.parquet")
    assert read(open_source(tmp_path, kind="image")) == [
        Item("a.jpg", b"x"),
        Skip("metadata.jsonl", "list of files beside it"),
        Skip("n.parquet", "list of files beside it"),
    ]


def test_clip_retrieval_folders_give_the_image_embeddings_alone(tmp_path: Path) -> None:
    for folder in ("img_emb", "text_emb", "metadata"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "img_emb" / "img_emb_0.npy", np.ones((2, 3), np.float16))
    np.save(tmp_path / "text_emb" / "text_emb_0.npy", np.ones((2, 3), np.float16))
    pq.write_table(pa.table({"caption": ["x", "y"]}), tmp_path / "metadata" / "metadata_0.parquet")
    vectors = open_source(tmp_path, kind="vector")
    assert ids(vectors) == ["img_emb/img_emb_0.npy#0", "img_emb/img_emb_0.npy#1"]
    assert skips(vectors) == []
    texts = open_source(tmp_path, kind="text")
    assert [record.data for record in read(texts) if isinstance(record, Item)] == ["x", "y"]
    assert skips(texts) == []


def test_copies_at_different_places_have_equal_names_and_identities(tmp_path: Path) -> None:
    write(tmp_path / "one", {"a.jpg": b"x", "b/c.jpg": b"y"})
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    os.utime(tmp_path / "two" / "a.jpg", (0, 0))
    one, two = (open_source(tmp_path / name, kind="image") for name in ("one", "two"))
    assert identities(one) == identities(two)


@pytest.mark.parametrize("change", [{"a.jpg": b"z"}, {"new.jpg": b"x"}, {"a.jpg": b"xb.jpg", "b.jpg": b""}])
def test_a_change_of_content_changes_the_identity(tmp_path: Path, change: dict[str, bytes]) -> None:
    write(tmp_path, {"a.jpg": b"x", "b.jpg": b"y"})
    before = identities(open_source(tmp_path, kind="image"))
    write(tmp_path, change)
    assert identities(open_source(tmp_path, kind="image")) != before


def test_a_pickled_shard_reads_the_same(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, {"a.jpg": b"x", "b.txt": b"y"}), kind="image")
    copy = pickle.loads(pickle.dumps(source))
    assert copy == source
    assert read(copy) == read(source)


@pytest.mark.parametrize("files", [{"a.csv": b"1"}, {".DS_Store": b"x"}, {"a.npy": b"x"}])
def test_a_folder_without_a_file_of_the_kind_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(InputError, match=r"found nothing that can hold images .*expected image files, .tar"):
        open_source(write(tmp_path, files), kind="image")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no files"):
        open_source(tmp_path, kind="image")


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        open_source(tmp_path / "nowhere", kind="image")
