"""The dry run of an audit: its planned settings, its number of shards, and the policy in force."""

from collections import Counter
from pathlib import Path
from typing import Any

from auditor.folder import AuditFolder
from auditor.passes.request import AuditRequest
from auditor.records import record_document
from auditor.reference.reference import load_reference
from auditor.run import AuditOptions
from indexes.records import Skip, Source
from indexes.sources import open_source
from indexes.sources.folder import LooseShard
from indexes.sources.listing import absolute_spec, list_entries
from service.engines import worker_count
from service.references.shelf import find_reference
from service.settings import Settings

__all__ = ["audit_plan"]


def audit_plan(
    source: str | None,
    reference: str | None,
    out: Path | None,
    *,
    settings: Settings,
    request: AuditRequest,
    options: AuditOptions,
    workers: int | None,
) -> dict[str, Any]:
    """Plan of an audit from the arguments that are given; the source is opened, but no items are read.

    Raises InputError if the source is missing or of the wrong kind for the reference's encoder, if the reference is
    unknown, or if the output folder cannot be used.
    """
    if out is not None:
        AuditFolder(out).check()
    planned: dict[str, Any] = {
        "source": source and absolute_spec(source), "reference": reference, "out": out and str(out),
        "plan": request.plan and record_document(request.plan), "level": request.level,
        "declared": sorted(request.declared),
        "limit": options.limit, "column": options.column, "batch_size": options.batch_size, "seed": request.seed,
        "resume": options.resume,
    }  # fmt: skip
    content = True
    if reference is not None:
        found = load_reference(find_reference(reference, settings))
        content = found.semantic is not None
        semantic = found.semantic_encoder
        planned |= {"encoder": found.evidence.spec, "semantic_encoder": semantic and semantic.spec}
        if source is not None:
            planned |= _of_shards(open_source(source, kind=found.evidence.kind, column=options.column), workers)
    elif source is not None:
        planned["files"] = len(list_entries(source))
    policy = request.policy.in_force(workflow=request.plan is not None, content=content)
    return {**planned, "policy": record_document(policy)}


def _of_shards(source: Source, workers: int | None) -> dict[str, Any]:
    """Number of shards and of workers, and counts of the files that are skipped before reading."""
    loose = [shard for shard in source.shards if isinstance(shard, LooseShard)]
    left_out = Counter(entry.reason for shard in loose for entry in shard.entries if isinstance(entry, Skip))
    files = sum(not isinstance(entry, Skip) for shard in loose for entry in shard.entries)
    return {
        "shards": len(source.shards),
        "loose_files": files,
        "skipped": dict(sorted(left_out.items())),
        "workers": worker_count(workers, len(source.shards), "cpu"),
    }
