"""Embeddings on disk: a folder of files and a manifest, which is written last and makes the files valid."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from indexes.errors import ArtifactError
from indexes.records import Embeddings

__all__ = [
    "checked_manifest",
    "emptied",
    "load_embeddings",
    "read_manifest",
    "replacing",
    "save_embeddings",
    "sizes",
    "write_atomic",
    "write_manifest",
]

_MANIFEST = "manifest.json"
_EMBEDDINGS = "madaudit/embeddings/1"


def save_embeddings(folder: Path, embeddings: Embeddings) -> None:
    """Save vectors, ids and manifest in a folder; until the manifest exists, loading reports an interrupted save."""
    folder = emptied(folder)
    with replacing(folder / "vectors.npy") as path, path.open("wb") as file:
        np.save(file, embeddings.vectors)
    write_atomic(folder / "ids.json", json.dumps(embeddings.ids).encode())
    fields = {"encoder": embeddings.encoder, "shape": list(embeddings.vectors.shape), "dtype": "float32"}
    write_manifest(folder, {"schema": _EMBEDDINGS, **fields, "bytes": sizes(folder, "vectors.npy", "ids.json")})


def load_embeddings(folder: Path, *, encoder: str | None = None) -> Embeddings:
    """The embeddings saved in a folder; the vectors are memory-mapped and read-only.

    Raises ArtifactError if the save was interrupted, if a file is missing or damaged, or if the fingerprint `encoder`
    is given and another encoder computed the vectors.
    """
    folder = Path(folder)
    manifest = checked_manifest(folder, _EMBEDDINGS, encoder)
    try:
        vectors = np.load(folder / "vectors.npy", mmap_mode="r")
        ids = tuple(json.loads((folder / "ids.json").read_bytes()))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{folder} is damaged ({error}): save it again") from error
    found, expected = [list(vectors.shape), str(vectors.dtype)], [manifest["shape"], manifest["dtype"]]
    if found != expected or len(ids) != len(vectors):
        raise ArtifactError(
            f"{folder} holds vectors of {found} and {len(ids)} ids, but its manifest says {expected}: save it again"
        )
    return Embeddings(vectors=vectors, ids=ids, encoder=manifest["encoder"])


def write_manifest(folder: Path, fields: Mapping[str, Any]) -> None:
    """Write the manifest that makes a folder's files valid; call this after writing the files. `schema` is required."""
    write_atomic(Path(folder) / _MANIFEST, json.dumps(dict(fields), indent=1, sort_keys=True).encode())


def read_manifest(folder: Path, schema: str) -> dict[str, Any]:
    """The fields of a folder's manifest.

    Raises ArtifactError if the manifest is missing, cannot be read, or has another schema.
    """
    path = Path(folder) / _MANIFEST
    try:
        fields = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing: the save was interrupted or this is the wrong folder") from None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}): save the folder again") from error
    found = fields.get("schema") if isinstance(fields, dict) else None
    if found != schema:
        raise ArtifactError(
            f"{path} has schema {found!r}, expected {schema!r}: save the folder again with this version of madaudit"
        )
    return fields


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file atomically, so that readers never see an incomplete file, even if the machine stops."""
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to, in the folder of `path`; at the end, the temporary file replaces `path`."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def emptied(folder: Path) -> Path:
    """Create the folder if missing and delete its manifest, because the files in the manifest will be replaced."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MANIFEST).unlink(missing_ok=True)
    return folder


def sizes(folder: Path, *names: str) -> dict[str, int]:
    """Size in bytes of each named file in a folder."""
    return {name: (folder / name).stat().st_size for name in names}


def checked_manifest(folder: Path, schema: str, encoder: str | None) -> dict[str, Any]:
    """A folder's manifest, after checking that the encoder and the size of every file match the manifest."""
    manifest = read_manifest(folder, schema)
    missing = {"bytes", "dtype", "encoder", "shape"} - manifest.keys()
    if missing:
        raise ArtifactError(f"{folder} has a manifest without {sorted(missing)}: save it again")
    if encoder is not None and manifest["encoder"] != encoder:
        raise ArtifactError(
            f"{folder} was made by encoder {manifest['encoder']!r}, expected {encoder!r}: encode the data again"
        )
    for name, expected in manifest["bytes"].items():
        found = (folder / name).stat().st_size if (folder / name).is_file() else "no"
        if found != expected:
            raise ArtifactError(f"{folder / name} has {found} bytes, expected {expected}: save it again")
    return manifest
