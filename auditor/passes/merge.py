"""Merge audits of the parts of a dataset into an audit of the whole."""

import shutil
import time
from collections.abc import Sequence

from auditor.folder import AuditFolder
from auditor.passes.first import ShardResult
from auditor.passes.request import AuditedSet, AuditRequest
from auditor.passes.second import conclude
from auditor.reference.reference import Reference
from auditor.results import AuditResult
from indexes.errors import InputError

__all__ = ["merge_into"]


def merge_into(
    folder: AuditFolder, parts: Sequence[AuditFolder], reference: Reference, request: AuditRequest
) -> AuditResult:
    """Copy the finished shards of several audits, in the order given, and compute the result of their union.

    Parts in the order of the whole dataset give the same bytes as a single audit of the whole dataset. Raises
    InputError if the audits differ in reference, encoder or batch size, or if two audits share a shard.
    """
    started = time.time()
    claims = [part.read_claim() for part in parts]
    configurations = [{k: v for k, v in c.items() if k != "source"} for c in claims]
    common = configurations[0]
    for part, configuration in zip(parts, configurations, strict=True):
        if configuration != common:
            raise InputError(
                f"{part.path} was audited with another configuration than {parts[0].path}: audit all parts with one "
                "configuration"
            )
    if common["reference"] != reference.identity:
        raise InputError(
            f"{parts[0].path} was audited against another build of the reference {reference.name!r}: audit the parts "
            "again"
        )
    if common.get("limit") is not None:
        raise InputError(f"{parts[0].path} was audited with --limit: audit all parts without --limit")
    found = [ShardResult(*shard) for part in parts for shard in part.shards()]
    keys = [shard.folder.name for shard in found]
    if repeated := sorted({s.name for s in found if keys.count(s.folder.name) > 1}):
        raise InputError(
            f"shard {repeated[0]} is in several of the audits, expected in only one: remove the repeated audits"
        )
    source = " + ".join(str(c["source"]) for c in claims)
    with folder.only_writer():
        folder.claim(source, common, overwrite=False)
        copied = tuple(_copied(shard, folder) for shard in found)
        audited = AuditedSet(
            source=source, shards=copied, reused=len(copied), started=started, limit=None, column=common["column"],
            batch_size=common["batch_size"], sampled_from=None,
        )  # fmt: skip
        return conclude(folder, audited, reference, request)


def _copied(shard: ShardResult, folder: AuditFolder) -> ShardResult:
    copy = ShardResult(shard.name, folder.state / shard.folder.name)
    if not copy.is_finished:
        shutil.copytree(shard.folder, copy.folder, dirs_exist_ok=True)
    return copy
