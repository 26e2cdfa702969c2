"""Inputs of a forecast as named features, from a plan, an audit, samples of the team's own model, and a pilot."""

import math
from dataclasses import dataclass

import numpy as np

from auditor.answers import Diversity, Fidelity, SampleStatistics, SyntheticFraction, Tier
from auditor.plan import Plan
from auditor.records import Number
from auditor.risk.recursion import growth, impulse_response, origin_shares, training_sizes
from auditor.statistics.intervals import Measure
from auditor.workflows import workflow_named

__all__ = [
    "RATIOS",
    "TIERS",
    "AuditFigures",
    "ForecastInputs",
    "features_of",
    "figures_of",
    "tiers_ago",
    "workflow_class",
]

TIERS: tuple[Tier, ...] = ("audit", "model-samples", "pilot")
_CLASSES = ("synthetic", "fixed", "pool", "fresh")
_TINY = 1e-3
RATIOS = ("vendi", "effective_rank", "coverage", "recall", "precision", "density", "frechet")  # to a real sample


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFigures:
    """Numbers that an audit measured on the data; nan if not measured. Ratios are values divided by a real sample's."""

    n: int
    fraction: Number  # synthetic fraction: the estimate, or the middle of its interval
    fraction_width: Number  # width of the fraction's interval
    vendi: Number
    effective_rank: Number
    coverage: Number
    recall: Number
    precision: Number
    density: Number
    frechet: Number
    floor: Number = math.nan  # F of a real sample of `floor_items`, over the real total variance
    floor_items: int = 0  # the sample size of the levels
    rank: Number = math.nan  # effective rank of a real sample
    fraction_low: Number = math.nan  # ends of the fraction's interval, where there is one
    fraction_high: Number = math.nan
    width: int = 0  # columns of the space that the data are measured in; 0 if unknown

    @property
    def fraction_ends(self) -> tuple[float, float]:
        """Both ends of the synthetic fraction's interval; without an interval, both ends equal the fraction."""
        ends = (self.fraction_low, self.fraction_high)
        return ends if all(map(math.isfinite, ends)) else (self.fraction, self.fraction)


def figures_of(n: int, fraction: SyntheticFraction, diversity: Diversity, fidelity: Fidelity) -> AuditFigures:
    """Collect the numbers that a forecast needs from an audit of n items.

    If the synthetic fraction has no estimate, `if_reference_matches` is used instead, provided that it has an interval.
    """
    conditional, scale = fraction.if_reference_matches, fidelity.scale
    given: Measure = conditional if not fraction.is_known and math.isfinite(conditional.low) else fraction
    middle = given.estimate if given.is_known else (given.low + given.high) / 2
    measures = {**diversity.measures, **fidelity.measures}

    def ratio(name: str) -> float:
        real = measures[name].reference
        return measures[name].estimate / real if real else math.nan

    return AuditFigures(
        n=n,
        fraction=middle,
        fraction_width=given.high - given.low,
        **{name: ratio(name) for name in RATIOS},
        floor=scale.frechet / scale.total_variance if scale and scale.total_variance > 0 else math.nan,
        floor_items=scale.n if scale else 0,
        rank=measures["effective_rank"].reference,
        fraction_low=given.low,
        fraction_high=given.high,
        width=scale.width if scale else 0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastInputs:
    """The plan and all measurements that a team has before training; None for missing measurements."""

    plan: Plan
    audit: AuditFigures
    model: SampleStatistics | None = None  # samples of its own model, trained once on the data
    pilot: SampleStatistics | None = None  # samples of the second generation of its workflow

    @property
    def tier(self) -> Tier:
        """The highest tier (audit, model samples or pilot) that was measured."""
        if self.model is None:
            return TIERS[0]
        return TIERS[1] if self.pilot is None else TIERS[2]


def workflow_class(plan: Plan) -> str:
    """Workflow class: `synthetic` (no real data), `pool` (real data and all earlier samples), `fresh` or `fixed`."""
    workflow = workflow_named(plan.workflow)
    n_initial, n_real, _ = plan.sizes
    n_real = n_initial if workflow.real == "initial" else n_real
    if workflow.real == "none" or n_real == 0:
        return "synthetic"
    if workflow.synthetic == "pool":
        return "pool"
    return "fresh" if workflow.real == "fresh" else "fixed"


def features_of(known: ForecastInputs, *, tier: str) -> dict[str, float]:
    """Input features of a forecast at one tier of measurements, by name; nan for values that could not be measured."""
    found = {**_of_plan(known.plan), **_of_audit(known)}
    if tier != TIERS[0]:
        assert known.model is not None
        found |= _of_samples("model", known.model)
    if tier == TIERS[2]:
        assert known.model is not None
        assert known.pilot is not None
        found |= _of_growth(known.model, known.pilot)
    return found


def tiers_ago(feature: str, tier: str) -> int:
    """Number of tiers between the measurement of a feature and `tier`; 0 for features that every tier computes anew.

    An audit measures the data, model samples show what a model made of the data, and a pilot shows what the next
    generation made of these samples. Measurements at a later tier are closer to the quantity that is forecast.
    """
    measured = next((n for n, names in enumerate(_MEASURED) if feature.startswith(names)), None)
    return 0 if measured is None else TIERS.index(tier) - measured


def _of_plan(plan: Plan) -> dict[str, float]:
    shares = origin_shares(plan)
    response = impulse_response(shares)
    independent, coherent = growth(response, 0.5)[-1], growth(response, 1.0)[-1]
    kind = workflow_class(plan)
    return {
        **{f"is_{name}": float(kind == name) for name in _CLASSES},
        "synthetic_share": 1 - float(shares[-1, 0]),
        "log_growth_independent": math.log(independent),
        "log_growth_coherent": math.log(coherent),
        "log_n_initial": math.log(training_sizes(plan)[0]),
        "log_training_ratio": math.log(training_sizes(plan)[-1] / training_sizes(plan)[0]),
        "bias_lost": 1 - plan.bias,
        "bias_lost_in_all": (1 - plan.bias) * math.sqrt(coherent),
    }


def _of_audit(known: ForecastInputs) -> dict[str, float]:
    audit = known.audit
    return {
        "fraction": audit.fraction,
        "fraction_width": audit.fraction_width,
        "log_vendi": _log(audit.vendi),
        "log_effective_rank": _log(audit.effective_rank),
        "coverage": audit.coverage,
        "recall": audit.recall,
        "precision": audit.precision,
        "log_density": _log(audit.density),
        "log_frechet": _log(audit.frechet),
        "log_floor": _log(audit.floor, tiny=1e-9),
        "log_rank": _log(audit.rank),
    }


_MEASURED = (  # by tier: the first part of the names of the features that the tier measures
    (
        "fraction", "log_vendi", "log_effective_rank", "coverage", "recall", "precision", "log_density", "log_frechet",
        "log_floor", "log_rank",
    ),
    ("model_",),
    ("growth_",),
)  # fmt: skip


def _of_samples(name: str, facts: SampleStatistics) -> dict[str, float]:
    return {
        f"{name}_log_frechet": _log(facts.frechet),
        f"{name}_precision": facts.precision,
        f"{name}_recall": facts.recall,
        f"{name}_log_recall": _log(facts.recall),
        f"{name}_log_density": _log(facts.density),
        f"{name}_coverage": facts.coverage,
        f"{name}_log_vendi": _log(facts.vendi),
        f"{name}_log_effective_rank": _log(facts.effective_rank),
        f"{name}_log_variance": _log(facts.variance),
        f"{name}_log_det": facts.log_det,
        f"{name}_log_spacing": _log(facts.spacing),
        f"{name}_log_to_training": _log(facts.to_training),
    }


def _of_growth(first: SampleStatistics, second: SampleStatistics) -> dict[str, float]:
    return {
        "growth_log_frechet": _log(second.frechet) - _log(first.frechet),
        "growth_log_recall": _log(second.recall) - _log(first.recall),
        "growth_precision": second.precision - first.precision,
        "growth_coverage": second.coverage - first.coverage,
        "growth_log_vendi": _log(second.vendi) - _log(first.vendi),
        "growth_log_variance": _log(second.variance) - _log(first.variance),
        "growth_log_det": second.log_det - first.log_det,
        "growth_log_spacing": _log(second.spacing) - _log(first.spacing),
    }


def _log(value: float, *, tiny: float = _TINY) -> float:
    return math.nan if math.isnan(value) else float(np.log(max(value, 0.0) + tiny))
