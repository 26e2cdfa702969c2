"""Rows of `.npy` and `.npz` arrays as vectors; pickled objects are never loaded."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, NamedTuple

import numpy as np

from indexes.errors import InputError
from indexes.records import Item, Kind, Skip
from indexes.sources.files import DAMAGE, MAX_ITEM_BYTES, File, Refused, damage_reason, digest, pieces, record_parts

__all__ = ["NpyShard", "NpzShard", "npy_shards", "npz_shards"]

_ROWS = 8192  # in a shard of .npy, and in memory at once, unless they are very long
_MAX_WHOLE_BYTES = 2**31  # of a compressed matrix stored by column, which cannot be read in parts
_KEYS = ("embeddings", "vectors", "features", "arr_0")  # of .npz, the likeliest first


class _Header(NamedTuple):
    shape: tuple[int, ...]
    is_by_column: bool  # Fortran order
    dtype: np.dtype
    offset: int  # bytes before the data


@dataclass(frozen=True, slots=True)
class NpyShard:
    """Consecutive rows of a matrix."""

    file: File
    name: str
    start: int  # rows
    stop: int
    is_cut: bool  # the file ends before the rows it states, after those of this shard

    def identity(self) -> str:
        """Digest of the rows."""
        return digest(["array"], record_parts(self.read(), self.file))

    def read(self) -> Iterator[Item | Skip]:
        """One record a row, by its row number."""
        try:
            with self.file.open() as handle:
                header = _header(handle, self.file.name)
                rows = _read_rows(handle, header, self.start, self.stop)
            yield from _records(rows, [f"{self.file.name}#{row}" for row in range(self.start, self.stop)])
        except DAMAGE as error:
            yield Skip(self.name, damage_reason(error))
            return
        if self.is_cut:
            yield Skip(self.file.name, "broken archive")


@dataclass(frozen=True, slots=True)
class NpzShard:
    """All rows of one matrix in an `.npz` archive, streamed, with the `ids` stored beside it."""

    file: File
    name: str
    key: str

    def identity(self) -> str:
        """Digest of the archive's bytes and the key."""
        return digest(["arrays", self.key], pieces(self.file))

    def read(self) -> Iterator[Item | Skip]:
        """One record a row, by its stored id or else its row number."""
        try:
            with _open_npz(self.file) as archive:
                ids = _stored_ids(archive, self.file.name)
                with archive.open(f"{self.key}.npy") as handle:
                    header = _header(handle, self.file.name)
                    step = header.shape[0] if header.is_by_column else _step(header)
                    for start in range(0, header.shape[0], step):
                        stop = min(start + step, header.shape[0])
                        names = range(start, stop) if ids is None else ids[start:stop]
                        rows = _read_stream(handle, header, stop - start)
                        yield from _records(rows, [f"{self.file.name}#{name}" for name in names])
        except DAMAGE as error:
            yield Skip(self.name, damage_reason(error))


def npy_shards(file: File, kind: Kind, column: str | None) -> list[NpyShard]:
    """Shards of 8192 rows; raises `Refused` for pickles and for anything but a matrix of floats."""
    with file.open() as handle:
        header = _header(handle, file.name)
    _check_matrix(header, file.name)
    rows = header.shape[0]
    held = (file.size() - header.offset) // _row_bytes(header)
    if held < rows and (header.is_by_column or held <= 0):
        raise Refused(
            f"{file.name}: ends before the {rows} rows it states; copy or download it again", "broken archive"
        )
    step = _step(header)
    starts = range(0, min(rows, held), step)
    return [
        NpyShard(
            file,
            file.name if len(starts) == 1 else f"{file.name}:{number:05d}",
            start,
            min(start + step, rows, held),
            is_cut=held < rows and start == starts[-1],
        )
        for number, start in enumerate(starts)
    ]


def npz_shards(file: File, kind: Kind, column: str | None) -> list[NpzShard]:
    """One shard; raises `Refused` as `.npy` does, and `InputError` when several matrices could be meant."""
    with _open_npz(file) as archive:
        headers = {name.removesuffix(".npy"): _member_header(archive, name, file.name) for name in archive.namelist()}
        key = _choose_key(headers, column, file.name)
        _check_matrix(headers[key], f"{file.name} {key}")
        if headers[key].is_by_column and _row_bytes(headers[key]) * headers[key].shape[0] > _MAX_WHOLE_BYTES:
            raise Refused(f"{file.name}: {key} is stored by column and too large; save it in C order", "too large")
        ids = _stored_ids(archive, file.name)
    if ids is not None and (len(set(ids)) != headers[key].shape[0] or len(ids) != headers[key].shape[0]):
        raise Refused(
            f"{file.name}: expected one distinct id for each row of {key}; correct or remove ids", "wrong ids"
        )
    return [NpzShard(file, file.name, key)]


def _header(handle: IO[bytes], where: str) -> _Header:
    """What the array states of itself, with the handle left at its data; raises `Refused` for pickled objects."""
    if handle.read(1) == b"\x80":
        raise _pickled(where)
    handle.seek(0)
    try:
        version = np.lib.format.read_magic(handle)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_by_column, dtype = read(handle)
    except Exception as error:  # numpy parses the header as Python and raises nearly anything on damaged bytes
        raise ValueError(f"no array header: {error}") from error
    return _Header(shape, is_by_column, dtype, handle.tell())


def _pickled(where: str) -> Refused:
    message = f"{where}: holds pickled objects, refused because they can run code; save a plain float array"
    return Refused(message, "holds pickled objects")


def _check_matrix(header: _Header, where: str) -> None:
    if header.dtype.hasobject:
        raise _pickled(where)
    is_matrix = len(header.shape) == 2 and min(header.shape) > 0
    if not is_matrix or header.dtype.kind != "f" or _row_bytes(header) > MAX_ITEM_BYTES:
        found = f"{header.dtype} of shape {header.shape}"
        raise Refused(f"{where}: found {found}, expected floats of shape (rows, columns); convert it", "not a matrix")


def _choose_key(headers: dict[str, _Header], asked: str | None, where: str) -> str:
    if asked is not None and asked not in headers:
        raise Refused(
            f"{where}: no array {asked!r}, found {', '.join(headers)}; name one with --column", "no such array"
        )
    if asked is not None:
        return asked
    matrices = [key for key, header in headers.items() if len(header.shape) == 2 and header.dtype.kind == "f"]
    found = ", ".join(f"{key} {header.shape}" for key, header in headers.items()) or "nothing"
    if not matrices:
        raise Refused(f"{where}: found {found}, expected a float array of shape (rows, columns)", "not a matrix")
    known = matrices if len(matrices) == 1 else [key for key in _KEYS if key in matrices]
    if not known:
        raise InputError(f"{where}: found {found}; choose the array of vectors with --column")
    return known[0]


@contextmanager
def _open_npz(file: File) -> Iterator[zipfile.ZipFile]:
    with file.open() as handle, zipfile.ZipFile(handle) as archive:
        yield archive


def _member_header(archive: zipfile.ZipFile, name: str, where: str) -> _Header:
    with archive.open(name) as handle:
        return _header(handle, f"{where} {name}")


def _stored_ids(archive: zipfile.ZipFile, where: str) -> list[str] | None:
    """The strings stored as `ids`, if there are any."""
    if "ids.npy" not in archive.namelist():
        return None
    header = _member_header(archive, "ids.npy", where)
    if len(header.shape) != 1 or header.dtype.kind != "U" or header.shape[0] * header.dtype.itemsize > MAX_ITEM_BYTES:
        raise Refused(
            f"{where}: ids are {header.dtype} of shape {header.shape}, expected a list of strings", "wrong ids"
        )
    with archive.open("ids.npy") as handle:
        return np.lib.format.read_array(handle, allow_pickle=False).tolist()


def _row_bytes(header: _Header) -> int:
    return header.shape[1] * header.dtype.itemsize


def _step(header: _Header) -> int:
    """Rows to read at once."""
    return max(1, min(_ROWS, MAX_ITEM_BYTES // _row_bytes(header)))


def _read_rows(handle: IO[bytes], header: _Header, start: int, stop: int) -> np.ndarray:
    if not header.is_by_column:
        handle.seek(header.offset + start * _row_bytes(header))
        return _read_stream(handle, header, stop - start)
    columns = []
    for column in range(header.shape[1]):
        handle.seek(header.offset + (column * header.shape[0] + start) * header.dtype.itemsize)
        columns.append(_read_exactly(handle, stop - start, header.dtype))
    return np.stack(columns, axis=1)


def _read_stream(handle: IO[bytes], header: _Header, rows: int) -> np.ndarray:
    numbers = _read_exactly(handle, rows * header.shape[1], header.dtype)
    return numbers.reshape(header.shape[1], rows).T if header.is_by_column else numbers.reshape(rows, -1)


def _read_exactly(handle: IO[bytes], count: int, dtype: np.dtype) -> np.ndarray:
    data = handle.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise EOFError("the array ends before its last row")
    return np.frombuffer(data, dtype)


def _records(rows: np.ndarray, ids: list[str]) -> Iterator[Item | Skip]:
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # what float32 cannot hold becomes infinite, and is skipped as such
        vectors = np.ascontiguousarray(rows, dtype=np.float32)
    for id, vector in zip(ids, vectors, strict=True):
        yield Item(id, vector) if np.isfinite(vector).all() else Skip(id, "not finite")
