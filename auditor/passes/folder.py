"""An audit's folder: its file names, the audit it belongs to, and a lock for its one writer."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from indexes.errors import ArtifactError, InputError, ResourceError
from indexes.sources.files import printable
from indexes.store import write_atomic

__all__ = ["CLAIM", "RESULT", "SHARDS", "check_folder", "claim", "only_writer", "read_claim"]

RESULT = "result.json"
_MOST_NAME = 255  # bytes of a file's name
SHARDS, CLAIM = "shards.json", "audit.json"  # in state/: the finished shards in order, and what the folder is for


@contextmanager
def only_writer(out: Path) -> Iterator[None]:
    """Hold an audit's folder; raises ResourceError while another process does. The lock ends with its process."""
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    folder = os.open(out, os.O_RDONLY)
    try:
        _lock(folder, out)
        yield
    finally:
        os.close(folder)


def check_folder(out: Path) -> None:
    """Raise InputError where there can be no folder for an audit: on or below a file, or under an impossible name."""
    standing = next((path for path in (out, *out.parents) if os.path.lexists(path)), None)
    if standing is not None and not standing.is_dir():
        found = "a link that leads to no folder" if standing.is_symlink() else "a file"
        raise InputError(f"{standing} is {found}, expected a folder for the audit: choose another --out")
    if "\0" in str(out) or any(len(os.fsencode(part)) > _MOST_NAME for part in out.parts):
        raise InputError(f"no folder can have the name {out}: choose another --out")


def _lock(folder: int, out: Path) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ResourceError(f"another audit is writing into {out}: wait for it, or use another --out") from None


def claim(out: Path, spec: str, configuration: dict[str, Any], *, overwrite: bool, resume: bool = True) -> None:
    """Make a folder an audit's own, without the result of its earlier state; without `resume` also without its shards.

    Raises InputError when it holds another audit, or files of the names an audit writes.
    """
    path, wanted = out / "state" / CLAIM, {"source": _place(spec), **configuration}
    if printable(str(out)) != str(out):
        raise InputError(f"{printable(str(out))} is no valid Unicode: use another --out")
    if not overwrite:
        _check_own(out, wanted)
    elif path.is_file() and path.read_bytes() != _claim_text(wanted):
        shutil.rmtree(out / "state")
    if not resume:
        shutil.rmtree(out / "state", ignore_errors=True)
    (out / "state").mkdir(parents=True, exist_ok=True)
    (out / RESULT).unlink(missing_ok=True)
    write_atomic(path, _claim_text(wanted))


def _place(spec: str) -> str:
    """Where a local source lies, however it was written: links resolved. Other sources keep their names."""
    return os.path.realpath(spec) if os.path.isabs(spec) or os.path.exists(spec) else spec


def _claim_text(claimed: dict[str, Any]) -> bytes:
    return json.dumps(claimed, indent=1, sort_keys=True).encode()


def _check_own(out: Path, wanted: dict[str, Any]) -> None:
    if (out / "state" / CLAIM).is_file():
        found = read_claim(out)
        found["source"] = _place(str(found.get("source")))
        if differing := ", ".join(sorted(k for k in wanted if found.get(k) != wanted[k])):
            raise InputError(
                f"{out} holds an audit with another {differing}, expected the same: use --overwrite or another --out"
            )
    elif strangers := [name for name in ("items", "skipped.parquet", RESULT, "report.html") if (out / name).exists()]:
        raise InputError(f"{out} holds {strangers[0]} of no audit in progress: use --overwrite or another --out")


def read_claim(out: Path) -> dict[str, Any]:
    """What an audit's folder is for: source, reference and encoders; raises ArtifactError when it is no such folder."""
    path = out / "state" / CLAIM
    try:
        claimed: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}): name an audit's folder, or use --overwrite") from None
    return claimed
