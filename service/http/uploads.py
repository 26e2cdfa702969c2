"""Uploads: a request body is streamed to disk, renamed by its format, and checked before use."""

import stat
import struct
import zipfile
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import IO

import numpy as np
from starlette.concurrency import run_in_threadpool

from indexes.records import Skip
from indexes.sources.files import File
from indexes.sources.members import is_unsafe
from indexes.sources.signatures import HEAD_BYTES, content_of
from indexes.sources.tar import open_tar
from indexes.sources.unpacked import BOMB, unpacked
from indexes.sources.zip_layout import layout
from service.http.problems import ProblemError

__all__ = ["check_upload", "named_by_format", "receive"]

_PIECE = 2**20
_RATIO = 200  # an archive that unpacks to more than so many times its size, and to over a piece, is a bomb
_MEMBERS = 1_000_000
_DIRECTORY = 16 * 2**20  # bytes of a zip's central directory
_PARTS = 1000  # of a compressed file
_ENTRY = b"PK\x01\x02"  # before each member in a zip's directory
_PACKED = {"gzip": ".gz", "bzip2": ".bz2", "xz": ".xz"}
_NAMED = {"parquet": ".parquet", "arrow": ".arrow", "npy": ".npy", "tar": ".tar"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


async def receive(body: AsyncIterator[bytes], folder: Path, *, limit: int) -> tuple[Path, str]:
    """Write a request body into a new folder; return path and SHA-256, or raise ProblemError 413 over the limit."""
    folder.mkdir(parents=True)
    path, size, digest = folder / "received", 0, sha256()
    with path.open("wb") as file:
        async for piece in body:
            size += len(piece)
            if size > limit:
                raise ProblemError(
                    413, f"the request body is over {limit} bytes: put the data under an allowed root instead"
                )
            digest.update(piece)
            await run_in_threadpool(file.write, piece)
    return path, digest.hexdigest()


def named_by_format(path: Path) -> Path:
    """Rename an uploaded file by its format; raises ProblemError 415 for an unknown format."""
    named = path.with_name(f"upload{_suffix(path)}")
    path.rename(named)
    return named


def _suffix(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    content = content_of(head)
    if content == "zip":
        return ".npz" if _holds_arrays(path) else ".zip"
    if content in _PACKED:
        with unpacked(File(path.name, str(path))) as (stream, packed):
            inner = content_of(stream.read(HEAD_BYTES))
        if inner == "empty":
            is_whole = packed is not None and packed.left is None
            state = "empty: send a file with items" if is_whole else "damaged: send it again"
            raise ProblemError(422, f"the uploaded {content} file is {state}")
        return (".tar" if inner == "tar" else ".jsonl") + _PACKED[content]
    if content in _NAMED:
        return _NAMED[content]
    if head.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1] == b"{":
        return ".jsonl"
    raise ProblemError(415, "the format is unknown: send a zip, tar, parquet, arrow, npy, npz or jsonl file")


def _holds_arrays(path: Path) -> bool:
    """Whether a zip file is an .npz file: all its members are named .npy."""
    try:
        if _directory_size(path) > _DIRECTORY:
            return False
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, struct.error):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def check_upload(path: Path, *, limit: int) -> None:
    """Refuse archives with unsafe paths, archives that unpack to more than `limit` bytes, and arrays of objects.

    Concatenated archives are checked to the last byte, and damaged archives as far as an audit can read them. The audit
    counts the unreadable parts. Raises ProblemError 413 for files that are too large, and 422 for all other faults.
    """
    checks = {".zip": _check_zip, ".npz": _check_npz, ".tar": _check_tar, ".npy": _check_npy}
    check = _check_packed if path.suffix in _PACKED.values() else checks.get(path.suffix)
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
    if _directory_size(path) > _DIRECTORY or _directory_entries(path) > _MEMBERS:
        raise ProblemError(413, "the archive has too many members: split it into several archives")
    members = layout(File(path.name, str(path))).members
    for member in members:
        _check_name(member.name)
        if stat.S_ISLNK(member.mode):
            raise ProblemError(422, f"{member.name[:200]!r} is a symbolic link: send only regular files")
    _check_size(sum(member.size for member in members), path, limit)


def _directory_entries(path: Path) -> int:
    """Upper bound on the number of zip directory entries in a file, counted without keeping any entry in memory."""
    count, tail = 0, b""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            piece = tail + piece
            count += piece.count(_ENTRY)
            tail = piece[-len(_ENTRY) + 1 :]
    return count


def _directory_size(path: Path) -> int:
    """Size of a zip's central directory in bytes; a member takes at least 46 bytes there, and hundreds in memory.

    The size is read from the last end record (APPNOTE 4.3.16), or for zip64 from the zip64 end record (4.3.14).
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = max(size - 2**16 - 22, 0)
        file.seek(start)
        tail = file.read()
        at = tail.rfind(b"PK\x05\x06")
        if at < 0:
            return 0  # damaged: there is no directory to be read
        stated = struct.unpack_from("<L", tail, at + 12)[0]
        if stated != 0xFFFFFFFF:
            return int(stated)
        locator = tail.rfind(b"PK\x06\x07", 0, at)
        if locator < 0:
            return 0
        file.seek(struct.unpack_from("<Q", tail, locator + 8)[0])
        return int(struct.unpack_from("<Q", file.read(56), 40)[0])


def _check_packed(path: Path, limit: int) -> None:
    """Unpack a compressed file up to the limit without storing the content; then check the members of a tar."""
    size = 0
    with unpacked(File(path.name, str(path))) as (stream, packed):
        while piece := stream.read(_PIECE):
            size += len(piece)
            _check_size(size, path, limit)
            if packed is not None and packed.parts > _PARTS:
                raise ProblemError(422, f"the compressed file has over {_PARTS} parts: compress it as one part")
        if packed is not None and packed.left is not None and packed.left.reason == BOMB:
            raise ProblemError(413, f"the archive {BOMB}: send less data")
    if size == 0:
        raise ProblemError(422, "the compressed file is damaged: send it again")
    if ".tar" in path.suffixes:
        _check_tar(path, limit)


def _check_tar(path: Path, limit: int) -> None:
    total = 0
    with open_tar(File(path.name, str(path))) as archive:
        members = (entry for entry in archive.entries(path.name) if not isinstance(entry, Skip))
        for count, member in enumerate(members):
            _check_count(count)
            _check_name(member.name)
            if member.issym() or member.islnk() or member.isdev():
                raise ProblemError(422, f"{member.name[:200]!r} is a link or a device: send only regular files")
            total += member.size
            _check_size(total, None, limit)


def _check_count(count: int) -> None:
    if count > _MEMBERS:
        raise ProblemError(413, f"the archive has over {_MEMBERS} members: split it into several archives")


def _check_name(name: str) -> None:
    if is_unsafe(name):
        raise ProblemError(
            422, f"the path of the member {name[:200]!r} leads out of the archive: pack it without such paths"
        )


def _check_size(unpacked: int, packed: Path | None, limit: int) -> None:
    """Raise ProblemError 413 if the unpacked size is over the limit or implausibly large for the packed size."""
    if unpacked > limit or (packed is not None and unpacked > max(_RATIO * packed.stat().st_size, 64 * _PIECE)):
        raise ProblemError(413, f"the archive unpacks to {unpacked} bytes or more, which is too much: send less data")


def _check_npz(path: Path, limit: int) -> None:
    _check_zip(path, limit)
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                _check_array(member, limit)


def _check_npy(path: Path, limit: int) -> None:
    with path.open("rb") as file:
        _check_array(file, limit)


def _check_array(file: IO[bytes], limit: int) -> None:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ProblemError(422, "the array holds Python objects, which can run code when loaded: send numbers")
    if int(np.prod([*map(int, shape), 1], dtype=object)) * dtype.itemsize > limit:
        raise ProblemError(413, f"the array of shape {shape} is too large: send less data")
