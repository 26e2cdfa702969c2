"""Split consecutive tables of one file into shards; the item column may differ by table, and row numbers continue."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from indexes.records import Kind, Skip
from indexes.sources.cells import Column, TableShard, with_form_of_values
from indexes.sources.columns import choose_column
from indexes.sources.files import File, Refused

__all__ = ["AFTER", "BEFORE", "Part", "part_shards"]

AFTER = "bytes after the table"
BEFORE = "bytes before the table"


class Part(NamedTuple):
    """One of the consecutive tables of a file."""

    file: File  # the file that its shards read
    size: int  # bytes
    schema: Any
    runs: tuple[tuple[tuple[Any, ...], int | None], ...]  # for each shard its groups and its number of rows
    rows: int | None


_Batches = Callable[[File, str, tuple[Any, ...]], Iterator[Any]]


def part_shards(
    file: File, parts: Sequence[Part], skips: Sequence[Skip], kind: Kind, column: str | None, batches: _Batches
) -> list[TableShard]:
    """Shards of all tables with a suitable column; the last shard gets `skips` and the skips for all other tables.

    Raises `Refused`, with the total number of rows, if no table has a suitable column, and `InputError` if a table has
    several suitable columns.
    """
    skips = list(skips)
    shards: list[TableShard] = []
    chosen: Column | None = None
    first_row = 0
    for part in parts:
        try:
            chosen = choose_column(part.schema, kind, column, file.name, part.rows)
            shards += _shards(part, chosen, batches, first_row)
        except Refused as error:
            refusal = error
            skips.append(Skip(file.name, error.reason, items=part.rows, bytes=part.size))
        first_row += part.rows or 0
    if chosen is None:
        raise Refused(str(refusal), refusal.reason, items=_items(skips))
    if skips and not shards:
        shards = [TableShard(file, file.name, chosen, batches, (), 0)]
    return _named(shards, file.name, tuple(skips))


def _items(skips: Sequence[Skip]) -> int | None:
    known = [skip.items for skip in skips if skip.items is not None]
    return sum(known) if len(known) == len(skips) else None


def _shards(part: Part, column: Column, batches: _Batches, first_row: int) -> list[TableShard]:
    shards = []
    for groups, rows in part.runs:
        shards.append(TableShard(part.file, "", column, batches, groups, rows, first_row))
        first_row += rows or 0
    return with_form_of_values(shards)


def _named(shards: list[TableShard], name: str, skips: tuple[Skip, ...]) -> list[TableShard]:
    """The shards with their names, numbered if there are several shards; the last shard gets the skips."""
    names = [name] if len(shards) == 1 else [f"{name}:{number:05d}" for number in range(len(shards))]
    named = [replace(shard, name=each) for shard, each in zip(shards, names, strict=True)]
    return [*named[:-1], replace(named[-1], skips=skips)] if named else []
