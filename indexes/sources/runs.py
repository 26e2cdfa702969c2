"""Merge long runs of equal skips, so that a million equal skips in a file need little memory."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from indexes.records import Item, Skip

__all__ = ["merged"]

_SINGLE = 1000  # skips of a run that are yielded one by one


def merged(records: Iterable[Item | Skip]) -> Iterator[Item | Skip]:
    """The items and skips in order; in a run of equal skips, all after the first thousand are merged into one skip.

    A merged skip is named after the first and last skip that it replaces, and has the sums of all items and bytes.
    """
    length, run = 0, None  # length of the current run of skips, and its common properties
    first = last = Skip("", "")  # first and last of the skips that are merged
    items = size = 0
    for record in records:
        sign = _sign(record)
        if sign is None or sign != run:
            if length > _SINGLE:
                yield _joined(first, last, length - _SINGLE, items, size)
            length, run, items, size = 0, sign, 0, 0
        length += 1
        if length <= _SINGLE or not isinstance(record, Skip):
            yield record
            continue
        first, last = (record if length == _SINGLE + 1 else first), record
        items, size = items + (record.items or 0), size + (record.bytes or 0)
    if length > _SINGLE:
        yield _joined(first, last, length - _SINGLE, items, size)


def _sign(record: Item | Skip) -> tuple[str, bool, bool, bool] | None:
    """The properties that all skips of a run share; None for an item, or a skip whose items or bytes are unknown."""
    if isinstance(record, Item) or record.items is None or record.bytes is None:
        return None
    return record.reason, record.items > 0, record.is_plain, record.was_read


def _joined(first: Skip, last: Skip, entries: int, items: int, size: int) -> Skip:
    path = first.path if last is first else f"{first.path} – {last.path}"
    return replace(first, path=path, items=items, bytes=size, entries=entries)
