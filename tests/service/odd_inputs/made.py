"""Images, texts and vectors of known number, and the files that hold them."""

import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

__all__ = [
    "MIB",
    "WIDTH",
    "N",
    "deflated",
    "folder_of",
    "jsonl",
    "named",
    "npy",
    "packed",
    "parquet",
    "picture",
    "pictures",
    "raw_zip",
    "saved",
    "tar_of",
    "texts",
    "vectors",
    "written",
    "zip_of",
]  # fmt: skip

MIB = 2**20
N = 12  # items of most inputs
WIDTH = 6  # of the reference's vectors


def pictures(n: int = N, seed: int = 3) -> list[bytes]:
    """PNGs like those of the reference's real side."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, 8)[None, :, None, None] * rng.uniform(40, 120, (n, 1, 1, 3))
    images = np.clip(60 + ramp + rng.normal(0, 12, (n, 8, 8, 3)), 0, 255).astype(np.uint8)
    return [saved(Image.fromarray(pixels), "PNG") for pixels in images]


def picture(side: int = 16, seed: int = 5) -> Image.Image:
    """One larger picture."""
    return Image.fromarray(np.random.default_rng(seed).integers(40, 200, (side, side, 3), dtype=np.uint8))


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    """An image as a file of this format."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def texts(n: int = N, seed: int = 3) -> list[str]:
    """Short texts, each another."""
    rng = np.random.default_rng(seed)
    nouns = ("harbour", "lantern", "winter", "orchard")
    return [f"{i} the " + " and the ".join(rng.choice(nouns, 12)) for i in range(n)]


def vectors(n: int = N, seed: int = 3, width: int = WIDTH) -> np.ndarray:
    """Standard normal rows, float32."""
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


def npy(array: np.ndarray) -> bytes:
    """An array as a file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def jsonl(lines: Iterable[Any]) -> bytes:
    """One JSON value a line; texts become objects with the key `text`."""
    objects = ({"text": line} if isinstance(line, str) else line for line in lines)
    return "".join(json.dumps(each) + "\n" for each in objects).encode()


def parquet(path: Path, table: pa.Table, **options: Any) -> Path:
    """A table at this path."""
    pq.write_table(table, path, **options)
    return path


def written(folder: Path, name: str, data: bytes) -> Path:
    """A file with these bytes."""
    path = folder / name
    path.write_bytes(data)
    return path


def packed(data: bytes) -> tuple[bytes, int, int]:
    """Data as a member of `raw_zip`: deflated, checksum, size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush(), zlib.crc32(data), len(data)


def named(contents: Sequence[bytes], suffix: str = "png") -> dict[str, bytes]:
    """Files by number."""
    return {f"{i:04d}.{suffix}": data for i, data in enumerate(contents)}


def folder_of(folder: Path, files: Mapping[str, bytes]) -> Path:
    """A folder with these files."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def tar_of(files: Iterable[tuple[tarfile.TarInfo | str, bytes]], mode: str = "w", **options: Any) -> bytes:
    """A tar; a header that is given keeps its size."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, **options) as archive:  # type: ignore[call-overload]
        for name, data in files:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            if isinstance(name, str):
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zip_of(files: Iterable[tuple[zipfile.ZipInfo | str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return buffer.getvalue()


def deflated(size: int, piece: bytes = bytes(MIB)) -> tuple[bytes, int]:
    """So many bytes that repeat a piece, deflated at once, and their checksum."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(size // len(piece)):
        checksum = zlib.crc32(piece, checksum)
    rest = piece[: size % len(piece)]
    return block * (size // len(piece)) + packer.compress(rest) + packer.flush(), zlib.crc32(rest, checksum)


def raw_zip(members: Sequence[tuple[bytes, bytes, int, int]]) -> bytes:
    """A zip by hand: name, deflated data, checksum and size of each member."""
    body, directory = bytearray(), bytearray()
    for name, data, checksum, size in members:
        fields = struct.pack("<HHHHHLLLHH", 20, 0, 8, 0, 33, checksum, len(data), size, len(name), 0)
        directory += b"PK\x01\x02\x14\x00" + fields + struct.pack("<HHHLL", 0, 0, 0, 0, len(body)) + name
        body += b"PK\x03\x04" + fields + name + data
    end = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return bytes(body + directory + end)
