"""Uploads: a body streamed to disk, told by its first bytes, and looked through before anything opens it."""

import gzip
import struct
import tarfile
import zipfile
import zlib
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np

from service.problems import ProblemError

__all__ = ["check_upload", "receive"]

_PIECE = 2**20
_RATIO = 200  # an archive that unpacks to more than so many times its size, and to over a piece, is a bomb
_MEMBERS = 1_000_000
_SUFFIXES = (
    (b"PK\x03\x04", ".zip"), (b"PK\x05\x06", ".zip"), (b"PAR1", ".parquet"), (b"\x93NUMPY", ".npy"),
)  # fmt: skip


async def receive(body: AsyncIterator[bytes], folder: Path, *, limit: int) -> tuple[Path, str]:
    """Write a body into a new folder under a name that tells its format; its path and its SHA-256.

    The name is never the sender's. Raises ProblemError 413 over the limit, 415 for what is none of the formats.
    """
    folder.mkdir(parents=True)
    path, size, digest = folder / "received", 0, sha256()
    with path.open("wb") as file:
        async for piece in body:
            size += len(piece)
            if size > limit:
                raise ProblemError(413, f"the body is over {limit} bytes: put the data under an allowed root instead")
            digest.update(piece)
            file.write(piece)
    named = folder / f"upload{_suffix(path)}"
    path.rename(named)
    return named, digest.hexdigest()


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
    try:
        with gzip.open(path) as file:
            return file.read(512)
    except (OSError, EOFError, zlib.error):
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
    except (OSError, EOFError, ValueError, struct.error, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise ProblemError(422, f"the file is damaged ({' '.join(str(error).split())[:200]}): send it again") from None


def _check_zip(path: Path, limit: int) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    _check_count(len(members))
    for member in members:
        _check_name(member.filename)
        if member.external_attr >> 28 == 0o12:
            raise ProblemError(422, f"{member.filename[:200]!r} is a symbolic link: send files alone")
    _check_size(sum(member.file_size for member in members), path, limit)


def _check_tar(path: Path, limit: int) -> None:
    with path.open("rb") as file:
        _check_members(file, path, limit)


def _check_gzip(path: Path, limit: int) -> None:
    """Unpack once, keeping nothing, up to the limit; then look at the members of a tar."""
    unpacked = 0
    with gzip.open(path) as file:
        while piece := file.read(_PIECE):
            unpacked += len(piece)
            _check_size(unpacked, path, limit)
    if path.name.endswith(".tar.gz"):
        with gzip.open(path) as file:
            _check_members(file, path, limit)  # type: ignore[arg-type]  # reads like a binary file


def _check_members(file: BinaryIO, path: Path, limit: int) -> None:
    total = 0
    with tarfile.open(fileobj=file, mode="r|") as archive:
        for count, member in enumerate(archive):
            _check_count(count)
            _check_name(member.name)
            if member.issym() or member.islnk() or member.isdev():
                raise ProblemError(422, f"{member.name[:200]!r} is a link or a device: send files alone")
            total += member.size
            _check_size(total, path, limit, ratio=False)


def _check_count(count: int) -> None:
    if count > _MEMBERS:
        raise ProblemError(413, f"the archive has over {_MEMBERS} members: send several")


def _check_name(name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if name.startswith(("/", "\\")) or ".." in parts or (parts and ":" in parts[0]):
        raise ProblemError(422, f"the member {name[:200]!r} reaches out of the archive: pack it without such names")


def _check_size(unpacked: int, path: Path, limit: int, *, ratio: bool = True) -> None:
    if unpacked > limit or (ratio and unpacked > max(_RATIO * path.stat().st_size, 64 * _PIECE)):
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
