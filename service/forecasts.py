"""Forecasts of the MAD risk from a finished audit or from given figures, with optional samples of the user's models."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from auditor.answers import Simulation
from auditor.event import Event
from auditor.folder import AuditFolder
from auditor.passes.first import ShardResult, read_state
from auditor.passes.request import AuditRequest
from auditor.passes.state import fold_states
from auditor.plan import Plan
from auditor.policy import Policy, verdict_of
from auditor.reference.reference import Reference, load_reference
from auditor.reference.relocation import AS_STORED, Weights
from auditor.results import AuditResult, ForecastResult, read_result
from auditor.risk.answer import answer_risk, check_risk, known_of
from auditor.risk.inputs import RATIOS, AuditFigures, ForecastInputs, figures_of
from auditor.risk.model import SHIPPED, risk_model
from auditor.risk.sample_statistics import FEWEST_ROWS
from auditor.unread import heed_unread_roughly
from indexes.encode import encode_shard
from indexes.errors import InputError
from indexes.records import Skip
from indexes.sources import open_source
from loops.models import make_family
from service.references.shelf import find_reference
from service.settings import Settings

__all__ = [
    "ForecastRequest",
    "RiskSources",
    "encoded",
    "figures_given",
    "forecast_of",
    "known_from_audit",
    "renewed",
    "with_simulation",
]

_MOST = 2000  # samples of a model that are measured


def figures_given(*, n: int, fraction: float, diversity_ratio: float | None) -> AuditFigures:
    """Forecast inputs without an audit; values that are not given are nan, which a forecast treats as average."""
    if not 0 <= fraction <= 1:
        raise InputError(f"a synthetic fraction of {fraction} was given, expected one between 0 and 1")
    if diversity_ratio is not None and not (math.isfinite(diversity_ratio) and diversity_ratio > 0):
        raise InputError(f"a diversity ratio of {diversity_ratio} was given, expected a positive number")
    ratios: dict[str, Any] = dict.fromkeys(RATIOS, math.nan)
    if diversity_ratio is not None:
        ratios["vendi"] = diversity_ratio
    return AuditFigures(n=n, fraction=fraction, fraction_width=0.0, **ratios)


def known_from_audit(
    result: AuditResult,
    folder: AuditFolder,
    plan: Plan,
    *,
    settings: Settings,
    model_samples: str | None = None,
    pilot: str | None = None,
    weights: Weights = AS_STORED,
) -> ForecastInputs:
    """Forecast inputs from a finished audit, with optional samples of the user's first and second (pilot) model.

    A pilot is the user's second-generation model. The reference's semantic encoder encodes the samples. The samples are
    compared with the reference's real items and with the audited items, on which the first model was trained. Samples
    that the audit already used need not be given again.
    """
    _check_given(model_samples, pilot)
    if result.fidelity.scale is None:
        raise InputError(
            f"{folder.path} holds no distances, which a forecast needs: audit the set again, against a reference with "
            "a --semantic-encoder"
        )
    if model_samples is None and not weights.given:
        return _known_to(result, plan)
    reference = load_reference(find_reference(result.reference.name, settings), weights=weights)
    if model_samples is None:
        return _known_to(result, plan)
    vectors = [None if spec is None else encoded(spec, reference) for spec in (model_samples, pilot)]
    return known_of(
        plan, _figures(result), real=_real(reference), training=_audited(folder), model_samples=vectors[0],
        pilot=vectors[1],
    )  # fmt: skip


def _check_given(model_samples: str | None, pilot: str | None) -> None:
    if model_samples is None and pilot is not None:
        raise InputError(
            "samples of a pilot model were given without samples of the first model: give --model-samples too"
        )


def _figures(result: AuditResult) -> AuditFigures:
    return figures_of(result.n_items, result.synthetic_fraction, result.diversity, result.fidelity)


def _known_to(result: AuditResult, plan: Plan) -> ForecastInputs:
    """Forecast inputs from the stored result of an audit.

    Stored measurements of a pilot model are used only for a plan with the workflow, sizes and bias of the pilot.
    """
    known, told = result.mad_risk.known, result.mad_risk.plan
    is_same = told is not None and replace(told, generations=plan.generations) == plan
    return ForecastInputs(
        plan=plan, audit=_figures(result), model=known.model_samples, pilot=known.pilot if is_same else None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastRequest:
    """A request for a forecast, from a finished audit or from given figures."""

    plan: Plan  # sizes of None are taken from the audit's plan or from the audited set
    audit: Path | None = None  # folder of a finished audit
    synthetic_fraction: float | None = None  # without an audit
    diversity_ratio: float | None = None  # without an audit: Vendi score over that of real data
    model_samples: str | None = None  # SRC
    pilot: str | None = None  # SRC
    risk_model: Path | None = None  # by default the one that ships
    simulate: str | None = None  # a family of the simulator
    seed: int = 0  # of the simulation


def forecast_of(
    asked: ForecastRequest, policy: Policy, *, settings: Settings, weights: Weights = AS_STORED
) -> ForecastResult:
    """Compute a forecast; raises InputError if the request is incomplete or contradictory."""
    model = risk_model(asked.risk_model)
    if asked.audit is None:
        return ForecastResult.of(answer_risk(_known_from_figures(asked, weights), model, policy, space=None))
    if asked.synthetic_fraction is not None or asked.diversity_ratio is not None:
        raise InputError(
            "an audit and figures (synthetic fraction, diversity ratio) were both given, but the audit has measured "
            "these figures: give only the audit or only the figures"
        )
    folder = AuditFolder(asked.audit)
    result = read_result(folder)
    plan = _completed(asked.plan, result)
    known = known_from_audit(
        result, folder, plan, settings=settings, model_samples=asked.model_samples, pilot=asked.pilot, weights=weights
    )
    found = ForecastResult.of(answer_risk(known, model, policy, space=result.mad_risk.space))
    if asked.simulate is None:
        return found
    reference = load_reference(find_reference(result.reference.name, settings))
    simulation = simulated(folder, reference, plan, asked.simulate, event=policy.mad_event, seed=asked.seed)
    return replace(found, simulation=simulation)


def _known_from_figures(asked: ForecastRequest, weights: Weights) -> ForecastInputs:
    size = asked.plan.n_initial
    if asked.synthetic_fraction is None or size is None or asked.model_samples or asked.pilot:
        raise InputError("no audit was given: give --from DIR, or --synthetic-fraction and --n-initial without samples")
    if asked.simulate:
        raise InputError("a simulation needs the vectors of an audit: give --from DIR")
    if weights.given:
        raise InputError("--weights is for the encoder of an audit's reference: give --from DIR, or omit --weights")
    figures = figures_given(n=size, fraction=asked.synthetic_fraction, diversity_ratio=asked.diversity_ratio)
    return ForecastInputs(plan=asked.plan.for_set(size), audit=figures)


def _completed(plan: Plan, result: AuditResult) -> Plan:
    """The plan with missing sizes filled in from the audit's plan (if its workflow is the same) or the set's size."""
    told = result.mad_risk.plan
    if told is not None and told.workflow == plan.workflow:
        plan = replace(
            plan,
            n_real=told.n_real if plan.n_real is None else plan.n_real,
            n_synthetic=told.n_synthetic if plan.n_synthetic is None else plan.n_synthetic,
        )
    return plan.for_set(plan.n_initial or result.run.sampled_from or result.n_items)


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskSources:
    """Optional inputs of the risk forecast in an audit: samples of models, a risk model, a simulation."""

    model_samples: str | None = None  # SRC
    pilot: str | None = None  # SRC
    risk_model: Path | None = None  # by default the one that ships
    simulate: str | None = None  # a family of the simulator
    seed: int = 0  # of the simulation

    def added_to(self, request: AuditRequest, reference: Reference) -> AuditRequest:
        """The request with the samples encoded; all inputs are checked here, before the audit begins."""
        if request.plan is None:
            if self.model_samples or self.pilot or self.risk_model or self.simulate:
                raise InputError(
                    "samples, a risk model or a simulation were given without a workflow, which the risk depends on: "
                    "give --workflow"
                )
            return request
        model = risk_model(self.risk_model)
        model.check(request.plan.for_set(1))
        if self.simulate is not None:
            make_family(self.simulate, {})
        _check_given(self.model_samples, self.pilot)
        model_samples, pilot = (
            None if spec is None else encoded(spec, reference) for spec in (self.model_samples, self.pilot)
        )
        return replace(request, risk_model=model, model_samples=model_samples, pilot=pilot)


def renewed(result: AuditResult) -> AuditResult:
    """The result with its MAD risk recomputed from its current synthetic fraction."""
    found, policy = result.mad_risk, result.policy
    if found.model is None or found.plan is None:
        return result
    model = risk_model(None if found.model["file"] == SHIPPED else Path(found.model["file"]))
    if model.identity != found.model:
        raise InputError(f"the risk model {found.model['file']} has changed since this audit: audit the set again")
    known = _known_to(result, found.plan)
    answer = replace(answer_risk(known, model, policy, space=found.space), simulation=found.simulation)
    judged = heed_unread_roughly(check_risk(policy.mad_risk, answer), policy.unread, result.unread.share)
    checks = tuple(judged if check.name == judged.name else check for check in result.checks)
    return replace(result, mad_risk=answer, checks=checks, verdict=verdict_of(checks, result.required))


def with_simulation(
    result: AuditResult, folder: AuditFolder, reference: Reference, family: str, *, seed: int
) -> AuditResult:
    """The result with simulated loops of a model family on the set's vectors; unchanged if it has no forecast."""
    risk = result.mad_risk
    if risk.plan is None or not risk.trajectory:
        return result
    simulation = simulated(folder, reference, risk.plan, family, event=risk.event, seed=seed)
    return replace(result, mad_risk=replace(risk, simulation=simulation))


def simulated(
    folder: AuditFolder, reference: Reference, plan: Plan, family: str, *, event: Event, seed: int
) -> Simulation:
    """Simulate loops of a model family on the vectors that a finished audit has stored."""
    from loops.calibration.simulated_forecast import simulate_forecast

    return simulate_forecast(family, plan, _real(reference), _audited(folder), event=event, seed=seed)


def _real(reference: Reference) -> np.ndarray:
    """Semantic vectors of the reference's real items, (m, d)."""
    if reference.semantic is None:
        raise InputError(f"the reference {reference.name} has no semantic encoder: build it with --semantic-encoder")
    return reference.semantic.vectors


def _audited(folder: AuditFolder) -> np.ndarray:
    """Semantic vectors of the stored sample of audited items, (k, d)."""
    return fold_states(read_state(ShardResult(*shard)) for shard in folder.shards()).distinct.vectors


def encoded(spec: str, reference: Reference) -> np.ndarray:
    """Vectors (n, d) of at most 2000 samples of a model, from the reference's semantic encoder."""
    if reference.semantic is None or reference.semantic_encoder is None:
        raise InputError(
            f"the reference {reference.name} has no semantic encoder, which samples of a model need: "
            "build it with --semantic-encoder"
        )
    encoder = reference.encoder_of(reference.semantic_encoder, device="cpu")
    vectors: list[np.ndarray] = []
    for shard in open_source(spec, kind=encoder.kind).shards:
        for found in encode_shard(shard, [encoder]):
            if not isinstance(found, Skip):
                vectors.append(found.vectors[0])
        if sum(map(len, vectors)) >= _MOST:
            break
    count = sum(map(len, vectors))
    if count < FEWEST_ROWS:
        raise InputError(f"{spec} holds {count} usable {encoder.kind}s, expected {FEWEST_ROWS} or more samples")
    return np.concatenate(vectors)[:_MOST]
