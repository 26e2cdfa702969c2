"""Checks of an untrusted reference: its fields, its arrays, and a trial run on a few of its items."""

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from auditor.evidence.calibration import count_scores
from auditor.reference.reference import Reference
from indexes.encoders.weights import NAMES, split_spec
from indexes.errors import ArtifactError

__all__ = ["check_stored", "check_usable"]

_ROLE = {"spec": str, "fingerprint": str, "sees": ("traces", "content"), "kind": ("image", "text", "vector")}
_COUNTS = {...: int}
_FIELDS: dict[Any, Any] = {
    "schema": str, "name": str, "identity": str, "labels": [str], "n_real": int, "simulated": [str],
    "evidence": _ROLE, "semantic": (None, _ROLE), "formats": [_COUNTS], "traits": [{...: _COUNTS}],
    "skipped": {...: _COUNTS}, "seed": int, "bytes": int,
}  # fmt: skip
_EMBEDDINGS = {"schema": str, "encoder": str, "shape": [int], "dtype": str, "bytes": _COUNTS}
_UNREAD = {...: {"counted": int, "items": int, "bytes": int, "share": {...: (None, float, int, str)}}}
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_TRIED = 8  # items


def check_stored(folder: Path) -> None:
    """Check the files of an untrusted reference before they are loaded.

    Raises ArtifactError for fields of the wrong type, for arrays larger than their file, and for arrays that do not
    hold numbers.
    """
    _check_fields(_read_json(folder / "manifest.json"), folder)
    for name in ("evidence", "semantic"):
        if (folder / name).is_dir():
            _check_ids(_read_json(folder / name / "ids.json"))
            if not _fits(_read_json(folder / name / "manifest.json"), _EMBEDDINGS):
                raise ArtifactError(f"{name}/manifest.json has missing or invalid fields")
            with (folder / name / "vectors.npy").open("rb") as file:
                _check_array(file, (folder / name / "vectors.npy").stat().st_size, f"{name}/vectors.npy")
    _check_archive(folder / "fitted.npz")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path.name} cannot be read ({error})") from None


def _check_fields(found: Any, folder: Path) -> None:
    if isinstance(found, dict) and isinstance(found.get("schema"), str) and not _fits(found, _FIELDS):
        wrong = [name for name, shape in _FIELDS.items() if name not in found or not _fits(found[name], shape)]
        raise ArtifactError(
            f"the manifest has missing or invalid fields: {', '.join(wrong)} (schema {found['schema']!r})"
        )
    if not isinstance(found, dict) or "schema" not in found:
        raise ArtifactError("the manifest does not name a schema")
    labels, n_real = found["labels"], found["n_real"]
    is_whole = len(found["formats"]) == len(found["traits"]) == len(labels) == len(set(labels))
    if not is_whole or not 1 <= n_real <= len(labels) or not {*found["simulated"], *found["skipped"]} <= set(labels):
        raise ArtifactError("the labels in the manifest are inconsistent")
    if not _fits(found.get("unread", {}), _UNREAD) or not set(found.get("unread", {})) <= set(labels):
        raise ArtifactError("the field unread of the manifest is invalid")
    if (found["semantic"] is not None) != (folder / "semantic").is_dir():
        raise ArtifactError("the manifest and the files disagree about the semantic encoder")
    for role in filter(None, (found["evidence"], found["semantic"])):
        if unknown := [part.name for part in split_spec(role["spec"]) if part.name not in NAMES]:
            raise ArtifactError(f"the reference needs the encoder {unknown[0]!r}, which this version does not have")


def _fits(value: Any, shape: Any) -> bool:
    """Whether a JSON value matches a schema: a type, a tuple of alternatives, a list of one schema, or a mapping."""
    match shape:
        case tuple():
            return any(_fits(value, one) for one in shape)
        case list():
            return isinstance(value, list) and all(_fits(one, shape[0]) for one in value)
        case dict() if ... in shape:
            return isinstance(value, dict) and all(_fits(one, shape[...]) for one in value.values())
        case dict():
            return isinstance(value, dict) and all(name in value and _fits(value[name], s) for name, s in shape.items())
        case type():
            return type(value) is shape and not (isinstance(value, float) and not math.isfinite(value))
    return bool(value == shape)


def _check_ids(found: Any) -> None:
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ArtifactError("the item ids are not a list of strings")


def _check_archive(path: Path) -> None:
    """Check the arrays of a `.npz`, which must be uncompressed, so that no array is larger than the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if any(m.compress_type != zipfile.ZIP_STORED or m.file_size != m.compress_size for m in members):
                raise ArtifactError(f"{path.name} is compressed, but exported references are uncompressed")
            if sum(m.file_size for m in members) > path.stat().st_size or len(members) != len(set(archive.namelist())):
                raise ArtifactError(f"{path.name} declares more data than it holds, or repeats a name")
            for member in members:
                with archive.open(member) as file:
                    _check_array(file, member.file_size, member.filename)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise ArtifactError(f"{path.name} is damaged ({error})") from None


def _check_array(file: Any, size: int, name: str) -> None:
    """Raise ArtifactError unless the header of a `.npy` declares numbers and the exact number of bytes that follow."""
    try:
        version = np.lib.format.read_magic(file)
        shape, _, dtype = _HEADERS[version](file)
    except (ValueError, KeyError, EOFError, RecursionError, MemoryError, SyntaxError) as error:
        raise ArtifactError(f"{name} is not a valid array ({' '.join(str(error).split())[:100]})") from None
    if dtype.kind not in "biuf" or dtype.hasobject:
        raise ArtifactError(f"{name} holds {dtype}, expected numbers")
    announced = math.prod(shape) * dtype.itemsize
    if announced != size - file.tell():
        raise ArtifactError(f"the header of {name} declares {announced} bytes, but {size - file.tell()} bytes follow")


def check_usable(reference: Reference) -> None:
    """Test a loaded reference on a few of its own items; raises ArtifactError, or any error for mismatched shapes."""
    vectors, detector = reference.embeddings.vectors, reference.detector
    n, parts = len(vectors), len(reference.labels)
    if vectors.ndim != 2 or not all(np.isfinite(rows).all() for rows in _spaces(reference)):
        raise ArtifactError("the vectors are not rows of finite numbers")
    if detector.digests.shape != (n, 16) or detector.component.shape != (n,) or detector.folds.shape != (n,):
        raise ArtifactError("the digests, components or folds do not match the number of items")
    if reference.nearest.shape != (n,) or set(np.unique(detector.component).tolist()) != set(range(parts)):
        raise ArtifactError("the distances or components do not match the items or labels")
    counts = zip(reference.calibration.components, np.bincount(detector.component), strict=True)
    if any(not 1 <= component.n <= count for component, count in counts):  # copies count once
        raise ArtifactError("the calibration does not match the number of items")
    found = detector.evidence(np.asarray(vectors[:_TRIED]), detector.digests[:_TRIED])
    count_scores(found, reference.calibration.edges)
    if found.posteriors.shape != (min(n, _TRIED), parts) or not np.isfinite(found.posteriors).all():
        raise ArtifactError("the computed probabilities are not finite")


def _spaces(reference: Reference) -> list[np.ndarray]:
    return [reference.embeddings.vectors, *([] if reference.semantic is None else [reference.semantic.vectors])]
