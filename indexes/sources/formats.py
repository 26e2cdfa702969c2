"""Recognise file formats that hold many items, by content or else by suffix, and split files into shards."""

from collections.abc import Callable, Sequence
from typing import get_args

from indexes.errors import InputError
from indexes.records import Kind, Shard
from indexes.sources.arrays import media_in, npy_shards, npz_shards
from indexes.sources.arrow import arrow_shards
from indexes.sources.files import DAMAGE, File, Refused, damage_reason
from indexes.sources.jsonl import json_lines_shards
from indexes.sources.members import UNSUPPORTED, suffix
from indexes.sources.parquet import parquet_shards
from indexes.sources.signatures import HEAD_BYTES, content_of
from indexes.sources.tar import tar_shards
from indexes.sources.unpacked import COMPRESSED, unpacked
from indexes.sources.zip import zip_shards

__all__ = ["format_of", "split", "supported"]

_Split = Callable[[File, Kind, str | None], Sequence[Shard]]

_ANY: tuple[Kind, ...] = get_args(Kind)
_MEDIA: tuple[Kind, ...] = ("image", "text")
_VECTOR: tuple[Kind, ...] = ("vector",)
_FORMATS: dict[str, tuple[tuple[Kind, ...], _Split]] = {
    "tar": (_MEDIA, tar_shards),
    "zip": (_MEDIA, zip_shards),
    "parquet": (_ANY, parquet_shards),
    "arrow": (_ANY, arrow_shards),
    "jsonl": (_ANY, json_lines_shards),
    "npy": (_VECTOR, npy_shards),
    "npz": (_VECTOR, npz_shards),
}
_SUFFIXES = {
    ".tar": "tar", ".tgz": "tar", ".tbz2": "tar", ".txz": "tar", ".zip": "zip", ".parquet": "parquet",
    ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow", ".jsonl": "jsonl", ".ndjson": "jsonl", ".npy": "npy",
    ".npz": "npz",
}  # fmt: skip
_PACKED = (".gz", ".bz2", ".xz")
_LOOSE: dict[Kind, str] = {"image": "image files, ", "text": ".txt files, ", "vector": ""}


def supported(kind: Kind) -> str:
    """The file formats that can hold items of a kind, as text for messages."""
    names = [ending for ending, name in _SUFFIXES.items() if kind in _FORMATS[name][0]]
    packed = [f"{ending}.gz" for ending, name in _SUFFIXES.items() if ending in (".tar", ".jsonl") and ending in names]
    return _LOOSE[kind] + ", ".join([*names, *packed])


def format_of(file: File, head: bytes) -> str | None:
    """The format of a file that may hold many items, by its first `HEAD_BYTES`, else by its suffix; else None.

    The content takes precedence over the suffix, because the suffixes of scraped files are often wrong.
    """
    named, content = _named(file.name), content_of(head)
    if content in COMPRESSED:
        return _packed_format(file, named)
    if content == "zip":
        return "npz" if named == "npz" else "zip"
    if content in _FORMATS:
        return content
    return named


def _named(name: str) -> str | None:
    """The format that a file name suggests, compressed or not."""
    ending = suffix(name)
    if ending in _PACKED:
        inner = _SUFFIXES.get(suffix(name[: -len(ending)]))
        return inner if inner in ("tar", "jsonl") else None
    return _SUFFIXES.get(ending)


def _packed_format(file: File, named: str | None) -> str | None:
    """The format inside a compressed file, tar or JSON lines; None for anything else."""
    with unpacked(file) as (handle, _):
        head = handle.read(HEAD_BYTES)
    if content_of(head) == "tar" or head.lstrip()[:1] == b"{":
        return "tar" if content_of(head) == "tar" else "jsonl"
    return named if named in ("tar", "jsonl") else None


def split(file: File, kind: Kind, column: str | None) -> Sequence[Shard]:
    """The shards of one file; raises `Refused` if the file's type, directory or columns do not fit the kind."""
    try:
        with file.open() as handle:
            found = format_of(file, handle.read(HEAD_BYTES))
        kinds, shards = _FORMATS[found] if found else ((), None)
        if shards is None or kind not in kinds:
            message = f"{file.name}: not a file that can hold {kind}s; expected {supported(kind)}"
            is_array = found in ("npy", "npz")
            raise Refused(message, UNSUPPORTED, items=media_in(file, is_archive=found == "npz") if is_array else None)
        return shards(file, kind, column)
    except InputError:
        raise
    except DAMAGE as error:
        message = f"{file.name}: cannot be opened ({error}); expected an undamaged file; copy or download it again"
        raise Refused(message, damage_reason(error)) from error
