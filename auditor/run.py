"""An audit, from a source to a result: read this first."""

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from auditor.arrays import source_of_array
from auditor.passes.first import ShardTask, audit_shard, plan_shards, sampled
from auditor.passes.folder import claim, only_writer
from auditor.passes.second import AuditRequest, FinishedAudit, conclude
from auditor.reference.reference import Reference
from indexes.device import compute_threads
from indexes.errors import InputError
from indexes.records import Source
from indexes.sources import open_source
from indexes.sources.listing import absolute_spec

__all__ = ["AuditOptions", "Progress", "Runner", "audit", "audit_into", "run_here"]

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


def audit(
    data: Source | str | Path | np.ndarray,
    reference: Reference,
    *,
    out: str | Path | None = None,
    intent: AuditRequest | None = None,
    options: AuditOptions | None = None,
    run: Runner | None = None,
    progress: Progress = lambda done, total, items: None,
) -> dict[str, Any]:
    """Audit a source, or vectors (n, d) from the reference's encoder, against a reference and return the result.

    The first pass writes the evidence of each shard. The second pass computes what needs the whole set. Shards that
    an earlier run into `out` finished are not read again. Without `out` nothing is left on disk.
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
    intent: AuditRequest | None = None,
    options: AuditOptions | None = None,
    run: Runner,
    progress: Progress = lambda done, total, items: None,
) -> FinishedAudit:
    """Like `audit`, but keep the folder `out` and return its finished shards too, which a report needs."""
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
        intent = replace(intent or AuditRequest(), is_sample=bool(rules), set_size=rules[0].set_size if rules else None)
        return conclude(out, shards, reference, intent, source.spec, started=started, reused=reused)


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
        encoders = reference.encoders(device=reference.detector.device)
    for task in tasks:
        with compute_threads(1):
            items = audit_shard(task, reference, encoders)
        yield items
