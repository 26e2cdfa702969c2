"""Run an audit, from a source to a result; start reading the code here."""

import json
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from auditor.folder import AuditFolder
from auditor.passes.first import ShardTask, audit_shard, plan_shards, sampled
from auditor.passes.request import AuditedSet, AuditRequest
from auditor.passes.second import conclude
from auditor.plan import Plan
from auditor.policy import Policy
from auditor.reference.reference import Reference
from auditor.results import AuditResult
from indexes.device import compute_threads
from indexes.errors import InputError
from indexes.records import Source
from indexes.sources import open_source
from indexes.sources.listing import absolute_spec
from indexes.sources.memory import source_of_array

__all__ = [
    "DECLARATIONS",
    "AuditOptions",
    "Data",
    "OnProgress",
    "Runner",
    "audit",
    "audit_into",
    "no_progress",
    "run_here",
]

Data = Source | str | Path | np.ndarray  # an opened source, what `open_source` opens, or vectors (n, d)
OnProgress = Callable[[int, int, int], None]  # finished shards, all shards, items of the shard just finished
Runner = Callable[[Sequence[ShardTask], Reference], Iterable[int]]  # yields each shard's item count as it finishes
DECLARATIONS = ("reference-complete", "generators-complete")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """Options for reading the data and gathering the evidence."""

    batch_size: int = 256
    threads: int = 2  # decoding threads, beside the one thread that computes
    column: str | None = None  # column to read of a table
    limit: int | None = None  # largest number of items to use: a simple random sample of all
    overwrite: bool = False  # replace an audit of something else in the same folder
    resume: bool = True  # reuse the shards that an earlier run into the same folder finished


def no_progress(done: int, total: int, items: int) -> None:
    """Ignore progress."""


def audit(
    data: Data,
    reference: Reference,
    *,
    plan: Plan | None = None,
    policy: Policy | None = None,
    declare: Collection[str] = (),
    level: float = 0.95,
    seed: int = 0,
    model_samples: np.ndarray | None = None,
    pilot: np.ndarray | None = None,
    out: str | Path | None = None,
    options: AuditOptions | None = None,
    on_progress: OnProgress = no_progress,
) -> AuditResult:
    """Audit a source, or vectors (n, d) from the reference's encoder, against a reference; return the result.

    `plan` is the intended training loop; without a plan, the risk is undetermined. `declare` lists facts about the
    reference: `reference-complete` (all real items come from its sources), `generators-complete` (there are no
    generators outside it). `model_samples` and `pilot` are samples (n, d) of the team's first model and of a second
    generation, in the space of the reference's semantic encoder. Shards that an earlier run with the same `out`
    finished are not read again; without `out`, nothing is left on disk. Raises InputError if no item of the data can be
    used.
    """
    if unknown := set(declare) - set(DECLARATIONS):
        raise InputError(
            f"unknown declaration {', '.join(sorted(unknown))}, expected some of {', '.join(DECLARATIONS)}"
        )
    request = AuditRequest(
        policy=policy or Policy(), plan=plan, level=level, declared=frozenset(declare), seed=seed,
        model_samples=model_samples, pilot=pilot,
    )  # fmt: skip
    if out is not None:
        folder = AuditFolder(Path(out))
        return audit_into(folder, data, reference, request, options=options, on_progress=on_progress)
    with tempfile.TemporaryDirectory(prefix="madaudit-") as temporary:
        folder = AuditFolder(Path(temporary))
        found = audit_into(folder, data, reference, request, options=options, on_progress=on_progress)
        return found.keep_items()


def audit_into(
    folder: AuditFolder,
    data: Data,
    reference: Reference,
    request: AuditRequest,
    *,
    options: AuditOptions | None = None,
    run: Runner | None = None,
    on_progress: OnProgress = no_progress,
) -> AuditResult:
    """Audit into a permanent folder; `run` processes the shards, by default in this process.

    The first pass writes the evidence of each shard. The second pass computes the results that need the whole set.
    """
    started = time.time()
    options = options or AuditOptions()
    source = _source(data, reference, options)
    _check_apart(folder.path, source.spec)
    with folder.only_writer():
        tasks = prepare(folder, source, reference, options)
        unfinished = [task for task in tasks if not task.result.is_finished]
        reused = len(tasks) - len(unfinished)
        on_progress(reused, len(tasks), 0)
        for done, items in enumerate((run or run_here)(unfinished, reference), start=1):
            on_progress(reused + done, len(tasks), items)
        audited = AuditedSet(
            source=source.spec,
            shards=tuple(task.result for task in tasks),
            reused=reused,
            started=started,
            limit=options.limit,
            column=options.column,
            batch_size=options.batch_size,
            sampled_from=next((task.sample.set_size for task in tasks if task.sample), None),
        )
        return conclude(folder, audited, reference, request)


def prepare(folder: AuditFolder, source: Source, reference: Reference, options: AuditOptions) -> list[ShardTask]:
    """Record this audit as the folder's owner and return its tasks; raises InputError if another owns the folder."""
    configuration = {
        "reference": reference.identity,
        "evidence": reference.evidence.fingerprint,
        "semantic": reference.semantic_encoder.fingerprint if reference.semantic_encoder else None,
        "batch_size": options.batch_size,
        "column": options.column,
        "limit": options.limit,
    }
    folder.claim(source.spec, configuration, overwrite=options.overwrite, resume=options.resume)
    tasks = plan_shards(
        source.shards,
        folder.state,
        configuration=json.dumps(configuration, sort_keys=True),
        batch_size=options.batch_size,
        threads=options.threads,
    )
    return tasks if options.limit is None else sampled(tasks, options.limit, seed=reference.seed)


def _check_apart(out: Path, spec: str) -> None:
    source = Path(spec).expanduser()
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise InputError(
            f"the folder {out} lies inside the source {spec} and would be audited with it: use another --out"
        )


def _source(data: Data, reference: Reference, options: AuditOptions) -> Source:
    if isinstance(data, Source):
        return data
    if isinstance(data, np.ndarray):
        return source_of_array(data)
    source = open_source(data, kind=reference.evidence.kind, column=options.column)
    return replace(source, spec=absolute_spec(source.spec))


def run_here(tasks: Sequence[ShardTask], reference: Reference) -> Iterator[int]:
    """Audit every shard in this process on one computing thread; the output bytes do not depend on the worker count."""
    if tasks:
        encoders = reference.encoders(device=reference.detector.device)
    for task in tasks:
        with compute_threads(1):
            items = audit_shard(task, reference, encoders)
        yield items
