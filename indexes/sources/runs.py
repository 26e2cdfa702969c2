"""Long runs of records that all say the same, merged: what a file repeats a million times is kept once."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from indexes.records import Item, Skip

__all__ = ["merged"]

_SINGLE = 1000  # skips of a run that are given one by one


def merged(records: Iterable[Item | Skip]) -> Iterator[Item | Skip]:
    """The records in their order; of a run of skips with one reason all behind the first thousand as one.

    That one is named after the first and the last of them, and stands for the items and bytes of all.
    """
    length, run = 0, None  # how many of them came, and what they have in common
    first = last = Skip("", "")  # of those that become one
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
    """What the skips of a run have in common; None for an item, and where amounts are unknown."""
    if isinstance(record, Item) or record.items is None or record.bytes is None:
        return None
    return record.reason, record.items > 0, record.is_plain, record.was_read


def _joined(first: Skip, last: Skip, entries: int, items: int, size: int) -> Skip:
    path = first.path if last is first else f"{first.path} – {last.path}"
    return replace(first, path=path, items=items, bytes=size, entries=entries)
