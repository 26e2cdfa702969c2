"""The references in a home folder, read from their own folders, which also works while a service is running."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from indexes.errors import ArtifactError, InputError
from service.settings import Settings

__all__ = [
    "UnknownReferenceError",
    "find_reference",
    "list_references",
    "reference_folder",
    "reference_names",
    "write_summary",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SUMMARY = "summary.json"
_MANIFEST = "manifest.json"  # written last: a folder without one is no reference


class UnknownReferenceError(InputError):
    """No reference has the given name; the message lists the existing references."""

    def __init__(self, name: str, settings: Settings) -> None:
        known = ", ".join(reference_names(settings)) or "none yet"
        super().__init__(
            f"no reference is called {name!r} (existing references: {known}): build it with madaudit reference build"
        )


def reference_folder(name: str, settings: Settings) -> Path:
    """Folder for a reference of this name, whether or not it exists; raises InputError for an invalid name."""
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is not a valid reference name: use letters, digits, '.', '_' and '-'")
    return settings.references / name


def find_reference(name: str, settings: Settings) -> Path:
    """Folder of an existing reference; raises UnknownReferenceError if no reference has this name."""
    folder = reference_folder(name, settings)
    if not folder.is_dir():
        raise UnknownReferenceError(name, settings)
    return folder


def reference_names(settings: Settings) -> list[str]:
    """Names of all completely stored references, sorted."""
    return [folder.name for folder in _folders(settings)]


def list_references(settings: Settings, *, warn: Callable[[str], None]) -> list[dict[str, Any]]:
    """Summaries of all references with build times, sorted by name; `warn` is called for each damaged reference."""
    found = []
    for folder in _folders(settings):
        try:
            summary = _stored(folder) or _loaded(folder)
        except ArtifactError as error:
            warn(f"the reference {folder.name} is damaged and not listed: {error}")
            continue
        built = datetime.fromtimestamp((folder / _MANIFEST).stat().st_mtime, UTC)
        found.append({**summary, "name": folder.name, "built": built.isoformat()})
    return found


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Store a reference's summary in its folder, so that listing references does not need to load them."""
    (folder / _SUMMARY).write_text(json.dumps(summary), encoding="utf-8")


def _folders(settings: Settings) -> list[Path]:
    """Folders of completely stored references; a folder name with a leading dot marks an incomplete reference."""
    found = settings.references.glob(f"[!.]*/{_MANIFEST}")
    return sorted((manifest.parent for manifest in found), key=lambda folder: folder.name)


def _stored(folder: Path) -> dict[str, Any] | None:
    """The summary in a reference's folder; None if the summary is missing or belongs to an earlier reference."""
    try:
        summary = json.loads((folder / _SUMMARY).read_bytes())
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        return dict(summary) if summary["identity"] == manifest["identity"] else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _loaded(folder: Path) -> dict[str, Any]:
    from auditor.reference.reference import load_reference
    from service.references.build import describe

    return describe(load_reference(folder))
