"""The forecast of model autophagy: a calibrated model that predicts a loop from what is known before training."""

import hashlib
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from auditor.answers import ForecastStatus, GenerationForecast, Tier
from auditor.event import Event, margins
from auditor.plan import Plan
from auditor.risk.inputs import TIERS, ForecastInputs, workflow_class
from auditor.risk.recursion import origin_shares
from auditor.risk.tier import OUTPUTS, TierModel
from auditor.statistics.intervals import Measure
from auditor.statistics.kernel_ridge import KernelRidge
from indexes.errors import ArtifactError, InputError
from indexes.store import write_atomic

__all__ = [
    "EVENT_DIVERSITIES",
    "EVENT_RATIOS",
    "SHIPPED",
    "Chance",
    "Forecast",
    "RiskModel",
    "chance_features",
    "load_risk_model",
    "risk_model",
]

SCHEMA = "madaudit/risk/3"
SHIPPED = "risk_model.npz"  # beside this module
_LOGARITHMS = OUTPUTS[:3]
_FRACTIONS = 5  # points of the fraction's interval that are tried
_TOO_FEW_COLUMNS = 2
EVENT_RATIOS, EVENT_DIVERSITIES = (1.3, 10.0), (0.05, 0.9)  # limits of the events that the chances are fitted to


@dataclass(frozen=True, slots=True)
class Chance:
    """Probability of model autophagy; an undetermined probability is nan with the interval [0, 1]."""

    status: ForecastStatus
    reason: str | None
    value: Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The expected course of a loop with confidence bands, and the probability of model autophagy."""

    tier: Tier
    status: ForecastStatus
    reason: str | None
    event: Event
    probability: Measure
    trajectory: dict[str, list[Measure]]  # output → values in generations 1 … T
    skill: Mapping[str, float]
    level: float

    @property
    def courses(self) -> tuple[GenerationForecast, ...]:
        """The forecast trajectory, one record per generation."""
        columns = zip(*self.trajectory.values(), strict=True)
        return tuple(
            GenerationForecast(generation=t, **dict(zip(self.trajectory, found, strict=True)))
            for t, found in enumerate(columns, start=1)
        )


@dataclass(frozen=True)
class RiskModel:
    """Forecast model calibrated on finished loops, separately for each tier of information known before training."""

    tiers: Mapping[Tier, TierModel]
    horizon: int  # generations T
    level: float  # confidence level of the bands
    workflows: tuple[str, ...]  # workflows in the calibration
    manifest: Mapping[str, Any] = field(default_factory=dict)  # what it was calibrated on
    identity: Mapping[str, str] = field(default_factory=dict)  # the file it was read from, and its digest

    def predict(self, known: ForecastInputs, *, event: Event | None = None, tier: Tier | None = None) -> Forecast:
        """Forecast the course and risk of a plan from all measurements, or only from those up to the tier `tier`.

        The interval of the probability spans all synthetic fractions in the audit's interval, and calibrations with
        other model families. Raises InputError for a tier without measurements and for more generations than the
        calibration has.
        """
        event, tier = event or Event(), tier or known.tier
        chance = self.probability(known, event=event, tier=tier)
        last, kind, model = known.plan.generations, workflow_class(known.plan), self.tiers[tier]
        outputs = model.expected([self._to_horizon(known)], tier)[0, :, :last]
        return Forecast(
            tier=tier,
            status=chance.status,
            reason=chance.reason,
            event=event,
            probability=chance.value,
            trajectory=_trajectory(outputs, model.bands.get(kind, model.bands["all"])[:, :last]),
            skill=model.skill.get(kind, model.skill["all"]),
            level=self.level,
        )

    def probability(self, known: ForecastInputs, *, event: Event, tier: Tier | None = None) -> Chance:
        """Probability of model autophagy alone: the same value as from `predict`, in a hundredth of the time."""
        tier = tier or known.tier
        if TIERS.index(tier) > TIERS.index(known.tier):
            raise InputError(
                f"the tier {tier} was requested, but only the tier {known.tier} is known: give samples for {tier}"
            )
        self.check(known.plan)
        model, asked, last = self.tiers[tier], known.plan, known.plan.generations
        known = self._to_horizon(known)
        status, reason = self._status(replace(known, plan=asked), tier, event)
        if status == "undetermined":
            return Chance(status, reason, Measure(math.nan, low=0.0, high=1.0, reason=reason))
        fractions = np.array([known.audit.fraction, *np.linspace(*known.audit.fraction_ends, _FRACTIONS)])
        outputs = model.at_fractions(known, tier, fractions)[:, :, :last]
        chances = _chances(outputs, model.chances, event)
        low, high = _span(chances, self.level)
        return Chance(status, reason, Measure(float(chances[0, 0]), low=low, high=high))

    def _to_horizon(self, known: ForecastInputs) -> ForecastInputs:
        """Extend the plan to all generations of the calibration; the extended plan begins with the given plan."""
        return replace(known, plan=replace(known.plan, generations=self.horizon))

    def check(self, plan: Plan) -> None:
        """Raise InputError for more generations than the calibration has, and for a plan without any training items."""
        if plan.generations > self.horizon:
            raise InputError(
                f"a forecast of {plan.generations} generations was requested, expected at most {self.horizon}"
            )
        origin_shares(plan)

    def _status(self, known: ForecastInputs, tier: Tier, event: Event) -> tuple[ForecastStatus, str | None]:
        """Status of a forecast's probability, and the reason if the probability is not reliable."""
        model, kind = self.tiers[tier], workflow_class(known.plan)
        skill = model.skill.get(kind)
        if skill is None or not _has_skill(skill, known.plan.generations):
            rate = "" if skill is None or "event_rate" not in skill else f" of {skill['event_rate']:.2f}"
            return "undetermined", (
                f"on loops of its kind ({kind}) the forecast does no better than their base rate{rate} with what is "
                "known: give --model-samples or --pilot"
            )
        reason = self._unlike(self._to_horizon(known), tier) or _unlike_events(event)
        return ("determined", None) if reason is None else ("extrapolated", reason)

    def _unlike(self, known: ForecastInputs, tier: Tier) -> str | None:
        """How a loop differs from all loops in the calibration; None for a loop similar to them."""
        if not math.isfinite(known.audit.floor):
            return "no audit measured the scale of the data: average values were used for everything unknown"
        if known.plan.workflow not in self.workflows:
            return f"the calibration holds no loop of the workflow {known.plan.workflow}"
        if 0 < known.audit.width <= _TOO_FEW_COLUMNS:
            return f"the data have {known.audit.width} columns: the calibration's forecasts had no skill on such data"
        given = [known.model, known.pilot][: TIERS.index(tier)]
        fewest = self.manifest.get("fewest_samples", 0)
        if few := [facts.n for facts in given if facts is not None and facts.n < fewest]:
            return f"{few[0]} samples of a model were given, the calibration has {fewest} or more"
        model = self.tiers[tier]
        features = model.features(known, tier)
        if (beyond := model.beyond(features)) is not None:
            return beyond
        if (distance := model.distance(model.standardised(features))) > model.reach:
            return (
                f"no loop of the calibration is like this one (distance {distance:.2f}, expected at most "
                f"{model.reach:.2f})"
            )
        return None

    def save(self, path: str | Path) -> None:
        """Write the model and its manifest as one `.npz` file."""
        arrays: dict[str, np.ndarray] = {"manifest": np.array(json.dumps(self._described()))}
        for tier, model in self.tiers.items():
            arrays |= {f"{tier}/{name}": value for name, value in _arrays(model).items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        write_atomic(Path(path), buffer.getvalue())

    def _described(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "horizon": self.horizon,
            "level": self.level,
            "workflows": list(self.workflows),
            "manifest": dict(self.manifest),
            "tiers": {
                tier: {
                    "names": list(model.names),
                    "skill": {kind: dict(found) for kind, found in model.skill.items()},
                    "classes": list(model.bands),
                    "length": model.regression.length,
                    "linear": model.regression.linear,
                    "reach": model.reach,
                }
                for tier, model in self.tiers.items()
            },
        }


def _has_skill(skill: Mapping[str, float], generations: int) -> bool:
    """Whether forecasts of this many generations beat the base rate of their workflow class by more than chance."""
    suffix = f"_{generations}" if f"brier_skill_in_class_{generations}" in skill else ""
    return skill[f"brier_skill_in_class{suffix}"] > skill[f"brier_skill_in_class_error{suffix}"]


def _unlike_events(event: Event) -> str | None:
    low, high = EVENT_RATIOS
    least, most = EVENT_DIVERSITIES
    if low <= event.frechet_ratio <= high and least <= event.diversity_ratio <= most:
        return None
    return (
        f"the event's limits are {event.frechet_ratio:g} and {event.diversity_ratio:g}, the calibration knows "
        f"{low:g} to {high:g} and {least:g} to {most:g}"
    )


def _chances(outputs: np.ndarray, coefficients: Mapping[str, np.ndarray], event: Event) -> np.ndarray:
    """Probability of model autophagy (n, 1 + B) from n forecasts (n, outputs, T) and 1 + B sets of coefficients.

    An event at the last generation also counts for `ever`, so `ever` is never less probable than `at`.
    """
    ratio, diversity = outputs[:, OUTPUTS.index("frechet_ratio")], outputs[:, OUTPUTS.index("diversity_ratio")]

    def said(when: str) -> np.ndarray:
        features = chance_features(ratio, diversity, replace(event, when=when))
        return np.asarray(special.expit(features @ coefficients[when].T))

    return said("at") if event.when == "at" or ratio.shape[1] == 2 else np.maximum(said("at"), said("ever"))


def chance_features(log_ratio: np.ndarray, log_diversity: np.ndarray, event: Event) -> np.ndarray:
    """Features (n, 6) of forecasts (n, T); the log odds of an event are linear in these features.

    The features are the constant one, the log margins by which the forecast violates the two limits, the larger margin,
    and the log of each limit relative to its default. Margins beyond a factor of about e add no information, because
    forecast errors are then equally unlikely to reverse the outcome.
    """
    beyond, default = margins(log_ratio, log_diversity, event), Event()
    limits = [
        math.log(event.frechet_ratio / default.frechet_ratio),
        math.log(event.diversity_ratio / default.diversity_ratio),
    ]
    ones = np.ones((len(beyond), 1))
    return np.column_stack([ones, np.tanh(beyond), np.tanh(beyond.max(1)), ones * limits])


def _span(chances: np.ndarray, level: float) -> tuple[float, float]:
    """Interval of the probability over the synthetic fraction's interval and over resampled model families."""
    low, high = np.quantile(chances, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return float(min(low.min(), chances[0, 0])), float(max(high.max(), chances[0, 0]))


def _trajectory(outputs: np.ndarray, bands: np.ndarray) -> dict[str, list[Measure]]:
    found = {}
    for name, values, half in zip(OUTPUTS, outputs, bands, strict=True):
        ends = [values - half, values, values + half]
        if name in _LOGARITHMS:
            ends = [np.exp(end) for end in ends]
        low, value, high = ends if name in _LOGARITHMS else [np.clip(end, 0, 1) for end in ends]
        rows = zip(value.tolist(), low.tolist(), high.tolist(), strict=True)
        found[name] = [Measure(v, low=lo, high=hi) for v, lo, hi in rows]
    return found


def _arrays(model: TierModel) -> dict[str, np.ndarray]:
    regression = model.regression
    return {
        "centre": model.centre,
        "scale": model.scale,
        "rows": regression.rows.astype(np.float32),
        "dual": regression.dual.astype(np.float32),
        "mean": regression.mean,
        "lowest": model.lowest,
        "highest": model.highest,
        **{f"chances/{when}": found for when, found in model.chances.items()},
        **{f"bands/{kind}": found for kind, found in model.bands.items()},
    }


def risk_model(path: Path | None = None) -> RiskModel:
    """Load the risk model in a file; the default is the model shipped with the package."""
    if path is not None:
        return load_risk_model(path)
    with resources.as_file(resources.files("auditor.risk") / SHIPPED) as file:
        found = load_risk_model(file)
    return replace(found, identity={**found.identity, "file": SHIPPED})


def load_risk_model(path: str | Path) -> RiskModel:
    """Read a risk model; raises ArtifactError if the file is missing or damaged."""
    try:
        content = Path(path).read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = dict(stored)
        described = json.loads(str(arrays["manifest"]))
        if described["schema"] != SCHEMA:
            raise ArtifactError(
                f"{path} has the schema {described['schema']}, expected {SCHEMA}: calibrate the model again"
            )
        tiers = {tier: _tier(tier, arrays, fields) for tier, fields in described["tiers"].items()}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ArtifactError(f"{path} is not a risk model ({error}): make one with madaudit calibrate") from None
    identity = {"file": str(path), "digest": hashlib.blake2b(content, digest_size=16).hexdigest()}
    return RiskModel(
        tiers, described["horizon"], described["level"], tuple(described["workflows"]), described["manifest"], identity
    )


def _tier(tier: str, arrays: Mapping[str, np.ndarray], fields: Mapping[str, Any]) -> TierModel:
    def array(name: str) -> np.ndarray:
        return arrays[f"{tier}/{name}"]

    rows, dual = (array(name).astype(np.float64) for name in ("rows", "dual"))
    return TierModel(
        names=tuple(fields["names"]),
        centre=array("centre"),
        scale=array("scale"),
        regression=KernelRidge(rows, dual, array("mean"), fields["length"], fields["linear"]),
        chances={when: array(f"chances/{when}") for when in ("at", "ever")},
        bands={kind: array(f"bands/{kind}") for kind in fields["classes"]},
        lowest=array("lowest"),
        highest=array("highest"),
        reach=fields["reach"],
        skill=fields["skill"],
    )
