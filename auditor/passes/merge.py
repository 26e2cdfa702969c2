"""Audits of the parts of a dataset become the audit of the whole."""

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from auditor.passes.first import ShardResult
from auditor.passes.folder import SHARDS, claim, only_writer, read_claim
from auditor.passes.second import AuditRequest, FinishedAudit, conclude
from auditor.reference.reference import Reference
from indexes.errors import ArtifactError, InputError

__all__ = ["merge_into"]


def merge_into(out: Path, folders: Sequence[Path], reference: Reference, *, intent: AuditRequest) -> FinishedAudit:
    """Copy the finished shards of several audits, in the order given, and compute the result of their union.

    Parts given in the order of the whole yield the bytes of an audit of the whole. Raises InputError when the audits
    differ in reference, encoder or batch size, or share a shard.
    """
    started = time.time()
    claims = [read_claim(folder) for folder in folders]
    configurations = [{k: v for k, v in c.items() if k != "source"} for c in claims]
    for folder, configuration in zip(folders, configurations, strict=True):
        if configuration != configurations[0]:
            raise InputError(f"{folder} was audited otherwise than {folders[0]}, expected one configuration for all")
    if configurations[0]["reference"] != reference.identity:
        raise InputError(f"{folders[0]} was audited against another build of {reference.name!r}: audit the parts again")
    if configurations[0].get("limit") is not None:
        raise InputError(f"{folders[0]} was audited with --limit, expected whole parts: audit them without it")
    found = [shard for folder in folders for shard in _finished_shards(folder)]
    keys = [shard.folder.name for shard in found]
    if repeated := sorted({s.name for s in found if keys.count(s.folder.name) > 1}):
        raise InputError(f"shard {repeated[0]} stands in several of the audits, expected each once: drop the repeats")
    spec = " + ".join(str(c["source"]) for c in claims)
    with only_writer(out):
        claim(out, spec, configurations[0], overwrite=False)
        copied = [_copied(shard, out) for shard in found]
        return conclude(out, copied, reference, intent, spec, started=started, reused=len(copied))


def _copied(shard: ShardResult, out: Path) -> ShardResult:
    copy = ShardResult(shard.name, out / "state" / shard.folder.name)
    if not copy.is_finished:
        shutil.copytree(shard.folder, copy.folder, dirs_exist_ok=True)
    return copy


def _finished_shards(folder: Path) -> list[ShardResult]:
    path = folder / "state" / SHARDS
    try:
        listed = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}): finish that audit first") from None
    return [ShardResult(name, folder / "state" / key) for name, key in listed]
