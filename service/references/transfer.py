"""Export of a reference to one file, and import of a reference from an untrusted file."""

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
    """Write a reference to one file, without the weights of its encoders; return a description of the file.

    Raises InputError if the reference does not exist or the file already exists, and ArtifactError if the reference is
    damaged.
    """
    folder = find_reference(name, settings)
    if path.is_dir():
        raise InputError(f"{path} is a folder, expected an output file: name a file in this folder")
    if os.path.lexists(path) and not overwrite:
        raise InputError(f"{path} already exists: name another file, or use --overwrite")
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
    """Install an exported reference in the home folder, under `name` if given; return a description of the reference.

    The file is not trusted: the reference is checked, loaded and tested before it is installed. A failed import leaves
    no files behind. Raises InputError if the name is taken or the file is not an exported reference, and ArtifactError
    if the file is damaged.
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
        raise InputError(f"a reference called {name!r} exists: give a new name after the file name, or use --overwrite")
    return name


def _trusted(folder: Path, path: Path, name: str) -> Reference:
    """Load and test an unpacked reference under its new name; raises ArtifactError if the reference is not usable."""
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
    """Move an imported reference into place and record it; after a failure, the previous reference is restored."""
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
    """Location of each encoder's weights on this machine, and the command-line option for a different location.

    `found` is null for published weights, which are downloaded by name. The digests of weights are checked when the
    weights are loaded.
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
