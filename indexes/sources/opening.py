"""Open the source that a user names, with its shards in canonical order."""

from pathlib import Path

from indexes.records import Kind, Source
from indexes.sources.folder import folder_shards
from indexes.sources.listing import list_entries

__all__ = ["open_source"]


def open_source(spec: str | Path, *, kind: Kind, column: str | None = None) -> Source:
    """Open a file, folder, pattern (`{000..011}.tar`, `*.parquet`) or fsspec URL, without reading all items yet.

    `kind` is the kind of item that the encoder reads; `column` names the table column, JSON key or `.npz` array.
    Shard names and item ids are relative to the source, so copies of a source in different places give equal results.
    Raises `InputError` if the source is empty or cannot hold the kind. Damage inside the source is not checked by this
    function, but yielded as skips while reading.
    """
    spec = str(spec)
    return Source(spec, kind, folder_shards(spec, list_entries(spec), kind, column))
