"""An audit, from a source to a result: read this first."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from auditor.arrays import source_of_array
from auditor.finalise import Intent, finalise, most_suspicious, write_result
from auditor.reference import Reference
from auditor.shards import ShardResult, ShardTask, audit_shard, plan_shards
from indexes.device import compute_threads
from indexes.encoders import load_encoder
from indexes.encoders.protocol import Encoder
from indexes.errors import ArtifactError, InputError
from indexes.records import Source
from indexes.sources import open_source
from indexes.store import write_atomic

__all__ = ["AuditOptions", "Finished", "Progress", "Runner", "audit", "audit_into", "encoders_of", "run_here"]

SHARDS, CLAIM = "shards.json", "audit.json"  # in state/: the finished shards in order, and what the folder is for
Progress = Callable[[int, int, int], None]  # finished shards, all shards, items of the shard just finished
Runner = Callable[[Sequence[ShardTask], Reference], Iterable[int]]  # yields each shard's item count as it finishes


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """How the evidence is gathered."""

    batch_size: int = 256
    threads: int = 2  # that decode, beside the one that computes
    column: str | None = None  # of a table
    limit: int | None = None  # items read at most, from the front
    overwrite: bool = False  # an audit of something else in the same folder


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
    tasks = prepare(out, source, reference, options)
    unfinished = [task for task in tasks if not task.result.is_finished]
    reused = len(tasks) - len(unfinished)
    if unfinished:
        (out / "result.json").unlink(missing_ok=True)  # of an earlier state of the set
    progress(reused, len(tasks), 0)
    for done, items in enumerate(run(unfinished, reference), start=1):
        progress(reused + done, len(tasks), items)
    shards = [task.result for task in tasks]
    return conclude(out, shards, reference, intent or Intent(), source.spec, started=started, reused=reused)


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
        result = finalise(shards, out, reference, intent, spec)
    write_atomic(out / "state" / "gallery.json", json.dumps(most_suspicious(shards)).encode())
    result["run"] = {"started": started, "shards": len(shards), "reused_shards": reused, "out": str(out)}
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
    }
    claim(out, source.spec, configuration, overwrite=options.overwrite)
    tasks = plan_shards(
        source.shards,
        out / "state",
        configuration=json.dumps(configuration, sort_keys=True),
        batch_size=options.batch_size,
        threads=options.threads,
    )
    return tasks if options.limit is None else list(_within_limit(tasks, options.limit))


def _within_limit(tasks: Sequence[ShardTask], limit: int) -> Iterator[ShardTask]:
    """The first shards that hold `limit` items between them, the last one cut; counted by reading, not encoding."""
    for task in tasks:
        if limit <= 0:
            return
        held = sum(1 for _ in islice(task.shard.read(), limit))
        yield replace(task, folder=task.folder.with_name(f"{task.folder.name}-{held}"), limit=held)
        limit -= held


def claim(out: Path, spec: str, configuration: dict[str, Any], *, overwrite: bool) -> None:
    path, wanted = out / "state" / CLAIM, {"source": spec, **configuration}
    if path.is_file():
        found = read_claim(out)
        if found == wanted:
            return
        if not overwrite:
            differing = ", ".join(sorted(k for k in wanted if found.get(k) != wanted[k]))
            raise InputError(
                f"{out} holds an audit with another {differing}, expected the same: use --overwrite or another --out"
            )
        shutil.rmtree(out / "state")
    (out / "state").mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(wanted, indent=1, sort_keys=True).encode())


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
    return open_source(data, kind=reference.evidence.kind, column=options.column)


def run_here(tasks: Sequence[ShardTask], reference: Reference) -> Iterator[int]:
    """Every shard in this process, on one computing thread: the bytes are those of any number of workers."""
    if tasks:
        encoders = encoders_of(reference, device=reference.detector.device)
    for task in tasks:
        with compute_threads(1):
            items = audit_shard(task, reference, encoders)
        yield items


def encoders_of(reference: Reference, *, device: str) -> tuple[Encoder, ...]:
    """The reference's encoders, loaded again; raises ArtifactError when their fingerprints have changed."""
    roles = [reference.evidence]
    if reference.semantic_encoder is not None and reference.semantic_encoder != reference.evidence:
        roles.append(reference.semantic_encoder)
    encoders = []
    for role in roles:
        encoder = load_encoder(role.spec, device=device)
        if encoder.fingerprint != role.fingerprint:
            raise ArtifactError(
                f"encoder {role.spec} is now {encoder.fingerprint}, the reference {reference.name!r} was built with "
                f"{role.fingerprint}: rebuild the reference"
            )
        encoders.append(encoder)
    return tuple(encoders)
