"""The export file of a reference: an uncompressed tar of a manifest (sizes and digests) and a fixed set of files."""

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from indexes.errors import ArtifactError, InputError, ResourceError

__all__ = ["names_in", "pack", "unpack"]

_SCHEMA = "madaudit/reference-file/1"
_FAMILY = _SCHEMA.rpartition("/")[0] + "/"
_MANIFEST = "reference-file.json"
_EMBEDDINGS = ("ids.json", "manifest.json", "vectors.npy")
_NAMES = ("manifest.json", "fitted.npz", *(f"evidence/{name}" for name in _EMBEDDINGS))
_SEMANTIC = tuple(f"semantic/{name}" for name in _EMBEDDINGS)
_BLOCK = 512  # bytes, to which tar fills up every file
_END = bytes(2 * _BLOCK)
_LONGEST_MANIFEST = 2**16  # bytes
_CHUNK = 2**20


def names_in(folder: Path) -> tuple[str, ...]:
    """The files of a stored reference, in the order in which they are packed."""
    return tuple(sorted(_NAMES + _SEMANTIC if (folder / "semantic").is_dir() else _NAMES))


def pack(folder: Path, path: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Pack a stored reference into one file, completely or not at all; return the manifest, which includes `fields`.

    Packing one reference twice gives identical bytes. Raises ResourceError if the file cannot be written.
    """
    temporary = path.with_name(f".{uuid4().hex}")
    try:
        files = {name: _measured(folder / name) for name in names_in(folder)}
        manifest = _sealed({"schema": _SCHEMA, **fields, "files": files})
        with temporary.open("xb") as out:
            _write(out, folder, manifest)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
        return manifest
    except OSError as error:
        raise ResourceError(
            f"cannot write {path} ({error.strerror or error}): name a file in a folder with free space"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def _write(out: BinaryIO, folder: Path, manifest: Mapping[str, Any]) -> None:
    text = _written(manifest)
    out.write(_header(_MANIFEST, len(text)) + text + _filling(len(text)))
    for name, facts in manifest["files"].items():
        out.write(_header(name, facts["bytes"]))
        with (folder / name).open("rb") as file:
            _copy(file, facts, folder / name, out.write)
        out.write(_filling(facts["bytes"]))
    out.write(_END)


def unpack(path: Path, folder: Path, *, check: Callable[[Mapping[str, Any]], None] = lambda manifest: None) -> None:
    """Unpack an exported reference into a new folder; `check` receives the manifest before any file is written.

    The file is not trusted: every byte must be the byte that `pack` writes for the file's manifest. Files with other
    member names, links or trailing data are refused. Raises InputError for other kinds of files, and ArtifactError for
    a damaged file or a file of another version.
    """
    if not os.path.isfile(path):
        raise InputError(f"the file {path} does not exist: expected a file that madaudit reference export wrote")
    with path.open("rb") as file:
        manifest = _read_manifest(file, path)
        _check_size(path, os.fstat(file.fileno()).st_size, manifest)
        check(manifest)
        for name, facts in manifest["files"].items():
            _expect(file, _header(name, facts["bytes"]), path)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("xb") as out:
                _copy(file, facts, path, out.write)
            _expect(file, _filling(facts["bytes"]), path)
        _expect(file, _END, path)


def _read_manifest(file: BinaryIO, path: Path) -> dict[str, Any]:
    strange = InputError(f"{path} is not an exported reference: expected a file that madaudit reference export wrote")
    header = file.read(_BLOCK)
    try:
        size = tarfile.TarInfo.frombuf(header, "utf-8", "strict").size
    except (tarfile.HeaderError, ValueError):
        raise strange from None
    if not 0 < size <= _LONGEST_MANIFEST or header != _header(_MANIFEST, size):
        raise strange
    text = file.read(size)
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        raise _damaged(path, "the manifest cannot be read") from None
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if isinstance(schema, str) and schema.startswith(_FAMILY) and schema != _SCHEMA:
        raise ArtifactError(
            f"{path} has schema {schema!r}, expected {_SCHEMA!r}: export it with this version of madaudit, or update "
            "madaudit here"
        )
    if not _is_manifest(manifest) or _written(_sealed(manifest)) != text:
        raise _damaged(path, "the manifest was changed after the export")
    _expect(file, _filling(size), path)
    return dict(manifest)


def _is_manifest(found: Any) -> bool:
    """Whether a manifest has a name, an identity and exactly the expected files, each with a size and a digest."""
    if not isinstance(found, dict) or found.get("schema") != _SCHEMA or not isinstance(found.get("files"), dict):
        return False
    texts = all(isinstance(found.get(field), str) for field in ("name", "identity"))
    names = sorted(found["files"])
    is_known = names in (sorted(_NAMES), sorted(_NAMES + _SEMANTIC)) and list(found["files"]) == names
    return texts and is_known and all(_is_fact(facts) for facts in found["files"].values())


def _is_fact(facts: Any) -> bool:
    if not isinstance(facts, dict) or set(facts) != {"bytes", "sha256"}:
        return False
    return type(facts["bytes"]) is int and facts["bytes"] >= 0 and isinstance(facts["sha256"], str)


def _check_size(path: Path, found: int, manifest: Mapping[str, Any]) -> None:
    sizes = [len(_written(manifest)), *(facts["bytes"] for facts in manifest["files"].values())]
    expected = sum(_BLOCK + size + len(_filling(size)) for size in sizes) + len(_END)
    if found != expected:
        how = "cut short" if found < expected else "added to"
        raise _damaged(path, f"the file has {found} bytes, expected {expected}: the file was {how}")


def _copy(file: BinaryIO, facts: Mapping[str, Any], path: Path, write: Callable[[bytes], Any]) -> None:
    """Copy the stated number of bytes; raises ArtifactError if the digest of the bytes does not match."""
    digest, left = hashlib.sha256(), facts["bytes"]
    while left and (chunk := file.read(min(left, _CHUNK))):
        digest.update(chunk)
        write(chunk)
        left -= len(chunk)
    if left or digest.hexdigest() != facts["sha256"]:
        raise _damaged(path, f"the bytes have the SHA-256 {digest.hexdigest()}, expected {facts['sha256']}")


def _expect(file: BinaryIO, expected: bytes, path: Path) -> None:
    if file.read(len(expected)) != expected:
        raise _damaged(path, "the bytes between the packed files are invalid")


def _damaged(path: Path, found: str) -> ArtifactError:
    return ArtifactError(f"{path} is damaged ({found}): copy it again, or export the reference again")


def _measured(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _sealed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a manifest and a digest over the fields, which reveals damage."""
    others = {name: value for name, value in fields.items() if name != "sha256"}
    return {**others, "sha256": hashlib.sha256(_written(others)).hexdigest()}


def _written(manifest: Mapping[str, Any]) -> bytes:
    return json.dumps(manifest, indent=1, sort_keys=True).encode()


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def _filling(size: int) -> bytes:
    return bytes(-size % _BLOCK)
