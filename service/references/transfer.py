"""References that move: exported to one file, and imported from one that is not trusted."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from auditor.reference.reference import Reference, load_reference
from auditor.reference.relocation import AS_STORED, Weights, relocated, shortest_name
from indexes.encoders.weights import split_spec
from indexes.errors import ArtifactError, InputError, ResourceError
from indexes.store import write_manifest
from service.references.build import describe
from service.references.checks import check_stored, check_usable
from service.references.file import pack, unpack
from service.references.shelf import find_reference, reference_folder, write_summary
from service.settings import Settings, read_weights
from service.storage.ledger import Ledger, check_free

__all__ = ["export_reference", "import_reference"]


def export_reference(name: str, path: Path, *, settings: Settings, overwrite: bool = False) -> dict[str, Any]:
    """Write a reference to one file, without the weights of its encoders; returns what was written.

    Raises InputError where the reference does not exist or the file does, and ArtifactError for a damaged reference.
    """
    folder = find_reference(name, settings)
    if path.is_dir():
        raise InputError(f"{path} is a folder, expected a file to write: name one in it")
    if os.path.lexists(path) and not overwrite:
        raise InputError(f"{path} exists: name another file, or use --overwrite")
    reference = load_reference(folder)
    manifest = pack(folder, path, {"name": reference.name, "identity": reference.identity})
    return {
        "name": name,
        "identity": reference.identity,
        "file": str(path),
        "bytes": path.stat().st_size,
        "files": manifest["files"],
        "weights": _weights(reference, AS_STORED),
    }


def import_reference(path: Path, name: str | None, *, settings: Settings, overwrite: bool = False) -> dict[str, Any]:
    """Put an exported reference into its place, under another name if one is given; returns what it is.

    The file is not trusted: the reference is checked, loaded and tried before it is put in place. A failed import
    leaves nothing behind. Raises InputError for a taken name and for another kind of file, ArtifactError for a
    damaged one.
    """
    check_free(settings.database)
    arriving = settings.references / f".import.{uuid4().hex}"
    chosen = name

    def check(manifest: Mapping[str, Any]) -> None:
        nonlocal chosen
        chosen = _free_name(manifest["name"] if name is None else name, settings, overwrite=overwrite)

    try:
        arriving.mkdir(parents=True)
        unpack(path, arriving, check=check)
        assert chosen is not None
        reference = _trusted(arriving, path, chosen)
        weights = _weights(reference, Weights(usual=read_weights()))
        write_summary(arriving, describe(reference))
        _put(arriving, reference, settings)
    except OSError as error:
        raise ResourceError(f"cannot import {path}: {error}") from None
    finally:
        shutil.rmtree(arriving, ignore_errors=True)
    return {**describe(reference), "folder": str(settings.references / chosen), "weights": weights}


def _free_name(name: str, settings: Settings, *, overwrite: bool) -> str:
    folder = reference_folder(name, settings)
    if folder.exists() and not overwrite:
        raise InputError(
            f"a reference called {name!r} exists: give the imported one another name after the file, or use --overwrite"
        )
    return name


def _trusted(folder: Path, path: Path, name: str) -> Reference:
    """The reference that was unpacked into a folder, under its name here; raises ArtifactError for one of no use."""
    try:
        check_stored(folder)
        _rename(folder, name)
        reference = load_reference(folder)
        check_usable(reference)
        describe(reference)
        return reference
    except Exception as error:  # whatever loading the arrays and fields of a stranger may raise
        found = " ".join((str(error) or type(error).__name__).split())[:300].replace(str(folder), "its folder")
        raise ArtifactError(f"{path} holds no usable reference: {found}; export it again") from None


def _rename(folder: Path, name: str) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    if manifest["name"] != name:
        write_manifest(folder, {**manifest, "name": name})


def _put(arriving: Path, reference: Reference, settings: Settings) -> None:
    """Move a folder into its place and record it; what lay there before comes back if either fails."""
    folder = settings.references / reference.name
    former = folder.with_name(f".former.{uuid4().hex}")
    if folder.exists():
        folder.rename(former)
    try:
        arriving.rename(folder)
        Ledger(settings.database).record_reference(reference.name, reference.identity, describe(reference))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if former.exists():
            former.rename(folder)
        raise
    shutil.rmtree(former, ignore_errors=True)


def _weights(reference: Reference, weights: Weights) -> list[dict[str, Any]]:
    """Each encoder's weights: where they lie on this machine, and what to pass where they do not.

    `found` is null for published weights, which are fetched by name. Digests are checked when the weights are loaded.
    """
    specs = [role.spec for role in reference.roles]
    here = relocated(specs, weights, reference=reference.name)
    pairs = {
        part.spec: (part, now)
        for spec, moved in zip(specs, here, strict=True)
        for part, now in zip(split_spec(spec), split_spec(moved), strict=True)
        if part.weights is not None
    }
    return [
        {
            "spec": spec,
            "at": now.weights,
            "found": now.is_here if now.is_stored_as_path or now.is_here else None,
            "option": f"--weights {shortest_name(part, specs)}=PATH",
        }
        for spec, (part, now) in pairs.items()
    ]
