"""The functions that a worker runs for jobs, forecasts and searches; none of these functions opens the database."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from indexes.errors import InputError
from service.allowed_roots import AllowedRoots
from service.settings import Settings, read_weights
from service.untrusted import check_encoder, check_loop, check_sweep

__all__ = ["TASKS", "Place", "perform"]

OnProgress = Callable[[int, int], None]  # done, total
Request = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """The folders, allowed roots and device that a worker uses."""

    settings: Settings
    roots: AllowedRoots  # of sources
    device: str = "cpu"

    def folder(self, job: str) -> Path:
        """Folder for the results of a job, which may not exist yet."""
        return self.settings.jobs / job

    def reference(self, name: str) -> Path:
        """Folder of a finished reference; raises InputError if there is no such reference."""
        from service.references.shelf import find_reference

        return find_reference(name, self.settings)


def perform(kind: str, job: str, request: Request, place: Place, on_progress: OnProgress) -> dict[str, Any]:
    """Run a job and return its outcome; files on disk let a repeated run continue where the job stopped."""
    return TASKS[kind](job, request, place, on_progress)


def _audit(job: str, request: Request, place: Place, on_progress: OnProgress) -> dict[str, Any]:
    from auditor.passes.request import AuditRequest
    from auditor.plan import PLAN_FIELDS, plan_named
    from auditor.policy import policy_of
    from auditor.reference.relocation import Weights
    from auditor.run import AuditOptions
    from service.forecasts import RiskSources
    from service.pipeline import audit_source

    samples: dict[str, Any] = {
        name: request[name] and place.roots.check(request[name]) for name in ("model_samples", "pilot")
    }
    risk = RiskSources(**samples, simulate=request["simulate_forecast"], seed=request["seed"])
    asked = AuditRequest(
        policy=policy_of(request["policy"]), plan=plan_named(**{name: request[name] for name in PLAN_FIELDS}),
        level=request["level"], declared=frozenset(request["declare"]), seed=request["seed"],
    )  # fmt: skip
    result = audit_source(
        place.roots.check(request["source"]), place.reference(request["reference"]), place.folder(job), request=asked,
        options=AuditOptions(
            batch_size=request["batch_size"], column=request["column"], limit=request["limit"]
        ),
        workers=1, device=place.device, on_progress=lambda done, total, items: on_progress(done, total), risk=risk,
        name=request.get("name"), weights=Weights(usual=read_weights()),
    )  # fmt: skip
    return {"verdict": result.verdict}


def _reference(job: str, request: Request, place: Place, on_progress: OnProgress) -> dict[str, Any]:
    from service.references.build import LabelledSource, describe, reference_from, store_reference

    real, synthetic = (
        [LabelledSource(given["label"], place.roots.check(given["source"])) for given in request[side]]
        for side in ("real", "synthetic")
    )
    for spec in filter(None, (request["encoder"], request["semantic_encoder"])):
        check_encoder(place.roots, spec)
    encoded = 0

    def count(label: str, items: int) -> None:
        nonlocal encoded
        encoded += items
        on_progress(encoded, 0)

    names = ("encoder", "semantic_encoder", "column", "batch_size", "seed", "match_storage", "simulate")
    built = reference_from(
        request["name"],
        real,
        synthetic,
        **{name: request[name] for name in names},
        device=place.device,
        on_progress=count,
    )
    place.settings.jobs.mkdir(parents=True, exist_ok=True)
    store_reference(built, place.folder(job))  # from where it is put into its place once the job has succeeded
    return {"identity": built.identity, "summary": describe(built)}


def _loop(job: str, request: Request, place: Place, on_progress: OnProgress) -> dict[str, Any]:
    from loops.config import config_from
    from loops.results import finish_run, run_and_keep

    check_loop(place.roots, request["config"])
    config = dataclasses.replace(config_from(request["config"]), device=place.device)
    out = place.folder(job)
    loop, generations = run_and_keep(
        config, out=out, on_generation=lambda record, last: on_progress(record.generation, last)
    )
    finish_run(loop, generations, out=out)
    return {}


def _sweep(job: str, request: Request, place: Place, on_progress: OnProgress) -> dict[str, Any]:
    from loops.sweep import plan_sweep, run_sweep

    check_sweep(place.roots, request["sweep"])
    planned = plan_sweep(_on_device(request["sweep"], place.device))
    out = place.folder(job)
    out.mkdir(parents=True, exist_ok=True)

    def told(line: str) -> None:
        on_progress(int(line.partition("/")[0]), len(planned))

    failed = run_sweep(planned, out, workers=1, on_progress=told)
    if len(failed) == len(planned):
        raise InputError(f"all {len(planned)} loops failed, the first with: {next(iter(failed.values()))}")
    return {"failed": failed}


def _on_device(sweep: Mapping[str, Any], device: str) -> dict[str, Any]:
    """The sweep with every device setting replaced by the device of the service."""
    found = {**sweep, "base": sweep.get("base", {})}
    if isinstance(found["base"], Mapping):
        found["base"] = {**found["base"], "device": device}
    if isinstance(found.get("grid"), Mapping):
        found["grid"] = {name: values for name, values in found["grid"].items() if name != "device"}
    if isinstance(found.get("runs"), list):
        found["runs"] = [
            {name: value for name, value in run.items() if name != "device"} if isinstance(run, Mapping) else run
            for run in found["runs"]
        ]
    return found


def _calibration(job: str, request: Request, place: Place, on_progress: OnProgress) -> dict[str, Any]:
    from loops.calibration.fit import calibrate
    from loops.calibration.rows import read_rows

    model = calibrate(read_rows([place.folder(sweep) for sweep in request["sweeps"]]))
    out = place.folder(job)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "risk_model.npz")
    return {"skill": {tier: {kind: dict(s) for kind, s in t.skill.items()} for tier, t in model.tiers.items()}}


def _forecast(job: str, request: Request, place: Place, on_progress: OnProgress) -> dict[str, Any]:
    from auditor.plan import PLAN_FIELDS, Plan
    from auditor.policy import policy_of
    from auditor.reference.relocation import Weights
    from service.forecasts import ForecastRequest, forecast_of

    folder = place.folder(request["audit"]) if request["audit"] else None
    samples: dict[str, Any] = {k: request[k] and place.roots.check(request[k]) for k in ("model_samples", "pilot")}
    model = place.folder(request["risk_model"]) / "risk_model.npz" if request["risk_model"] else None
    figures = {name: request[name] for name in ("synthetic_fraction", "diversity_ratio", "seed")}
    asked = ForecastRequest(
        plan=Plan(**{name: request[name] for name in PLAN_FIELDS}), **figures, **samples, audit=folder,
        risk_model=model, simulate=request["simulate_forecast"],
    )  # fmt: skip
    usual = Weights(usual=read_weights())
    found = forecast_of(asked, policy_of(request["policy"]), settings=place.settings, weights=usual)
    if model is not None and found.model is not None:  # its job, not where it lies on this machine
        found = replace(found, model={**found.model, "file": request["risk_model"]})
    return found.to_dict()


def _search(job: str, request: Request, place: Place, on_progress: OnProgress) -> dict[str, Any]:
    from auditor.reference.relocation import Weights
    from auditor.reference.search import search_reference

    return search_reference(
        place.reference(request["reference"]), vectors=request["vectors"], image=request["image"],
        text=request["text"], k=request["k"], device=place.device, weights=Weights(usual=read_weights()),
    )  # fmt: skip


TASKS: dict[str, Callable[[str, Request, Place, OnProgress], dict[str, Any]]] = {
    "audit": _audit, "reference": _reference, "loop": _loop, "sweep": _sweep, "calibration": _calibration,
    "forecast": _forecast, "search": _search,
}  # fmt: skip
