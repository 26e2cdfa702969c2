"""Every format, spoilt in every way: what was offered is read, counted as skipped, or stated in bytes.

`pytest -s tests/indexes/test_format_sweep.py` prints the table.
"""

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from PIL import Image

from indexes.records import Item, Kind, Skip
from indexes.sources import open_source

N = 12  # items in a file
PLACES = 20  # at which a file is cut or damaged
Make = Callable[[int], bytes]  # a file whose items are numbered from this


def words(first: int) -> list[str]:
    return [f"text number {first + i}: " + random.Random(first + i).randbytes(30).hex() for i in range(N)]


def jpegs(first: int) -> list[bytes]:
    found = []
    for i in range(N):
        buffer = io.BytesIO()
        pixels = np.random.default_rng(first + i).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "JPEG")
        found.append(buffer.getvalue())
    return found


def rows(first: int) -> np.ndarray:
    return np.random.default_rng(first).standard_normal((N, 6)).astype(np.float32)


def tar(first: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for i, text in enumerate(words(first)):
            info = tarfile.TarInfo(f"{first + i:05d}.txt")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def image_tar(first: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for i, data in enumerate(jpegs(first)):
            for suffix, content in (("jpg", data), ("json", b'{"width": 8}')):
                info = tarfile.TarInfo(f"{first + i:05d}.{suffix}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(first: int, method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for i, text in enumerate(words(first)):
            archive.writestr(f"{first + i:05d}.txt", text)
    return buffer.getvalue()


def lines(first: int) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in words(first)).encode()


def table(first: int, column: str = "text") -> pa.Table:
    if column == "text":
        return pa.table({"id": list(range(first, first + N)), "text": words(first)})
    if column == "image":
        return pa.table({"image": pa.array(jpegs(first), pa.binary())})
    return pa.table({"emb": pa.array(rows(first).tolist(), pa.list_(pa.float32()))})


def parquet(first: int, column: str = "text") -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table(first, column), buffer, row_group_size=5)
    return buffer.getvalue()


def arrow_stream(first: int) -> bytes:
    buffer = io.BytesIO()
    content = table(first)
    with pa.ipc.new_stream(buffer, content.schema) as stream:
        stream.write_table(content, max_chunksize=5)
    return buffer.getvalue()


def arrow_file(first: int) -> bytes:
    buffer = io.BytesIO()
    feather.write_feather(table(first), buffer, compression="lz4", chunksize=5)
    return buffer.getvalue()


def npy(first: int) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, rows(first))
    return buffer.getvalue()


def npz(first: int) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, embeddings=rows(first))
    return buffer.getvalue()


FORMATS: dict[str, tuple[Kind, Make]] = {
    "a.tar": ("text", tar),
    "images.tar": ("image", image_tar),
    "a.tar.gz": ("text", lambda first: gzip.compress(tar(first))),
    "a.tar.bz2": ("text", lambda first: bz2.compress(tar(first))),
    "a.tar.xz": ("text", lambda first: lzma.compress(tar(first))),
    "stored.zip": ("text", lambda first: zipped(first, zipfile.ZIP_STORED)),
    "deflated.zip": ("text", lambda first: zipped(first, zipfile.ZIP_DEFLATED)),
    "a.jsonl": ("text", lines),
    "a.jsonl.gz": ("text", lambda first: gzip.compress(lines(first))),
    "a.jsonl.bz2": ("text", lambda first: bz2.compress(lines(first))),
    "a.jsonl.xz": ("text", lambda first: lzma.compress(lines(first))),
    "text.parquet": ("text", parquet),
    "image.parquet": ("image", lambda first: parquet(first, "image")),
    "vector.parquet": ("vector", lambda first: parquet(first, "vector")),
    "stream.arrow": ("text", arrow_stream),
    "file.arrow": ("text", arrow_file),
    "a.npy": ("vector", npy),
    "a.npz": ("vector", npz),
}


@dataclass(frozen=True)
class Account:
    """What became of a file's items."""

    read: int
    skipped: int  # items that skips state
    unknown: int  # skips of an unknown number of items
    bytes: int  # that these state

    @property
    def stated(self) -> bool:
        """Whether something was counted or stated as missing."""
        return self.skipped > 0 or self.unknown > 0


def beside(folder: Path, kind: Kind) -> None:
    """A file that can be read, so that one that cannot is skipped and not refused."""
    if kind == "vector":
        np.save(folder / "zz.npy", np.ones((1, 6), dtype=np.float32))
    elif kind == "image":
        (folder / "zz.jpg").write_bytes(jpegs(99)[0])
    else:
        (folder / "zz.txt").write_text("beside")


def account(folder: Path, name: str, kind: Kind, data: bytes) -> Account:
    (folder / name).write_bytes(data)
    found = [record for shard in open_source(folder, kind=kind).shards for record in shard.read()]
    assert len({record.id for record in found if isinstance(record, Item)}) == sum(isinstance(r, Item) for r in found)
    skips = [record for record in found if isinstance(record, Skip)]
    unknown = [skip for skip in skips if skip.items is None]
    return Account(
        sum(isinstance(record, Item) for record in found) - 1,
        sum(skip.items or 0 for skip in skips),
        len(unknown),
        sum(skip.bytes or 0 for skip in unknown),
    )


def places(data: bytes, seed: int) -> list[int]:
    """Some offsets, the first and last bytes and the format's own corners among them."""
    drawn = random.Random(seed).sample(range(1, len(data) - 1), PLACES - 4)
    return sorted({1, 2, len(data) // 2, len(data) - 1, *drawn})


def spoilt(make: Make) -> Iterator[tuple[str, bytes, int]]:
    """What was done, the bytes, and how many items were offered."""
    first, second = make(0), make(N)
    yield "whole", first, N
    yield "second file appended", first + second, 2 * N
    yield "second file twice", first + second + make(2 * N), 3 * N
    yield "garbage appended", first + random.Random(1).randbytes(3000), N
    yield "zeros and garbage appended", first + bytes(1024) + random.Random(2).randbytes(700), N
    for at in places(first, 3):
        yield f"cut at {at}", first[:at], N
    for at in places(first, 4):
        damaged = bytearray(first)
        damaged[at] ^= 0x55
        yield f"byte {at} damaged", bytes(damaged), N


@pytest.mark.parametrize("name", FORMATS)
def test_what_was_offered_is_read_counted_or_stated(tmp_path: Path, name: str) -> None:
    kind, make = FORMATS[name]
    beside(tmp_path, kind)
    print(f"\n{name:16} {'':28} {'offered':>7} {'read':>5} {'skipped':>7} {'unknown':>7} {'bytes':>7}")
    lost = []
    for what, data, offered in spoilt(make):
        found = account(tmp_path, name, kind, data)
        print(f"{'':16} {what:28} {offered:7} {found.read:5} {found.skipped:7} {found.unknown:7} {found.bytes:7}")
        if not holds(what, found, offered):
            lost.append((what, found))
    assert lost == []


def holds(what: str, found: Account, offered: int) -> bool:
    """Whether the account adds up: nothing is read that was not offered, and nothing is missing without a word."""
    if what == "whole":
        return (found.read, found.stated) == (offered, False)
    if what.startswith("second"):
        return found.read <= offered and (found.read + found.skipped >= offered or found.bytes > 0)
    if "garbage" in what:  # not an item, and not silent
        return found.read <= offered and found.stated and (found.read == offered or found.bytes > 0)
    return found.read <= offered and (found.read + found.skipped >= offered or found.stated)
