"""Hugging Face datasets saved to disk: Arrow stream files, read without the `datasets` library."""

import json
import posixpath
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from indexes.records import Kind, Unusable
from indexes.sources.cells import TableShard, choose_column
from indexes.sources.files import File, Refused

__all__ = ["arrow_shards"]


def arrow_shards(file: File, kind: Kind, column: str | None) -> list[TableShard]:
    """One shard for one Arrow file; raises `Refused` for caches and files that `state.json` does not list."""
    listed = _listed(file)
    if listed is not None and posixpath.basename(file.name) not in listed:
        raise Refused(f"{file.name}: not listed in state.json", "not part of the dataset")
    with file.open() as handle, pa.ipc.open_stream(handle) as stream:
        chosen = choose_column(stream.schema, kind, column, file.name)
    return [TableShard(file, file.name, chosen, _batches)]


def _listed(file: File) -> set[str] | None:
    """The data files that the dataset's record names; None when there is no record that can be read."""
    try:
        state = json.loads(file.beside("state.json").read())
        return {data_file["filename"] for data_file in state["_data_files"]}
    except (Unusable, ValueError, LookupError, TypeError):
        return None


def _batches(file: File, column: str, groups: tuple[int, ...]) -> Iterator[Any]:
    with file.open() as handle, pa.ipc.open_stream(handle) as stream:
        for batch in stream:
            batch.validate(full=True)  # offsets from a damaged file would be followed anywhere in memory
            yield batch
