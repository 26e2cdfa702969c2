"""Folders of files with wrong or missing suffixes, links, brackets in names, and what systems leave behind."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from indexes.errors import InputError
from indexes.records import Item, Kind, Skip
from indexes.sources import open_source


def image(form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, form)
    return buffer.getvalue()


def read(source: Path | str, kind: Kind = "image") -> tuple[list[str], dict[str, tuple[str, int | None]]]:
    found = [record for shard in open_source(source, kind=kind).shards for record in shard.read()]
    skips = {r.path: (r.reason, r.items) for r in found if isinstance(r, Skip)}
    return [record.id for record in found if isinstance(record, Item)], skips


@pytest.mark.parametrize("name", ["a", "a.jfif", "a.JPE", "a.dat", "a.txt", "a.jpg.part", "a.png?width=300"])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "JPEG2000", "BMP"])
def test_an_image_is_read_whatever_its_name(tmp_path: Path, name: str, form: str) -> None:
    (tmp_path / name).write_bytes(image(form))
    assert read(tmp_path) == ([name], {})


def packed_texts() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("a.txt")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"text"))
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["a", "a.zip", "a.bin", "a.tar", "a.gz"])
def test_an_archive_is_read_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(packed_texts())
    assert read(tmp_path, "text") == ([f"{name}/a.txt"], {})


def test_tables_and_arrays_are_read_whatever_their_names(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b"]}), tmp_path / "table.data")
    (tmp_path / "lines").write_bytes(gzip.compress(b'{"text": "c"}\n'))
    assert read(tmp_path, "text") == (["lines#1", "table.data#0", "table.data#1"], {})
    with (tmp_path / "array").open("wb") as file:
        np.save(file, np.ones((2, 3), dtype=np.float32))
    assert read(tmp_path / "array", "vector")[0] == ["array#0", "array#1"]


def test_a_folder_counts_what_it_cannot_read_by_what_it_may_hold(tmp_path: Path) -> None:
    files = {
        "a.png": image(), "README.md": b"about these images", "labels.csv": b"a,b\n1,2\n",
        "rest.rar": b"Rar!\x1a\x07\x01\x00" + bytes(90), "rest.tar.zst": b"\x28\xb5\x2f\xfd" + bytes(90),
        "b.jpg": gzip.compress(b"not an image"), "clip.mp4": b"\x00\x00\x00\x18ftypisom" + bytes(99),
        "c.heic": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "nothing": b"", "d.png": b"",
        "noise.bin": bytes(range(256)), "d.svg": b"<svg xmlns='http://www.w3.org/2000/svg'></svg>",
    }  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    ids, skips = read(tmp_path)
    nested = "archive or table inside, not opened"
    assert ids == ["a.png"]
    assert skips == {
        "README.md": ("unsupported file type", 0), "labels.csv": ("unsupported file type", 0),
        "nothing": ("unsupported file type", 0), "rest.rar": (nested, None), "rest.tar.zst": (nested, None),
        "b.jpg": (nested, None), "clip.mp4": ("unsupported file type", 1), "noise.bin": ("unsupported file type", 1),
        "c.heic": ("image format not supported (heic)", 1), "d.svg": ("image format not supported (svg)", 1),
        "d.png": ("empty file", 1),
    }  # fmt: skip


def test_texts_of_other_suffixes_beside_texts_are_unread_items(tmp_path: Path) -> None:
    for name in ("a.txt", "b.md", "c.html", "many.csv", "d.jpg", "README.md", "LICENSE", ".gitattributes"):
        (tmp_path / name).write_bytes(image() if name.endswith("jpg") else b"some words\n")
    ids, skips = read(tmp_path, "text")
    assert ids == ["a.txt"]
    assert {name: items for name, (_, items) in skips.items()} == {
        "b.md": 1, "c.html": 1, "many.csv": None, "d.jpg": 1, "README.md": 0, "LICENSE": 0, ".gitattributes": 0
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["._a.png", "__MACOSX/._a.png", "__MACOSX/a.png", ".ipynb_checkpoints/a.png", "x/.DS_Store", "Thumbs.db"]
)
def test_what_systems_leave_beside_data_is_ignored_and_counted(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.png").write_bytes(image())
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(image())
    assert read(tmp_path) == (["a.png"], {name: ("hidden system file", 0)})


@pytest.mark.parametrize(
    ("array", "items"),
    [
        (np.ones((50, 512), dtype=np.float32), 0), (np.arange(50), 0), (np.ones((7, 8, 8, 3), dtype=np.uint8), 7),
        (np.array(["one text", "another"]), 2),
    ],
)  # fmt: skip
def test_arrays_beside_images_count_if_they_hold_images_themselves(
    tmp_path: Path, array: np.ndarray, items: int
) -> None:
    (tmp_path / "a.png").write_bytes(image())
    np.save(tmp_path / "b.npy", array)
    np.savez(tmp_path / "c.npz", array, labels=np.arange(len(array)))
    expected = ("unsupported file type", items)
    assert read(tmp_path) == (["a.png"], {"b.npy": expected, "c.npz": expected})


# links


def test_a_link_stands_for_what_it_leads_to(tmp_path: Path) -> None:
    source, other = tmp_path / "set", tmp_path / "other"
    (other / "deep").mkdir(parents=True)
    source.mkdir()
    for i in range(7):
        (other / "deep" / f"{i}.png").write_bytes(image())
    (source / "a.png").write_bytes(image())
    (source / "folder").symlink_to(other)
    (source / "file.png").symlink_to(other / "deep" / "0.png")
    (source / "inside.png").symlink_to(source / "a.png")
    (source / "loop").symlink_to(source)
    (source / "gone.png").symlink_to(tmp_path / "gone.png")
    ids, skips = read(source)
    assert ids == ["a.png"]
    assert {reason for reason, _ in skips.values()} == {"symbolic link"}
    counted = {name: items for name, (_, items) in skips.items()}
    assert counted == {"folder": 7, "file.png": 1, "inside.png": 0, "loop": 0, "gone.png": 1}


def test_a_source_of_links_alone_says_so(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "a.png").write_bytes(image())
    (tmp_path / "set" / "a.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"1 × symbolic link.*name the folder that they lead to"):
        open_source(tmp_path / "set", kind="image")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may list any folder")
def test_a_folder_that_cannot_be_listed_is_of_unknown_size(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(image())
    (tmp_path / "closed").mkdir(mode=0)
    assert read(tmp_path)[1] == {"closed": ("unreadable folder", None)}


# names


@pytest.mark.parametrize("name", ["photos [2024]", "a{b,c}", "what?", "star*", "[!a]", "{1..3}"])
def test_brackets_in_names_are_letters_where_they_exist(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for other in ("a.png", "b.png"):
        (folder / other).write_bytes(image())
    assert read(folder)[0] == ["a.png", "b.png"]
    assert read(folder / "a.png")[0] == ["a.png"]
    assert read(f"{folder}/*.png")[0] == ["a.png", "b.png"]
    assert read(f"{folder}/{{a,b}}.png")[0] == ["a.png", "b.png"]


def test_brackets_in_a_file_name_are_letters_too(tmp_path: Path) -> None:
    for name in ("a[1].png", "a1.png"):
        (tmp_path / name).write_bytes(image())
    assert read(tmp_path / "a[1].png")[0] == ["a[1].png"]
    assert read(tmp_path / "a[12].png")[0] == ["a1.png"]  # no such file: a pattern
