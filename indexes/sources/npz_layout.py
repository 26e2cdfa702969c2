"""List the arrays of an `.npz` file, choose the array of vectors and its ids, and count members that are not arrays."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO, NamedTuple

import numpy as np

from indexes.errors import InputError
from indexes.records import Skip
from indexes.sources.array_files import Header, read_header, unfit
from indexes.sources.files import DAMAGE, MAX_ITEM_BYTES, File, Refused, printable, some
from indexes.sources.members import clean, is_junk, junk_record, unwanted_record
from indexes.sources.signatures import HEAD_BYTES
from indexes.sources.zip_layout import BETWEEN, layout
from indexes.sources.zip_members import ENCRYPTED, Member, beginning, bytes_after, contents, data_start

__all__ = ["Array", "checked_ids", "choose", "opened", "read_ids", "remains", "survey"]

_BROKEN = "broken archive member"


class Array(NamedTuple):
    """One `.npy` member."""

    key: str  # the member's name without the suffix
    member: Member
    header: Header | None  # None if it cannot be read
    reason: str = ""  # why the header cannot be read


def survey(file: File, handle: IO[bytes]) -> tuple[list[Array], list[Skip]]:
    """All arrays of an `.npz` file in order, and skips for other bytes; raises the errors of `layout`."""
    found = layout(file)
    arrays: list[Array] = []
    left = list(found.left)
    between = 0
    for member in found.members:
        with suppress(*DAMAGE):  # damage is counted below as a broken array or member
            between += bytes_after(handle, member, data_start(handle, member))
        if member.name.endswith(".npy") and not is_junk(member.name):
            arrays.append(_array(handle, member, file.name))
        elif not member.name.endswith("/") or member.size:
            left.append(_other(handle, member, file.name))
    if between:
        left.append(Skip(file.name, BETWEEN, items=None, bytes=between))
    return arrays, left


def _array(handle: IO[bytes], member: Member, where: str) -> Array:
    key = member.name.removesuffix(".npy")
    if member.flags & ENCRYPTED:
        return Array(key, member, None, "encrypted")
    try:
        content = beginning(handle, member, data_start(handle, member))
        return Array(key, member, read_header(content, f"{where} {key}"))
    except Refused as refusal:
        return Array(key, member, None, refusal.reason)
    except DAMAGE:
        return Array(key, member, None, _BROKEN)


def _other(handle: IO[bytes], member: Member, where: str) -> Skip:
    """The skip record for an `.npz` member that is not an array."""
    path = f"{where}/{printable(clean(member.name))}"
    if is_junk(member.name):
        return junk_record(path, member.extent)
    try:
        head = opened(handle, member).read(HEAD_BYTES)
    except DAMAGE:
        return Skip(path, _BROKEN, items=None, bytes=member.extent)
    return unwanted_record(path, head, member.size, "vector") or Skip(path, "unsupported file type")


def choose(arrays: Sequence[Array], asked: str | None, where: str) -> tuple[Array, Header]:
    """The array named by the user, else the only matrix of floats, with its header.

    Raises `InputError` if several arrays fit, and `Refused` if no array fits.
    """
    first: dict[str, Array] = {}
    for array in arrays:
        first.setdefault(array.key, array)
    headers = {key: array.header for key, array in first.items() if array.header is not None}
    fitting = [key for key, header in headers.items() if unfit(header, where) is None]
    found = some(f"{key} {header.shape}" for key, header in headers.items()) or "no array"
    if asked is None and len(fitting) > 1:
        raise InputError(f"{where}: found {found}; choose the array of vectors with --column")
    key = asked if asked is not None else next(iter(fitting), None)
    if key in headers:
        return first[key], headers[key]
    if asked is None:
        message = f"{where}: found {found}, expected a float array of shape (rows, columns)"
        reason = next((array.reason for array in arrays if array.reason), "not a matrix")
    elif asked in first:
        message = f"{where}: the array {asked!r} cannot be read ({first[asked].reason}); copy or download it again"
        reason = first[asked].reason
    else:
        message, reason = f"{where}: no array {asked!r}, found {found}; name one with --column", "no such array"
    raise Refused(message, reason, items=_rows(list(first.values()), fitting))


def _rows(arrays: list[Array], fitting: list[str]) -> int | None:
    """The number of rows in a file from which no array was chosen, None if unknown."""
    if len(fitting) > 1 or not arrays or any(array.header is None for array in arrays):
        return None
    return max(array.header.rows for array in arrays if array.header and (not fitting or array.key in fitting))


def remains(arrays: Sequence[Array], chosen: Array, where: str, *, is_asked: bool) -> Iterator[Skip]:
    """Skips for unread arrays that may hold items; arrays that only describe the chosen array get no skip."""
    for array in arrays:
        path = f"{where}/{printable(array.key)}.npy"
        is_same = array is not chosen and array.key == chosen.key
        if array.header is None and (is_same or not is_asked) and array.reason != "holds pickled objects":
            yield Skip(path, array.reason, items=None, bytes=array.member.extent)
        elif is_same:
            rows = None if array.header is None else array.header.rows
            yield Skip(path, "repeated name", items=rows, bytes=array.member.extent)


def checked_ids(handle: IO[bytes], arrays: Sequence[Array], key: str, rows: int, where: str) -> Member | None:
    """The archive member `ids` with the row ids, if there is one; raises `Refused` unless each row has its own id."""
    stored = next((array for array in arrays if array.key == "ids" and key != "ids"), None)
    if stored is None:
        return None
    header = stored.header
    if header is None:
        raise Refused(
            f"{where}: ids cannot be read ({stored.reason}); correct or remove the ids", "wrong ids", items=rows
        )
    if len(header.shape) != 1 or header.dtype.kind != "U" or header.bytes > MAX_ITEM_BYTES:
        message = f"{where}: ids are {header.dtype} of shape {header.shape}, expected a list of strings"
        raise Refused(message, "wrong ids", items=rows)
    try:
        ids = read_ids(handle, stored.member)
    except DAMAGE as error:
        raise Refused(
            f"{where}: ids cannot be read ({error}); correct or remove the ids", "wrong ids", items=rows
        ) from error
    if len(set(ids)) != rows or len(ids) != rows:
        message = f"{where}: found {len(ids)} ids, {len(set(ids))} of them distinct, for the {rows} rows of {key}"
        raise Refused(
            f"{message}; expected one distinct id for each row; correct or remove the ids", "wrong ids", items=rows
        )
    return stored.member


def read_ids(handle: IO[bytes], member: Member) -> list[str]:
    """The strings in an `.npz` member; raises one of the errors in `DAMAGE` for damaged bytes."""
    return np.lib.format.read_array(opened(handle, member), allow_pickle=False).tolist()


def opened(handle: IO[bytes], member: Member) -> IO[bytes]:
    """The decompressed bytes of an `.npz` member; raises one of the errors in `DAMAGE` for damaged bytes."""
    return contents(handle, member, data_start(handle, member))
