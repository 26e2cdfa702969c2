"""Forecasts of MAD risk: from a finished audit or from figures, with what samples of the team's own models tell."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from auditor.event import Event
from auditor.passes.first import ShardResult, read_state
from auditor.passes.state import fold_states
from auditor.policy import Check, Policy, Threshold, verdict_of
from auditor.reference.reference import Reference, load_reference
from auditor.reference.relocation import AS_STORED, Weights
from auditor.risk.answer import RiskQuestion, Simulate, answer_risk, check_risk, known_of, plan_of
from auditor.risk.inputs import RATIOS, AuditFigures, ForecastInputs, figures_of
from auditor.risk.model import RiskModel, load_risk_model
from auditor.risk.recursion import Plan
from auditor.risk.sample_statistics import FEWEST_ROWS, facts_from
from auditor.risk.workflows import workflow_named
from auditor.unread import heed_unread_roughly
from indexes.encode import encode_shard
from indexes.errors import ArtifactError, InputError
from indexes.records import Skip
from indexes.sources import open_source
from loops.models import make_family
from service.references.build import find_reference
from service.reports.report import read_result
from service.settings import Settings

__all__ = [
    "SHIPPED",
    "ForecastRequest",
    "RiskRequest",
    "encoded",
    "figures_given",
    "forecast_of",
    "known_from_audit",
    "renewed",
    "risk_model",
    "simulated",
]

SHIPPED = "risk_model.npz"  # in auditor/risk
_MOST = 2000  # samples of a model that are measured


def risk_model(path: Path | None) -> RiskModel:
    """The model in a file, else the one that ships."""
    if path is not None:
        return load_risk_model(path)
    with resources.as_file(resources.files("auditor.risk") / SHIPPED) as file:
        found = load_risk_model(file)
    return replace(found, identity={**found.identity, "file": SHIPPED})


def figures_given(*, n: int, fraction: float, diversity_ratio: float | None) -> AuditFigures:
    """Figures without an audit: what was not measured is nan, which a forecast takes as average."""
    if not 0 <= fraction <= 1:
        raise InputError(f"a synthetic fraction of {fraction} was given, expected one between 0 and 1")
    if diversity_ratio is not None and not (math.isfinite(diversity_ratio) and diversity_ratio > 0):
        raise InputError(f"a diversity ratio of {diversity_ratio} was given, expected a positive number")
    ratios: dict[str, Any] = dict.fromkeys(RATIOS, math.nan)
    if diversity_ratio is not None:
        ratios["vendi"] = diversity_ratio
    return AuditFigures(n, fraction, 0.0, **ratios)


def known_from_audit(
    out: Path,
    plan: Plan,
    *,
    settings: Settings,
    model_samples: str | None = None,
    pilot: str | None = None,
    weights: Weights = AS_STORED,
) -> ForecastInputs:
    """What a finished audit tells, and what samples of the team's own model and pilot add to it.

    Samples are measured in the space of the reference's semantic encoder, beside its real items and the audited ones,
    on which the model was trained; those that the audit itself was given need not be given again.
    """
    result = read_result(out)
    _check_given(model_samples, pilot)
    if result["fidelity"].get("scale") is None:
        raise InputError(
            f"{out} holds no distances that a forecast could start from: audit the set again, against a reference with "
            "a --semantic-encoder"
        )
    if model_samples is None and not weights.given:
        return _known_to(result, plan)
    reference = load_reference(find_reference(result["reference"]["name"], settings), weights=weights)
    if model_samples is None:
        return _known_to(result, plan)
    vectors = [None if spec is None else encoded(spec, reference) for spec in (model_samples, pilot)]
    assert reference.semantic is not None
    return known_of(
        plan, result, real=reference.semantic.vectors, training=_audited(out), model_samples=vectors[0],
        pilot=vectors[1],
    )  # fmt: skip


def _check_given(model_samples: str | None, pilot: str | None) -> None:
    if model_samples is None and pilot is not None:
        raise InputError("a pilot was given without samples of the first model: give --model-samples too")


def _known_to(result: Mapping[str, Any], plan: Plan) -> ForecastInputs:
    """What a result holds; its pilot tells only of the plan that it was run for."""
    stored = result["mad_risk"].get("known", {"model_samples": None, "pilot": None})
    model, pilot = (None if facts is None else facts_from(facts) for facts in stored.values())
    names = ("name", "n_initial", "n_synthetic", "n_real", "bias")
    asked = {name: result["mad_risk"]["workflow"].get(name) for name in names}
    is_same = asked == {
        "name": plan.workflow, "n_initial": plan.n_initial, "n_synthetic": plan.n_synthetic, "n_real": plan.n_real,
        "bias": plan.bias,
    }  # fmt: skip
    return ForecastInputs(plan, figures_of(result), model, pilot if is_same else None)


@dataclass(frozen=True, slots=True)
class ForecastRequest:
    """What a person asks of a forecast: from a finished audit, or from figures."""

    workflow: str
    generations: int = 8
    audit: Path | None = None  # folder of a finished audit
    synthetic_fraction: float | None = None  # without an audit
    diversity_ratio: float | None = None  # without an audit: Vendi score over that of real data
    n: int | None = None  # items of the first training set, by default the audited ones
    real: int | None = None
    synthetic: int | None = None
    bias: float = 1.0  # λ
    model_samples: str | None = None  # SRC
    pilot: str | None = None  # SRC
    risk_model: Path | None = None  # by default the one that ships
    simulate: str | None = None  # a family of the simulator
    seed: int = 0  # of the simulation


def forecast_of(
    asked: ForecastRequest, policy: Policy, *, settings: Settings, weights: Weights = AS_STORED
) -> dict[str, Any]:
    """The document of a forecast; raises InputError for a question that lacks something or contradicts itself."""
    fitted = risk_model(asked.risk_model)
    if asked.audit is None:
        if asked.synthetic_fraction is None or asked.n is None or asked.model_samples or asked.pilot:
            raise InputError(
                "no audit was named: give --from DIR, or --synthetic-fraction and --n, which allow no samples"
            )
        if asked.simulate:
            raise InputError("a simulation needs the vectors of an audit: give --from DIR")
        if weights.given:
            raise InputError("--weights is for the encoder of an audit's reference: give --from DIR, or leave it out")
    if asked.audit is not None and (asked.synthetic_fraction is not None or asked.diversity_ratio is not None):
        raise InputError("an audit was named and figures were given, which it has measured: leave one of them out")
    result = None if asked.audit is None else read_result(asked.audit)
    size = asked.n if asked.n or result is None else result["n_items"]
    assert size is not None
    real, synthetic = _amounts(asked, result)
    plan = plan_of(asked.workflow, asked.generations, n=size, n_real=real, n_synthetic=synthetic, bias=asked.bias)
    if asked.audit is None:
        assert asked.synthetic_fraction is not None
        figures = figures_given(n=size, fraction=asked.synthetic_fraction, diversity_ratio=asked.diversity_ratio)
        known = ForecastInputs(plan, figures)
    else:
        known = known_from_audit(
            asked.audit, plan, settings=settings, model_samples=asked.model_samples, pilot=asked.pilot, weights=weights
        )
    found = {"schema": "madaudit/forecast/1", **answer_risk(known, fitted, policy)}
    if asked.simulate and asked.audit:
        found["simulation"] = simulated(
            asked.audit, plan, asked.simulate, settings=settings, event=policy.mad_event, seed=asked.seed
        )
    return found


def _amounts(asked: ForecastRequest, result: Mapping[str, Any] | None) -> tuple[int | None, int | None]:
    """Real and synthetic items a generation: as asked for, else as the audit was told of the same workflow."""
    told = {} if result is None else result["mad_risk"]["workflow"]
    same = told if told.get("name") == asked.workflow and "n_initial" in told else {}
    given = {"n_real": asked.real, "n_synthetic": asked.synthetic}
    real, synthetic = (same.get(name) if value is None else value for name, value in given.items())
    return real, synthetic


@dataclass(frozen=True, slots=True)
class RiskRequest:
    """What a person asks of the risk of an audited set, as given."""

    workflow: str | None
    generations: int = 8
    real: int | None = None  # items a generation
    synthetic: int | None = None  # items a generation
    bias: float = 1.0  # λ
    model_samples: str | None = None  # SRC
    pilot: str | None = None  # SRC
    risk_model: Path | None = None  # by default the one that ships
    simulate: str | None = None  # a family of the simulator
    seed: int = 0  # of the simulation

    @property
    def named(self) -> dict[str, Any]:
        """What was said of the workflow; nothing where none was named."""
        if self.workflow is None:
            return {}
        asked = {"real": self.real, "synthetic": self.synthetic}
        given = {name: value for name, value in asked.items() if value is not None}
        return {"name": self.workflow, "generations": self.generations, **given, "bias": self.bias}

    def question(self, reference: Reference) -> RiskQuestion | None:
        """What an audit is asked, None without a workflow; all that can be wrong is found before the audit begins."""
        if self.workflow is None:
            if self.model_samples or self.pilot or self.risk_model or self.simulate:
                raise InputError(
                    "samples, a risk model or a simulation were asked for and no workflow, on which the risk depends: "
                    "give --workflow"
                )
            return None
        workflow_named(self.workflow)
        model = risk_model(self.risk_model)
        _check_given(self.model_samples, self.pilot)
        model_samples, pilot = (
            None if spec is None else encoded(spec, reference) for spec in (self.model_samples, self.pilot)
        )
        asked = RiskQuestion(
            model, self.workflow, self.generations, self.real, self.synthetic, self.bias, model_samples, pilot,
            simulation_of(self.simulate, self.seed),
        )  # fmt: skip
        model.check(asked.plan(1))
        return asked


def simulation_of(family: str | None, seed: int) -> Simulate | None:
    """A simulation by that family; InputError for one that there is not."""
    if family is None:
        return None
    make_family(family, {})

    def simulate(plan: Plan, real: np.ndarray, training: np.ndarray, event: Event) -> dict[str, Any]:
        from loops.calibration.simulated_forecast import simulate_forecast

        return simulate_forecast(family, plan, real, training, event=event, seed=seed)

    return simulate


def renewed(result: dict[str, Any]) -> dict[str, Any]:
    """The result with its risk answered again, from its fraction as it now stands."""
    found = result["mad_risk"]
    if "model" not in found:
        return result
    model = risk_model(None if found["model"]["file"] == SHIPPED else Path(found["model"]["file"]))
    if model.identity != found["model"]:
        raise InputError(f"{found['model']['file']} is no longer the risk model of this audit: audit the set again")
    fields = found["workflow"]
    plan = Plan(**{"workflow": fields["name"], **{k: v for k, v in fields.items() if k != "name"}})
    policy = Policy(
        mad_risk=Threshold(**result["policy"]["mad_risk"]), mad_event=Event(**result["policy"]["mad_event"])
    )
    kept = {name: found[name] for name in ("simulation",) if name in found}
    answer = {**answer_risk(_known_to(result, plan), model, policy), **kept}
    limits, share = Threshold(**result["policy"]["unread"]), result["unread"]["share"]
    judged = asdict(heed_unread_roughly(check_risk(policy.mad_risk, answer), limits, share))
    checks = [judged if c["name"] == judged["name"] else c for c in result["checks"]]
    verdict = verdict_of([Check(**c) for c in checks], result["policy"]["required"])
    return {**result, "mad_risk": answer, "checks": checks, "verdict": verdict}


def simulated(out: Path, plan: Plan, family: str, *, settings: Settings, event: Event, seed: int) -> dict[str, Any]:
    """A simulation on the vectors that a finished audit has kept."""
    reference = load_reference(find_reference(read_result(out)["reference"]["name"], settings))
    run = simulation_of(family, seed)
    assert reference.semantic is not None  # known_from_audit has seen to it
    assert run is not None
    return run(plan, reference.semantic.vectors, _audited(out), event)


def _audited(out: Path) -> np.ndarray:
    """The retained sample of the audited items, in the semantic space, (k, d)."""
    path = out / "state" / "shards.json"
    try:
        listed: Sequence[tuple[str, str]] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}): run the audit again") from None
    return fold_states(read_state(ShardResult(name, out / "state" / key)) for name, key in listed).sample.semantic


def encoded(spec: str, reference: Reference) -> np.ndarray:
    """Vectors (n, d) of a model's samples, 2000 at most, from the reference's semantic encoder."""
    if reference.semantic is None or reference.semantic_encoder is None:
        raise InputError(
            f"the reference {reference.name} has no semantic encoder, in which a model's samples could be measured: "
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
