"""From what the user typed to a source with its shards in canonical order."""

from pathlib import Path

from indexes.records import Kind, Source
from indexes.sources.folder import folder_shards
from indexes.sources.listing import list_entries

__all__ = ["open_source"]


def open_source(spec: str | Path, *, kind: Kind, column: str | None = None) -> Source:
    """Open a file, folder, pattern (`{000..011}.tar`, `*.parquet`) or fsspec URL; read nothing but its directory.

    `kind` is what the encoder reads, `column` the key of a table, JSON line or `.npz`. Shards, names and item ids
    are relative to the source, so copies at different places are equal. Raises `InputError` when nothing is there
    or nothing in it can hold that kind; damage inside is not judged here but yielded as skips when it is read.
    """
    spec = str(spec)
    return Source(spec, kind, folder_shards(spec, list_entries(spec), kind, column))
