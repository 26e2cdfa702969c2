"""The references that lie in a home folder, listed from their own folders: beside a running service too."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from indexes.errors import ArtifactError
from service.settings import Settings

__all__ = ["list_references", "reference_names", "write_summary"]

_SUMMARY = "summary.json"
_MANIFEST = "manifest.json"  # written last: a folder without one is no reference


def reference_names(settings: Settings) -> list[str]:
    """The names of the references that are whole, in order."""
    return [folder.name for folder in _folders(settings)]


def list_references(settings: Settings, *, warn: Callable[[str], None]) -> list[dict[str, Any]]:
    """What each reference holds, by name, with the time it was built; `warn` is told of those that are damaged."""
    found = []
    for folder in _folders(settings):
        try:
            summary = _stored(folder) or _loaded(folder)
        except ArtifactError as error:
            warn(f"the reference {folder.name} is left out: {error}")
            continue
        built = datetime.fromtimestamp((folder / _MANIFEST).stat().st_mtime, UTC)
        found.append({**summary, "name": folder.name, "built": built.isoformat()})
    return found


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Leave what `list` says of a reference in its folder, so that nothing else need be read for it."""
    (folder / _SUMMARY).write_text(json.dumps(summary), encoding="utf-8")


def _folders(settings: Settings) -> list[Path]:
    """Folders of references that are whole; a name with a dot before it is of one half stored."""
    found = settings.references.glob(f"[!.]*/{_MANIFEST}")
    return sorted((manifest.parent for manifest in found), key=lambda folder: folder.name)


def _stored(folder: Path) -> dict[str, Any] | None:
    """The summary in the folder, None where there is none of the reference that lies there now."""
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
