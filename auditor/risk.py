"""The forecast of model autophagy: a calibrated model from what is known before training to what happens."""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from auditor.intervals import Measure
from auditor.kernel_ridge import KernelRidge
from auditor.risk_inputs import TIERS, Known, features_of, workflow_class
from indexes.errors import ArtifactError, InputError
from indexes.store import write_atomic

__all__ = [
    "OUTPUTS",
    "Event",
    "Forecast",
    "RiskModel",
    "TierModel",
    "chance_features",
    "load_risk_model",
    "margins",
]

SCHEMA = "madaudit/risk/1"
OUTPUTS = ("frechet_level", "frechet_ratio", "diversity_ratio", "precision")  # the first three as logarithms
_LOGARITHMS = OUTPUTS[:3]
_WIDEST = 10.0  # standard deviations beyond which a feature is cut


@dataclass(frozen=True, slots=True)
class Event:
    """When a loop counts as gone MAD: the Fréchet ratio above, or the diversity ratio below, its limit."""

    frechet_ratio: float = 2.0  # F over that of generation 1
    diversity_ratio: float = 0.8  # recall over that of generation 1
    when: str = "at"  # the last generation, or "ever" up to it

    def __post_init__(self) -> None:
        if not (self.frechet_ratio > 1 and 0 < self.diversity_ratio < 1 and self.when in ("at", "ever")):
            raise InputError(
                f"an event of a Fréchet ratio above {self.frechet_ratio} or a diversity ratio below "
                f"{self.diversity_ratio}, {self.when}, expected one above 1, one between 0 and 1, and at or ever"
            )

    @property
    def sentence(self) -> str:
        """In words."""
        when = "at the last generation" if self.when == "at" else "at any generation"
        return f"{when}, frechet_ratio > {self.frechet_ratio:g} or diversity_ratio < {self.diversity_ratio:g}"


def margins(log_ratio: np.ndarray, log_diversity: np.ndarray, event: Event) -> np.ndarray:
    """How far each trajectory (n, T), generation 1 first, is beyond either limit in logarithms, (n, 2)."""
    beyond = np.stack(
        [log_ratio - math.log(event.frechet_ratio), math.log(event.diversity_ratio) - log_diversity], axis=-1
    )[:, 1:]
    return np.asarray(beyond[:, -1] if event.when == "at" else beyond.max(1))


@dataclass(frozen=True, slots=True)
class TierModel:
    """What was fitted for one tier."""

    names: tuple[str, ...]  # of the features
    centre: np.ndarray  # (p,)
    scale: np.ndarray  # (p,)
    regression: KernelRidge  # to (outputs · T) numbers, output by output
    chances: Mapping[str, np.ndarray]  # at, ever: coefficients (4,) of the event's log odds
    bands: Mapping[str, np.ndarray]  # by workflow class: half widths (outputs, T) that hold whole trajectories
    reach: float  # distance to the nearest calibration row beyond which a forecast extrapolates
    skill: Mapping[str, Mapping[str, float]]  # by workflow class and "all": Brier skill and rank correlations

    def standardised(self, features: Mapping[str, float]) -> np.ndarray:
        """A row (1, p); what could not be measured is taken as average."""
        row = (np.array([features[name] for name in self.names]) - self.centre) / self.scale
        return np.clip(np.where(np.isfinite(row), row, 0.0), -_WIDEST, _WIDEST)[None]

    def distance(self, row: np.ndarray) -> float:
        """Root mean squared distance to the nearest calibration row."""
        return float(np.sqrt(((self.regression.rows - row) ** 2).mean(1).min()))


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected of a loop, with bands, and the chance of the event."""

    tier: str
    status: str  # determined | extrapolated | undetermined
    reason: str | None
    event: Event
    probability: Measure
    trajectory: dict[str, list[Measure]]  # by output, of generations 1 … T
    skill: Mapping[str, float]
    level: float

    def as_json(self) -> dict[str, Any]:
        """The fields of `mad_risk` in a result."""
        generations = range(len(next(iter(self.trajectory.values()))))
        return {
            "probability": _triple(self.probability),
            "event": self.event.sentence,
            "horizon": len(generations),
            "tier": self.tier,
            "skill": dict(self.skill),
            "level": self.level,
            "trajectory": [
                {"generation": t + 1, **{name: _triple(found[t]) for name, found in self.trajectory.items()}}
                for t in generations
            ],
            "status": self.status,
            "reason": self.reason,
        }


def _triple(measure: Measure) -> dict[str, float | None]:
    values = {"estimate": measure.value, "low": measure.low, "high": measure.high}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


@dataclass(frozen=True)
class RiskModel:
    """A forecast calibrated on loops that were run, by tier of what is known beforehand."""

    tiers: Mapping[str, TierModel]
    horizon: int  # generations T
    level: float  # of the bands
    workflows: tuple[str, ...]  # that the calibration holds
    manifest: Mapping[str, Any] = field(default_factory=dict)  # what it was calibrated on

    def predict(self, known: Known, *, event: Event | None = None, tier: str | None = None) -> Forecast:
        """The forecast for a plan, at the highest tier that is known or a lower one asked for.

        The interval of the probability spans what the audit's own interval of the fraction leaves open. Raises
        InputError for a tier that is not known and for a horizon beyond the calibration's.
        """
        event, tier = event or Event(), tier or known.tier
        if TIERS.index(tier) > TIERS.index(known.tier):
            raise InputError(f"the tier {tier} was asked for and only {known.tier} is known: give its samples too")
        last = known.plan.generations
        if last > self.horizon:
            raise InputError(f"a forecast of {last} generations was asked for, expected {self.horizon} at most")
        model = self.tiers[tier]
        half = known.audit.fraction_width / 2
        fractions = np.clip(known.audit.fraction + np.array([0.0, -half, half]), 0, 1)
        features = features_of(known, tier=tier)
        rows = np.concatenate([model.standardised({**features, "fraction": float(f)}) for f in fractions])
        outputs = model.regression.predict(rows).reshape(len(rows), len(OUTPUTS), self.horizon)[:, :, :last]
        chances = _chances(outputs, model.chances[event.when], event)
        kind = workflow_class(known.plan)
        status, reason = self._status(known, model, rows[:1], kind)
        told = status != "undetermined"
        return Forecast(
            tier=tier,
            status=status,
            reason=reason,
            event=event,
            probability=Measure(float(chances[0]) if told else math.nan, *_span(chances, told)),
            trajectory=_trajectory(outputs[0], model.bands.get(kind, model.bands["all"])[:, :last]),
            skill=model.skill.get(kind, model.skill["all"]),
            level=self.level,
        )

    def _status(self, known: Known, model: TierModel, row: np.ndarray, kind: str) -> tuple[str, str | None]:
        skill = model.skill.get(kind)
        if skill is None or skill["brier_skill_in_class"] <= 0:
            rate = "" if skill is None or "event_rate" not in skill else f" of {skill['event_rate']:.2f}"
            return "undetermined", (
                f"on loops of its kind ({kind}) the forecast does no better than their base rate{rate} with what is "
                "known: give --model-samples or --pilot"
            )
        if known.plan.workflow not in self.workflows:
            return "extrapolated", f"the calibration holds no loop of the workflow {known.plan.workflow}"
        if (distance := model.distance(row)) > model.reach:
            return (
                "extrapolated",
                f"no loop of the calibration is like this one ({distance:.2f}, expected {model.reach:.2f})",
            )
        return "determined", None

    def save(self, path: str | Path) -> None:
        """Write the model as one `.npz` with its manifest."""
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


def _chances(outputs: np.ndarray, coefficients: np.ndarray, event: Event) -> np.ndarray:
    """Probability of the event (n,) from forecasts (n, outputs, T)."""
    ratio, diversity = outputs[:, OUTPUTS.index("frechet_ratio")], outputs[:, OUTPUTS.index("diversity_ratio")]
    return np.asarray(special.expit(chance_features(margins(ratio, diversity, event)) @ coefficients))


def chance_features(beyond: np.ndarray) -> np.ndarray:
    """What the log odds of the event are linear in, (n, 4): either margin of the forecast and the larger, and one."""
    return np.column_stack([np.ones(len(beyond)), beyond, beyond.max(1)])


def _span(chances: np.ndarray, told: bool) -> tuple[float, float]:
    return (float(chances.min()), float(chances.max())) if told else (0.0, 1.0)


def _trajectory(outputs: np.ndarray, bands: np.ndarray) -> dict[str, list[Measure]]:
    found = {}
    for name, values, half in zip(OUTPUTS, outputs, bands, strict=True):
        ends = [values - half, values, values + half]
        if name in _LOGARITHMS:
            ends = [np.exp(end) for end in ends]
        low, value, high = ends if name in _LOGARITHMS else [np.clip(end, 0, 1) for end in ends]
        found[name] = [Measure(float(v), float(lo), float(hi)) for v, lo, hi in zip(value, low, high, strict=True)]
    return found


def _arrays(model: TierModel) -> dict[str, np.ndarray]:
    regression = model.regression
    return {
        "centre": model.centre,
        "scale": model.scale,
        "rows": regression.rows.astype(np.float32),
        "dual": regression.dual.astype(np.float32),
        "mean": regression.mean,
        **{f"chances/{when}": found for when, found in model.chances.items()},
        **{f"bands/{kind}": found for kind, found in model.bands.items()},
    }


def load_risk_model(path: str | Path) -> RiskModel:
    """Read a model; raises ArtifactError where it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        described = json.loads(str(arrays["manifest"]))
        if described["schema"] != SCHEMA:
            raise ArtifactError(f"{path} has the schema {described['schema']}, expected {SCHEMA}: calibrate it anew")
        tiers = {tier: _tier(tier, arrays, fields) for tier, fields in described["tiers"].items()}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ArtifactError(f"{path} is no risk model ({error}): make one with madaudit calibrate") from None
    return RiskModel(
        tiers, described["horizon"], described["level"], tuple(described["workflows"]), described["manifest"]
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
        reach=fields["reach"],
        skill=fields["skill"],
    )
