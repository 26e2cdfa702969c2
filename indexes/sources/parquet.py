"""Parquet: one shard for consecutive row groups that hold about a thousand rows."""

from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from indexes.records import Kind
from indexes.sources.cells import TableShard, choose_column
from indexes.sources.files import File

__all__ = ["parquet_shards"]

_ROWS = 1024  # least number of rows in a shard but the last
_BATCH_ROWS = 128  # rows in memory at once


def parquet_shards(file: File, kind: Kind, column: str | None) -> list[TableShard]:
    """Shards by row groups; raises `Refused` when the footer is damaged or no column fits."""
    with file.open() as handle, pq.ParquetFile(handle) as table:
        chosen = choose_column(table.schema_arrow, kind, column, file.name)
        rows = [table.metadata.row_group(group).num_rows for group in range(table.num_row_groups)]
    runs = list(_runs(rows))
    return [
        TableShard(file, _shard_name(file, number, len(runs)), chosen, _batches, groups, first_row)
        for number, (groups, first_row) in enumerate(runs)
    ]


def _runs(rows: list[int]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Consecutive row groups and the number of their first row."""
    groups: list[int] = []
    first = held = 0
    for group, count in enumerate(rows):
        groups.append(group)
        held += count
        if held >= _ROWS or group == len(rows) - 1:
            yield tuple(groups), first
            groups, first, held = [], first + held, 0


def _shard_name(file: File, number: int, total: int) -> str:
    return file.name if total == 1 else f"{file.name}:{number:05d}"


def _batches(file: File, column: str, groups: tuple[int, ...]) -> Iterator[Any]:
    with file.open() as handle, pq.ParquetFile(handle) as table:
        yield from table.iter_batches(_BATCH_ROWS, row_groups=list(groups), columns=[column], use_threads=False)
