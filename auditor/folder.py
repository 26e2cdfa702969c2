"""The folder of an audit: its file names, the record of which audit owns it, and a lock for writing."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexes.errors import ArtifactError, InputError, ResourceError
from indexes.sources.files import printable
from indexes.store import write_atomic

__all__ = ["AuditFolder"]

_MOST_NAME = 255  # bytes of a file's name


@dataclass(frozen=True, slots=True)
class AuditFolder:
    """Paths of the files and folders of an audit. The audit folder need not exist yet."""

    path: Path

    @property
    def result(self) -> Path:
        """Path of result.json, which is written last."""
        return self.path / "result.json"

    @property
    def report(self) -> Path:
        """Path of the report, an HTML page."""
        return self.path / "report.html"

    @property
    def skipped(self) -> Path:
        """Path of the table of all input that could not be used."""
        return self.path / "skipped.parquet"

    @property
    def items(self) -> Path:
        """Folder of the item tables, one table per shard."""
        return self.path / "items"

    @property
    def state(self) -> Path:
        """Folder with one subfolder per finished shard, and with files about the whole audit."""
        return self.path / "state"

    @property
    def gallery(self) -> Path:
        """Path of the file with the most suspicious items, which the report shows."""
        return self.state / "gallery.json"

    @property
    def review(self) -> Path:
        """Folder that is sent to a person who labels items."""
        return self.path / "review"

    @property
    def label_table(self) -> Path:
        """Path of the table that a labeller fills in."""
        return self.review / "items.csv"

    @property
    def label_page(self) -> Path:
        """Path of the web page on which a person can label items."""
        return self.review / "index.html"

    @property
    def labels(self) -> Path:
        """Path of the table with the labels of a finished review."""
        return self.review / "labels.csv"

    @property
    def review_key(self) -> Path:
        """Path of the file with the true origins of review items, outside the folder that the labeller receives."""
        return self.state / "review.json"

    @property
    def _claim(self) -> Path:
        return self.state / "audit.json"

    @property
    def _shards(self) -> Path:
        return self.state / "shards.json"

    @property
    def has_review(self) -> bool:
        """Whether the folder holds the labels of a finished review."""
        return self.labels.exists() and self.review_key.exists()

    def item_files(self) -> list[Path]:
        """Item tables in the order of the shards; raises ArtifactError if no item table exists."""
        files = sorted(self.items.glob("*.parquet"))
        if not files:
            raise ArtifactError(f"{self.items} holds no items: run the audit again and keep its folder")
        return files

    def shards(self) -> list[tuple[str, Path]]:
        """Name and folder of each finished shard, in order; raises ArtifactError if the audit is not finished."""
        try:
            listed = json.loads(self._shards.read_bytes())
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{self._shards} cannot be read ({error}): finish this audit first") from None
        return [(name, self.state / key) for name, key in listed]

    def write_shards(self, shards: Iterator[tuple[str, Path]]) -> None:
        """Write the list of finished shards."""
        write_atomic(self._shards, json.dumps([[name, folder.name] for name, folder in shards]).encode())

    def check(self) -> None:
        """Raise InputError if the folder cannot be created: a file blocks its path, or its name is invalid."""
        out = self.path
        standing = next((path for path in (out, *out.parents) if os.path.lexists(path)), None)
        if standing is not None and not standing.is_dir():
            found = "a link that does not lead to a folder" if standing.is_symlink() else "a file"
            raise InputError(f"the path {standing} is {found}, expected a folder for the audit: choose another --out")
        if "\0" in str(out) or any(len(os.fsencode(part)) > _MOST_NAME for part in out.parts):
            raise InputError(f"the folder name {out} is invalid: choose another --out")

    @contextmanager
    def only_writer(self) -> Iterator[None]:
        """Lock the folder; raises ResourceError if another process holds the lock.

        A lock ends with the process that holds it.
        """
        self.check()
        self.path.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path, os.O_RDONLY)
        try:
            _lock(folder, self.path)
            yield
        finally:
            os.close(folder)

    def claim(self, source: str, configuration: Mapping[str, Any], *, overwrite: bool, resume: bool = True) -> None:
        """Record this audit as the folder's owner and delete an old result; without `resume`, delete finished shards.

        Raises InputError if the folder holds another audit, or other files with names that an audit would write.
        """
        wanted = {"source": _place(source), **configuration}
        if printable(str(self.path)) != str(self.path):
            raise InputError(f"the folder name {printable(str(self.path))} is not valid Unicode: use another --out")
        if not overwrite:
            self._check_own(wanted)
        elif self._claim.is_file() and self._claim.read_bytes() != _claim_text(wanted):
            shutil.rmtree(self.state)
        if not resume:
            shutil.rmtree(self.state, ignore_errors=True)
        self.state.mkdir(parents=True, exist_ok=True)
        self.result.unlink(missing_ok=True)
        write_atomic(self._claim, _claim_text(wanted))

    def _check_own(self, wanted: Mapping[str, Any]) -> None:
        if self._claim.is_file():
            found = self.read_claim()
            found["source"] = _place(str(found.get("source")))
            if differing := ", ".join(sorted(k for k in wanted if found.get(k) != wanted[k])):
                raise InputError(
                    f"{self.path} holds an audit with another {differing}, expected the settings of this audit: "
                    "use --overwrite or another --out"
                )
            return
        strangers = [path for path in (self.items, self.skipped, self.result, self.report) if path.exists()]
        if strangers:
            raise InputError(f"{self.path} holds {strangers[0].name} but no audit: use --overwrite or another --out")

    def read_claim(self) -> dict[str, Any]:
        """Source, reference and encoders of the folder's audit; raises ArtifactError if the folder holds no audit."""
        try:
            claimed: dict[str, Any] = json.loads(self._claim.read_bytes())
        except (OSError, ValueError) as error:
            raise ArtifactError(
                f"{self._claim} cannot be read ({error}): give the folder of an audit, or use --overwrite"
            ) from None
        return claimed


def _lock(folder: int, out: Path) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ResourceError(
            f"another audit is writing to {out}: wait until it has finished, or use another --out"
        ) from None


def _place(spec: str) -> str:
    """Absolute path of a local source, with links resolved; names of other sources are returned unchanged."""
    return os.path.realpath(spec) if os.path.isabs(spec) or os.path.exists(spec) else spec


def _claim_text(claimed: Mapping[str, Any]) -> bytes:
    return json.dumps(claimed, indent=1, sort_keys=True).encode()
