"""An audit, from a source to a result: read this first."""

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from auditor.arrays import source_of_array
from auditor.finalise import Intent, finalise, most_suspicious, write_result
from auditor.reference import Reference
from auditor.shards import ShardResult, ShardTask, audit_shard, plan_shards, sampled
from indexes.device import compute_threads
from indexes.encoders.protocol import Encoder
from indexes.errors import ArtifactError, InputError, ResourceError
from indexes.records import Source
from indexes.sources import open_source
from indexes.sources.files import printable
from indexes.sources.listing import absolute_spec
from indexes.store import write_atomic

__all__ = [
    "AuditOptions",
    "Finished",
    "Progress",
    "Runner",
    "audit",
    "audit_into",
    "check_folder",
    "encoders_of",
    "run_here",
]

RESULT = "result.json"
_MOST_NAME = 255  # bytes of a file's name
SHARDS, CLAIM = "shards.json", "audit.json"  # in state/: the finished shards in order, and what the folder is for
Progress = Callable[[int, int, int], None]  # finished shards, all shards, items of the shard just finished
Runner = Callable[[Sequence[ShardTask], Reference], Iterable[int]]  # yields each shard's item count as it finishes


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """How the evidence is gathered."""

    batch_size: int = 256
    threads: int = 2  # that decode, beside the one that computes
    column: str | None = None  # of a table
    limit: int | None = None  # items used at most: a simple random sample of all
    overwrite: bool = False  # an audit of something else in the same folder
    resume: bool = True  # reuse the shards that an earlier run into the same folder finished


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished audit: its result and where its parts lie."""

    result: dict[str, Any]
    shards: tuple[ShardResult, ...] = field(repr=False)
    out: Path


def audit(
    data: Source | str | Path | np.ndarray,
    reference: Reference,
    *,
    out: str | Path | None = None,
    intent: Intent | None = None,
    options: AuditOptions | None = None,
    run: Runner | None = None,
    progress: Progress = lambda done, total, items: None,
) -> dict[str, Any]:
    """The result of auditing a source, or vectors (n, d) from the reference's encoder, against a reference.

    The first pass writes each shard's evidence and marks it, the second computes what needs the whole set. Shards
    that an earlier run into `out` finished are not read again. Without `out` nothing is left on disk.
    """
    with ExitStack() as stack:
        if out is None:
            out = stack.enter_context(tempfile.TemporaryDirectory(prefix="madaudit-"))
        return audit_into(
            Path(out), data, reference, intent=intent, options=options, run=run or run_here, progress=progress
        ).result


def audit_into(
    out: Path,
    data: Source | str | Path | np.ndarray,
    reference: Reference,
    *,
    intent: Intent | None = None,
    options: AuditOptions | None = None,
    run: Runner,
    progress: Progress = lambda done, total, items: None,
) -> Finished:
    """As `audit`, with the folder's tasks for whoever writes a report."""
    started = time.time()
    options = options or AuditOptions()
    source = _source(data, reference, options)
    _check_apart(out, source.spec)
    with only_writer(out):
        tasks = prepare(out, source, reference, options)
        unfinished = [task for task in tasks if not task.result.is_finished]
        reused = len(tasks) - len(unfinished)
        progress(reused, len(tasks), 0)
        for done, items in enumerate(run(unfinished, reference), start=1):
            progress(reused + done, len(tasks), items)
        shards = [task.result for task in tasks]
        rules = [task.sample for task in tasks if task.sample]
        intent = replace(intent or Intent(), is_sample=bool(rules), set_size=rules[0].set_size if rules else None)
        return conclude(out, shards, reference, intent, source.spec, started=started, reused=reused)


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


def conclude(
    out: Path,
    shards: Sequence[ShardResult],
    reference: Reference,
    intent: Intent,
    spec: str,
    *,
    started: float,
    reused: int,
) -> Finished:
    """The second pass: write the list of shards, items, gallery and, last, result.json."""
    encoded = time.time()
    write_atomic(out / "state" / SHARDS, json.dumps([[s.name, s.folder.name] for s in shards]).encode())
    with compute_threads(1):
        result = finalise(shards, out, reference, intent, printable(spec))
    write_atomic(out / "state" / "gallery.json", json.dumps(most_suspicious(shards)).encode())
    folder = printable(str(out))
    result["run"] = {"started": started, "shards": len(shards), "reused_shards": reused, "out": folder}
    result["timing"] = {"evidence_s": encoded - started, "finalise_s": time.time() - encoded}
    write_result(out, result)
    return Finished(result, tuple(shards), out)


def prepare(out: Path, source: Source, reference: Reference, options: AuditOptions) -> list[ShardTask]:
    """The tasks of an audit, once the folder is known to be its own; raises InputError when it is another's."""
    configuration = {
        "reference": reference.identity,
        "evidence": reference.evidence.fingerprint,
        "semantic": reference.semantic_encoder.fingerprint if reference.semantic_encoder else None,
        "batch_size": options.batch_size,
        "column": options.column,
        "limit": options.limit,
    }
    claim(out, source.spec, configuration, overwrite=options.overwrite, resume=options.resume)
    tasks = plan_shards(
        source.shards,
        out / "state",
        configuration=json.dumps(configuration, sort_keys=True),
        batch_size=options.batch_size,
        threads=options.threads,
    )
    return tasks if options.limit is None else sampled(tasks, options.limit, seed=reference.seed)


def _check_apart(out: Path, spec: str) -> None:
    source = Path(spec).expanduser()
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{out} lies inside the source {spec}, which would then hold its own audit: use another --out")


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


def _source(data: Source | str | Path | np.ndarray, reference: Reference, options: AuditOptions) -> Source:
    if isinstance(data, Source):
        return data
    if isinstance(data, np.ndarray):
        return source_of_array(data)
    source = open_source(data, kind=reference.evidence.kind, column=options.column)
    return replace(source, spec=absolute_spec(source.spec))


def run_here(tasks: Sequence[ShardTask], reference: Reference) -> Iterator[int]:
    """Every shard in this process, on one computing thread: the bytes are those of any number of workers."""
    if tasks:
        encoders = encoders_of(reference, device=reference.detector.device)
    for task in tasks:
        with compute_threads(1):
            items = audit_shard(task, reference, encoders)
        yield items


def encoders_of(reference: Reference, *, device: str) -> tuple[Encoder, ...]:
    """The reference's encoders, loaded again; one that plays both roles once.

    Raises ResourceError where weights are not on this machine, ArtifactError where they are others.
    """
    return tuple(reference.encoder_of(role, device=device) for role in dict.fromkeys(reference.roles))
