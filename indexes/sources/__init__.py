"""Sources: folders, archives, tables and arrays, opened as shards that yield items or counted skips."""

from indexes.sources.opening import open_source

__all__ = ["open_source"]
