"""Read consecutive arrays from one stream of `.npy` bytes: headers, rows and remaining bytes."""

import math
import re
import warnings
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np

from indexes.records import Item, Skip
from indexes.sources.files import MAX_ITEM_BYTES, Refused

__all__ = ["Block", "Header", "blocks", "pickled", "read_header", "read_rows", "records", "stream_rows", "unfit"]

_ROWS = 8192  # rows in memory at once; fewer if the rows are very long
_MAGIC = b"\x93NUMPY"
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # memory address in an error text, which differs from run to run
_MAX_BYTES = 2**63 - 1  # a header that states more is damaged


class Header(NamedTuple):
    """The header of an `.npy` array: shape, memory order, data type and data offset."""

    shape: tuple[int, ...]
    is_by_column: bool  # Fortran order
    dtype: np.dtype
    offset: int  # where the data begins in the stream

    @property
    def rows(self) -> int:
        """Length of the array's first axis; 1 for a single number."""
        return self.shape[0] if self.shape else 1

    @property
    def row_bytes(self) -> int:
        """Size of one row in bytes."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def bytes(self) -> int:
        """Size of all rows in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def step(self) -> int:
        """Number of matrix rows to read at once."""
        return max(1, min(_ROWS, MAX_ITEM_BYTES // self.row_bytes))

    def held(self, size: int) -> int:
        """The number of complete rows of a matrix in a stream of `size` bytes.

        An incomplete matrix stored column by column has 0 complete rows, because the stated number of rows determines
        where each column begins.
        """
        held = max(0, min(self.bytes, size - self.offset))
        if self.is_by_column:
            return self.rows if held == self.bytes else 0
        return held // self.row_bytes


class Block(NamedTuple):
    """A matrix of floats in a stream of `.npy` arrays."""

    header: Header
    rows: int  # rows present, perhaps fewer than the header states
    first: int  # number of rows in the matrices before this one


def read_header(handle: IO[bytes], where: str) -> Header:
    """Read an array header and leave the handle at the data; `Refused` for a pickle, ValueError without a header."""
    start = handle.tell()
    if handle.read(1) == b"\x80":
        raise pickled(where)
    handle.seek(start)
    try:
        with warnings.catch_warnings(action="ignore"):  # Python warns about the damaged text of a header
            version = np.lib.format.read_magic(handle)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, is_by_column, dtype = read(handle)
    except Exception as error:  # numpy parses the header as Python and raises nearly anything on damaged bytes
        raise ValueError(f"no array header: {_ADDRESS.sub('', str(error))}") from error
    header = Header(shape, is_by_column, dtype, handle.tell())
    if min(shape, default=0) < 0 or header.bytes > _MAX_BYTES or (dtype.itemsize == 0 and header.rows > _MAX_BYTES):
        raise ValueError(f"the array header states the impossible shape {shape}")
    return header


def pickled(where: str, items: int | None = None) -> Refused:
    """The error that refuses an array of pickled Python objects."""
    message = f"{where}: holds pickled objects, refused because they can run code; save a plain float array"
    return Refused(message, "holds pickled objects", items=items)


def unfit(header: Header, where: str) -> Refused | None:
    """The error that says why an array is not a float matrix of vectors; None if the array is such a matrix."""
    if header.dtype.hasobject:
        return pickled(where, header.rows)
    is_matrix = len(header.shape) == 2 and min(header.shape) > 0
    if is_matrix and header.dtype.kind == "f" and header.row_bytes <= MAX_ITEM_BYTES:
        return None
    message = f"{where}: found {header.dtype} of shape {header.shape}, expected floats of shape (rows, columns)"
    return Refused(f"{message}; convert it", "not a matrix", items=header.rows)


def blocks(handle: IO[bytes], size: int, name: str) -> Iterator[Block | Skip]:
    """The float matrices of a stream, and skips for other bytes, in order; read each matrix before taking the next.

    A stream contains several arrays if `numpy.save` was called several times on one handle. Raises the errors of
    `read_header` if the first header cannot be read.
    """
    position = first = 0
    last: Header | None = None  # matrix
    while position < size or position == 0:
        handle.seek(position)
        try:
            header = read_header(handle, name)
        except (Refused, ValueError):
            if position == 0:
                raise
            yield _rest(handle, position, size, name, last)
            return
        refusal = unfit(header, name)
        if refusal is None and last is not None and header.shape[1] != last.shape[1]:
            refusal = Refused(
                f"{name}: rows have {header.shape[1]} columns", "rows of another width", items=header.rows
            )
        if refusal is None:
            rows = header.held(size)
            yield Block(header, rows, first)
            yield from _missing(header, rows, size, name)
            first, last = first + rows, header
        elif header.rows:
            held = size - header.offset if header.dtype.hasobject else min(header.bytes, size - header.offset)
            yield Skip(name, refusal.reason, items=header.rows, bytes=max(0, held))
        if header.dtype.hasobject:
            return  # the end of pickled data is unknown without loading it
        position = header.offset + header.bytes


def _missing(header: Header, rows: int, size: int, name: str) -> Iterator[Skip]:
    if rows < header.rows:
        read = rows * header.row_bytes
        yield Skip(name, "broken archive", items=header.rows - rows, bytes=max(0, size - header.offset - read))


def _rest(handle: IO[bytes], position: int, size: int, name: str, last: Header | None) -> Skip:
    """The skip record for bytes after the last array that are not the start of another array."""
    handle.seek(position)
    left = size - position
    if handle.read(len(_MAGIC)) == _MAGIC:
        return Skip(name, "broken archive", items=None, bytes=left, is_plain=True)
    is_rows = last is not None and left % last.row_bytes == 0
    return Skip(name, "rows after those stated", items=left // last.row_bytes if last and is_rows else None, bytes=left)


def read_rows(handle: IO[bytes], header: Header, start: int, stop: int) -> np.ndarray:
    """Read the rows from `start` to `stop` of a matrix, from a handle that can seek."""
    if not header.is_by_column:
        handle.seek(header.offset + start * header.row_bytes)
        return _read_exactly(handle, (stop - start) * header.shape[1], header.dtype).reshape(stop - start, -1)
    columns = []
    for column in range(header.shape[1]):
        handle.seek(header.offset + (column * header.rows + start) * header.dtype.itemsize)
        columns.append(_read_exactly(handle, stop - start, header.dtype))
    return np.stack(columns, axis=1)


def stream_rows(handle: IO[bytes], block: Block) -> Iterator[np.ndarray]:
    """Read a matrix in batches of rows, from a handle at its data; a matrix stored column by column is one batch."""
    header = block.header
    if header.is_by_column:
        yield _read_exactly(handle, block.rows * header.shape[1], header.dtype).reshape(header.shape[1], -1).T
        return
    for start in range(0, block.rows, header.step):
        rows = min(header.step, block.rows - start)
        yield _read_exactly(handle, rows * header.shape[1], header.dtype).reshape(rows, -1)


def _read_exactly(handle: IO[bytes], count: int, dtype: np.dtype) -> np.ndarray:
    data = handle.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise EOFError("the array ends before its last row")
    return np.frombuffer(data, dtype)


def records(rows: np.ndarray, ids: list[str]) -> Iterator[Item | Skip]:
    """One item per row, or a skip if a value of the row is not finite or is beyond the range of float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        vectors = np.ascontiguousarray(rows, dtype=np.float32)
    for id, vector in zip(ids, vectors, strict=True):
        yield Item(id, vector) if np.isfinite(vector).all() else Skip(id, "not finite", was_read=True)
