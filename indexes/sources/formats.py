"""The formats that hold many items in one file, by suffix."""

from collections.abc import Callable, Sequence
from typing import get_args

from indexes.errors import InputError
from indexes.records import Kind, Shard
from indexes.sources.arrays import npy_shards, npz_shards
from indexes.sources.files import DAMAGE, File, Refused, damage_reason
from indexes.sources.huggingface import arrow_shards
from indexes.sources.jsonl import json_lines_shards
from indexes.sources.members import UNSUPPORTED
from indexes.sources.parquet import parquet_shards
from indexes.sources.tar import tar_shards
from indexes.sources.zip import zip_shards

__all__ = ["split", "supported"]

_Split = Callable[[File, Kind, str | None], Sequence[Shard]]

_ANY: tuple[Kind, ...] = get_args(Kind)
_MEDIA: tuple[Kind, ...] = ("image", "text")
_VECTOR: tuple[Kind, ...] = ("vector",)
_FORMATS: dict[str, tuple[tuple[Kind, ...], _Split]] = {
    ".tar": (_MEDIA, tar_shards),
    ".tar.gz": (_MEDIA, tar_shards),
    ".tgz": (_MEDIA, tar_shards),
    ".zip": (_MEDIA, zip_shards),
    ".parquet": (_ANY, parquet_shards),
    ".arrow": (_ANY, arrow_shards),
    ".jsonl": (_ANY, json_lines_shards),
    ".jsonl.gz": (_ANY, json_lines_shards),
    ".npy": (_VECTOR, npy_shards),
    ".npz": (_VECTOR, npz_shards),
}
_LOOSE: dict[Kind, str] = {"image": "image files, ", "text": ".txt files, ", "vector": ""}


def supported(kind: Kind) -> str:
    """The formats that can hold a kind, for messages."""
    return _LOOSE[kind] + ", ".join(ending for ending, (kinds, _) in _FORMATS.items() if kind in kinds)


def split(file: File, kind: Kind, column: str | None) -> Sequence[Shard]:
    """The shards of one file; raises `Refused` if its type, directory or columns do not allow the kind."""
    name = file.name.lower()
    kinds, shards = next((each for ending, each in _FORMATS.items() if name.endswith(ending)), ((), None))
    if shards is None or kind not in kinds:
        message = f"{file.name}: not a file that can hold {kind}s; expected {supported(kind)}"
        raise Refused(message, UNSUPPORTED)
    try:
        return shards(file, kind, column)
    except InputError:
        raise
    except DAMAGE as error:
        message = f"{file.name}: cannot be opened ({error}); expected an undamaged file; copy or download it again"
        raise Refused(message, damage_reason(error)) from error
