"""Complete audits for commands and jobs: load the reference, audit, write the report, record the result."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from auditor.folder import AuditFolder
from auditor.passes.merge import merge_into
from auditor.passes.request import AuditRequest
from auditor.reference.reference import load_reference
from auditor.reference.relocation import AS_STORED, Weights
from auditor.results import AuditResult, read_result, write_result
from auditor.run import AuditOptions, OnProgress, audit_into, no_progress
from indexes.device import resolve_device
from indexes.errors import InputError
from indexes.records import Source
from indexes.sources import open_source
from service.engines import local_runner
from service.forecasts import RiskSources, with_simulation
from service.references.shelf import find_reference
from service.reports.report import write_report
from service.settings import Settings
from service.storage.ledger import Ledger, check_free

__all__ = ["audit_source", "merge_audits", "run_audit"]


def run_audit(
    spec: str,
    reference_name: str,
    out: Path,
    *,
    settings: Settings,
    request: AuditRequest,
    options: AuditOptions,
    workers: int | None = None,
    device: str | None = None,
    on_progress: OnProgress = no_progress,
    risk: RiskSources | None = None,
    weights: Weights = AS_STORED,
) -> AuditResult:
    """Audit a source, write the result and the report into a folder, and record the audit in the ledger."""
    check_free(settings.database)
    result = audit_source(
        spec, find_reference(reference_name, settings), out, request=request, options=options, workers=workers,
        device=device, on_progress=on_progress, risk=risk, weights=weights,
    )  # fmt: skip
    Ledger(settings.database).record_audit(out, result)
    return result


def audit_source(
    spec: str,
    reference_folder: Path,
    out: Path,
    *,
    request: AuditRequest,
    options: AuditOptions,
    workers: int | None = None,
    device: str | None = None,
    on_progress: OnProgress = no_progress,
    risk: RiskSources | None = None,
    weights: Weights = AS_STORED,
    name: str | None = None,
) -> AuditResult:
    """Audit a source and write the result and the report into a folder, without recording the audit in the ledger.

    `name` replaces the path of the source in the result. `weights` says where the encoders' weights are on this machine
    if they have moved.
    """
    device, risk, folder = resolve_device(device), risk or RiskSources(), AuditFolder(out)
    reference = load_reference(reference_folder, device=device, weights=weights)
    source: str | Source = spec
    if name is not None:
        source = replace(open_source(spec, kind=reference.evidence.kind, column=options.column), spec=name)
    folder.check()
    result = audit_into(
        folder, source, reference, risk.added_to(request, reference), options=options,
        run=local_runner(reference_folder, workers=workers, device=device, weights=weights), on_progress=on_progress,
    )  # fmt: skip
    if risk.simulate is not None:
        result = with_simulation(result, folder, reference, risk.simulate, seed=risk.seed)
        write_result(folder, result)
    write_report(folder, result)
    return result


def merge_audits(folders: Sequence[Path], out: Path, *, settings: Settings, request: AuditRequest) -> AuditResult:
    """Merge audits of parts of a dataset into one audit from their stored shards, without encoding items again."""
    check_free(settings.database)
    folder, parts = AuditFolder(out), [AuditFolder(path) for path in folders]
    folder.check()
    reference = load_reference(find_reference(reference_of(parts), settings))
    result = merge_into(folder, parts, reference, request)
    write_report(folder, result)
    Ledger(settings.database).record_audit(out, result)
    return result


def reference_of(parts: Sequence[AuditFolder]) -> str:
    """Name of the reference that all given audits used; raises InputError if they used different references."""
    names = {read_result(part).reference.name for part in parts}
    if len(names) != 1:
        raise InputError(
            f"the audits used different references ({', '.join(sorted(names))}), expected one: audit all parts against "
            "the same reference"
        )
    return names.pop()
