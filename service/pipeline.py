"""What an audit does around the auditor's own work: reference and risk in, report and ledger out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from auditor.passes.folder import check_folder
from auditor.passes.merge import merge_into
from auditor.passes.second import AuditRequest
from auditor.reference.reference import load_reference
from auditor.reference.relocation import AS_STORED, Weights
from auditor.run import AuditOptions, Progress, audit_into
from indexes.device import resolve_device
from indexes.errors import InputError
from indexes.records import Source
from indexes.sources import open_source
from service.engines import local_runner
from service.forecasts import RiskRequest
from service.references.build import find_reference
from service.reports.report import read_result, write_report
from service.settings import Settings
from service.storage.ledger import Ledger, check_free

__all__ = ["audit_source", "merge_audits", "run_audit"]


def run_audit(
    spec: str,
    reference_name: str,
    out: Path,
    *,
    settings: Settings,
    intent: AuditRequest,
    options: AuditOptions,
    workers: int | None = None,
    device: str | None = None,
    progress: Progress = lambda done, total, items: None,
    risk: RiskRequest | None = None,
    weights: Weights = AS_STORED,
) -> dict[str, Any]:
    """Audit a source into a folder, write its report and record it."""
    check_free(settings.database)
    result = audit_source(
        spec, find_reference(reference_name, settings), out, intent=intent, options=options, workers=workers,
        device=device, progress=progress, risk=risk, weights=weights,
    )  # fmt: skip
    Ledger(settings.database).record_audit(out, result)
    return result


def audit_source(
    spec: str,
    reference_folder: Path,
    out: Path,
    *,
    intent: AuditRequest,
    options: AuditOptions,
    workers: int | None = None,
    device: str | None = None,
    progress: Progress = lambda done, total, items: None,
    risk: RiskRequest | None = None,
    weights: Weights = AS_STORED,
    name: str | None = None,
) -> dict[str, Any]:
    """Audit a source into a folder and write its report; the ledger is not touched.

    `name` is what the result calls the source, if not by where it lies; `weights` say where those of the reference's
    encoders lie, if not where they were.
    """
    device = resolve_device(device)
    reference = load_reference(reference_folder, device=device, weights=weights)
    source: str | Source = spec
    if name is not None:
        source = replace(open_source(spec, kind=reference.evidence.kind, column=options.column), spec=name)
    check_folder(out)
    if risk is not None:
        intent = replace(intent, risk=risk.question(reference))
    finished = audit_into(
        out, source, reference, intent=intent, options=options,
        run=local_runner(reference_folder, workers=workers, device=device, weights=weights), progress=progress,
    )  # fmt: skip
    write_report(out, finished.result)
    return finished.result


def merge_audits(folders: Sequence[Path], out: Path, *, settings: Settings, intent: AuditRequest) -> dict[str, Any]:
    """The audit of the union of audited parts, from their finished shards; nothing is read or encoded again."""
    check_free(settings.database)
    check_folder(out)
    folder = find_reference(reference_of(folders), settings)
    finished = merge_into(out, folders, load_reference(folder), intent=intent)
    write_report(out, finished.result)
    Ledger(settings.database).record_audit(out, finished.result)
    return finished.result


def reference_of(folders: Sequence[Path]) -> str:
    """The name of the one reference that all these audits used; raises InputError when they differ."""
    names = {read_result(folder)["reference"]["name"] for folder in folders}
    if len(names) != 1:
        raise InputError(f"the audits used the references {', '.join(sorted(names))}, expected one: audit them alike")
    return names.pop()
