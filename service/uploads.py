"""Uploads: a body streamed to disk, told by its first bytes, and looked through before anything opens it."""

import gzip
import struct
import tarfile
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from starlette.concurrency import run_in_threadpool

from indexes.sources.tar import StrictInfo
from service.problems import ProblemError

__all__ = ["check_upload", "named_by_format", "receive"]

_PIECE = 2**20
_RATIO = 200  # an archive that unpacks to more than so many times its size, and to over a piece, is a bomb
_MEMBERS = 1_000_000
_DIRECTORY = 16 * 2**20  # bytes of a zip's central directory
_PARTS = 1000  # of a gzip file
_HEAD = 2**16
_GZIP = 31  # zlib's word for a gzip header
_SUFFIXES = (
    (b"PK\x03\x04", ".zip"), (b"PK\x05\x06", ".zip"), (b"PAR1", ".parquet"), (b"\x93NUMPY", ".npy"),
)  # fmt: skip


async def receive(body: AsyncIterator[bytes], folder: Path, *, limit: int) -> tuple[Path, str]:
    """Write a body into a new folder; its path and its SHA-256. Raises ProblemError 413 over the limit."""
    folder.mkdir(parents=True)
    path, size, digest = folder / "received", 0, sha256()
    with path.open("wb") as file:
        async for piece in body:
            size += len(piece)
            if size > limit:
                raise ProblemError(413, f"the body is over {limit} bytes: put the data under an allowed root instead")
            digest.update(piece)
            await run_in_threadpool(file.write, piece)
    return path, digest.hexdigest()


def named_by_format(path: Path) -> Path:
    """The file under a name that tells its format; raises ProblemError 415 for what is none of the formats."""
    named = path.with_name(f"upload{_suffix(path)}")
    path.rename(named)
    return named


def _suffix(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(512)
    for magic, suffix in _SUFFIXES:
        if head.startswith(magic):
            return suffix
    if head[257:262] == b"ustar":
        return ".tar"
    if head.startswith(b"\x1f\x8b"):
        return ".tar.gz" if _unpacked_head(path)[257:262] == b"ustar" else ".jsonl.gz"
    if head.lstrip()[:1] == b"{":
        return ".jsonl"
    raise ProblemError(415, "expected a zip, tar, parquet, npy or jsonl file as the body")


def _unpacked_head(path: Path) -> bytes:
    """The first bytes that a gzip file unpacks to, from its first 64 KiB: a header may state a name of any length."""
    try:
        with path.open("rb") as file:
            return zlib.decompressobj(_GZIP).decompress(file.read(_HEAD), 512)
    except zlib.error:
        raise ProblemError(422, "the gzip file is damaged: send it again") from None


def check_upload(path: Path, *, limit: int) -> None:
    """Refuse an archive that reaches out of itself or unpacks to more than the limit, and pickles.

    Raises ProblemError: 413 for too much, 422 for the rest.
    """
    checks = {".zip": _check_zip, ".tar": _check_tar, ".gz": _check_gzip, ".npy": _check_npy}
    check = checks.get(path.suffix)
    if check is None:
        return
    try:
        check(path, limit)
    except ProblemError:
        raise
    except Exception as error:  # whatever the standard library's parsers make of hostile bytes
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise ProblemError(422, f"the file is damaged ({said}): send it again") from None


def _check_zip(path: Path, limit: int) -> None:
    if _directory_size(path) > _DIRECTORY:
        raise ProblemError(413, "the archive has too many members: send several")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    for member in members:
        _check_name(member.filename)
        if member.external_attr >> 28 == 0o12:
            raise ProblemError(422, f"{member.filename[:200]!r} is a symbolic link: send files alone")
    _check_size(sum(member.file_size for member in members), path, limit)


def _directory_size(path: Path) -> int:
    """Bytes of a zip's central directory, of which each member takes 46 or more and hundreds once it is read.

    From the last end record (APPNOTE 4.3.16), in zip64 from the record that its locator names (4.3.14).
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = max(size - 2**16 - 22, 0)
        file.seek(start)
        tail = file.read()
        at = tail.rfind(b"PK\x05\x06")
        if at < 0:
            raise zipfile.BadZipFile("no end record")
        stated = struct.unpack_from("<L", tail, at + 12)[0]
        if stated != 0xFFFFFFFF:
            return int(stated)
        locator = tail.rfind(b"PK\x06\x07", 0, at)
        if locator < 0:
            raise zipfile.BadZipFile("no zip64 record")
        file.seek(struct.unpack_from("<Q", tail, locator + 8)[0])
        return int(struct.unpack_from("<Q", file.read(56), 40)[0])


def _check_tar(path: Path, limit: int) -> None:
    with path.open("rb") as file:
        _check_members(file, limit)


def _check_gzip(path: Path, limit: int) -> None:
    """Unpack once, keeping nothing, up to the limit; then look at the members of a tar."""
    unpacked = 0
    for piece in _unpacked(path):
        unpacked += len(piece)
        _check_size(unpacked, path, limit)
    if path.name.endswith(".tar.gz"):
        with gzip.open(path) as file:
            _check_members(file, limit)  # type: ignore[arg-type]  # reads like a binary file


def _unpacked(path: Path) -> Iterator[bytes]:
    """What a gzip file unpacks to, in pieces; raises ProblemError for one of very many parts."""
    parts, unpacker = 1, zlib.decompressobj(_GZIP)
    with path.open("rb") as file:
        while raw := file.read(_HEAD):
            while raw:
                yield unpacker.decompress(raw, _PIECE)
                raw = unpacker.unconsumed_tail or unpacker.unused_data
                if unpacker.eof and raw:
                    parts, unpacker = parts + 1, zlib.decompressobj(_GZIP)
                    if parts > _PARTS:
                        raise ProblemError(422, f"the gzip file is made of over {_PARTS} parts: pack it as one")
    if not unpacker.eof:
        raise EOFError("the gzip file is cut short")


def _check_members(file: BinaryIO, limit: int) -> None:
    total = 0
    with tarfile.open(fileobj=file, mode="r|", tarinfo=StrictInfo) as archive:
        for count, member in enumerate(archive):
            archive.members = []  # type: ignore[attr-defined]  # tarfile keeps them all
            _check_count(count)
            _check_name(member.name)
            if member.issym() or member.islnk() or member.isdev():
                raise ProblemError(422, f"{member.name[:200]!r} is a link or a device: send files alone")
            total += member.size
            _check_size(total, None, limit)


def _check_count(count: int) -> None:
    if count > _MEMBERS:
        raise ProblemError(413, f"the archive has over {_MEMBERS} members: send several")


def _check_name(name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if name.startswith(("/", "\\")) or ".." in parts or (parts and ":" in parts[0]):
        raise ProblemError(422, f"the member {name[:200]!r} reaches out of the archive: pack it without such names")


def _check_size(unpacked: int, packed: Path | None, limit: int) -> None:
    """Refuse what unpacks to more than the limit or, from a packed file, to more than any honest data would."""
    if unpacked > limit or (packed is not None and unpacked > max(_RATIO * packed.stat().st_size, 64 * _PIECE)):
        raise ProblemError(413, f"the archive unpacks to {unpacked} bytes or more, which is too much: send less")


def _check_npy(path: Path, limit: int) -> None:
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ProblemError(422, "the array holds Python objects, which would be run: send numbers")
    if int(np.prod([*map(int, shape), 1], dtype=object)) * dtype.itemsize > limit:
        raise ProblemError(413, f"the array of shape {shape} is too large: send less")
