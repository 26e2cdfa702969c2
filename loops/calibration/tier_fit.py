"""Fit one tier of the risk model (audit, model samples or pilot) to finished loops."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from sklearn.linear_model import LogisticRegression

from auditor.event import Event, margins
from auditor.risk.inputs import TIERS, ForecastInputs, tiers_ago, workflow_class
from auditor.risk.model import chance_features
from auditor.risk.tier import OUTPUTS, WIDEST, TierModel, prepared_for
from auditor.statistics.kernel_ridge import KernelRidge, fit_kernel_ridge
from loops.calibration.rows import CalibrationRow

__all__ = ["LEVEL", "Table", "fit_tier", "happened_in", "table_of"]

# Candidate kernel lengths, ridge penalties, and factors by which a feature counts less per tier since its measurement.
_LENGTHS, _RIDGES, _FADES = (0.7, 1.0), (1.0,), (1.0, 0.3)
# Events that the probabilities are fitted to, with weights: the default event and similar ones, and extreme ones.
_LIMITS = {
    (2.0, 0.8): 6.0, (1.6, 0.85): 6.0, (2.5, 0.75): 6.0, (1.3, 0.9): 1.0, (2.0, 0.3): 1.0, (2.0, 0.05): 1.0,
    (10.0, 0.8): 1.0, (5.0, 0.5): 1.0, (10.0, 0.3): 1.0,
}  # fmt: skip
_HORIZONS = {8: 4.0, 5: 1.0, 3: 1.0, 2: 1.0}  # horizons in generations, with weights
_INVERSE_PENALTY = 1.0  # C of the logistic regression
LEVEL = 0.9  # confidence level of the bands
_REACH = 0.95  # share of calibration rows with a row of another family within the reach
_RATIO, _DIVERSITY = OUTPUTS.index("frechet_ratio"), OUTPUTS.index("diversity_ratio")


@dataclass(frozen=True, slots=True)
class Table:
    """Calibration rows as arrays, with the features of one tier of the risk model."""

    tier: str
    known: tuple[ForecastInputs, ...]  # (m,)
    names: tuple[str, ...]
    features: np.ndarray  # (m, p), nan where not measured
    outputs: np.ndarray  # (m, outputs · T)
    starts: np.ndarray  # (m, outputs · T) outputs expected from the recursion alone
    families: np.ndarray  # (m,)
    data: np.ndarray  # (m,)
    classes: np.ndarray  # (m,)

    @property
    def trajectories(self) -> np.ndarray:
        """The measured outputs of all loops (loops, outputs, generations)."""
        return self.outputs.reshape(len(self.outputs), len(OUTPUTS), -1)

    def take(self, rows: np.ndarray) -> "Table":
        return Table(
            self.tier, tuple(self.known[int(row)] for row in rows), self.names, self.features[rows],
            self.outputs[rows], self.starts[rows], self.families[rows], self.data[rows], self.classes[rows],
        )  # fmt: skip


def table_of(rows: Sequence[CalibrationRow], tier: str) -> Table:
    """A table of calibration rows, with the features that are known in the given tier of the risk model."""
    prepared = [prepared_for(row.known, tier) for row in rows]
    features = [inputs for inputs, _ in prepared]
    names = tuple(features[0])
    return Table(
        tier,
        tuple(row.known for row in rows),
        names,
        np.array([[found[name] for name in names] for found in features]),
        np.stack([row.outputs.ravel() for row in rows]),
        np.stack([start.ravel() for _, start in prepared]),
        np.array([row.family for row in rows]),
        np.array([row.data for row in rows]),
        np.array([workflow_class(row.known.plan) for row in rows]),
    )


@dataclass(frozen=True, slots=True)
class _Shape:
    """Hyperparameters of the kernel ridge regression."""

    length: float
    ridge: float
    fade: float


def fit_tier(table: Table, skill: dict[str, dict[str, float]], *, resamples: int = 0) -> TierModel:
    """One tier of the risk model, fitted to a table of loops.

    The model of event probabilities is also refitted to `resamples` bootstrap draws of the model families.
    """
    shape, inner = _chosen(table)
    centre, scale = _standards(table, shape.fade)
    rows = _standardised(table.features, centre, scale)
    return TierModel(
        names=table.names,
        centre=centre,
        scale=scale,
        regression=_regression(rows, table.outputs - table.starts, shape),
        chances={when: _chance(inner, table, when, resamples) for when in ("at", "ever")},
        bands=_bands(inner, table),
        lowest=np.nanmin(table.features, axis=0),
        highest=np.nanmax(table.features, axis=0),
        reach=_reach(rows, table.families),
        skill=skill,
    )


def _standards(table: Table, fade: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale (features,): the scale is the standard deviation, enlarged for features of earlier tiers."""
    centre = np.nan_to_num(np.nanmean(table.features, axis=0))
    scale = np.nan_to_num(np.nanstd(table.features, axis=0))
    weights = np.array([fade ** tiers_ago(name, table.tier) for name in table.names])
    weights /= np.sqrt((weights**2).mean())
    return centre, np.where(scale > 1e-9, scale, 1.0) / weights


def _standardised(features: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    rows = (features - centre) / scale
    return np.asarray(np.clip(np.where(np.isfinite(rows), rows, 0.0), -WIDEST, WIDEST))


def _regression(rows: np.ndarray, outputs: np.ndarray, shape: _Shape) -> KernelRidge:
    return fit_kernel_ridge(rows, outputs, length=shape.length, ridge=shape.ridge, linear=0.0)


def _chosen(table: Table) -> tuple[_Shape, np.ndarray]:
    """Hyperparameters with the smallest held-out error, and the held-out forecasts (loops, outputs, generations)."""
    fades = _FADES if table.tier != TIERS[0] else (1.0,)
    shapes = [_Shape(*values) for values in product(_LENGTHS, _RIDGES, fades)]
    rows = {fade: _standardised(table.features, *_standards(table, fade)) for fade in fades}
    spread = table.outputs.var(0) + 1e-9
    found = {shape: _across_families(rows[shape.fade], table, shape) for shape in shapes}
    errors = {shape: float((((f - table.outputs) ** 2) / spread).mean()) for shape, f in found.items()}
    best = min(errors, key=lambda shape: errors[shape])
    return best, found[best].reshape(table.trajectories.shape)


def _across_families(rows: np.ndarray, table: Table, shape: _Shape) -> np.ndarray:
    found, left = table.starts.copy(), table.outputs - table.starts
    for family in np.unique(table.families):
        held = table.families == family
        found[held] += _regression(rows[~held], left[~held], shape).predict(rows[held])
    return found


def happened_in(trajectories: np.ndarray, event: Event) -> np.ndarray:
    """For each trajectory (loops, outputs, generations): 1 if the event happens, else 0."""
    beyond = margins(trajectories[:, _RATIO], trajectories[:, _DIVERSITY], event)
    return np.asarray((beyond > 0).any(1), dtype=np.float64)


def _chance(inner: np.ndarray, table: Table, when: str, resamples: int) -> np.ndarray:
    """Coefficients (1 + `resamples`, 6) of logistic regressions that turn forecasts into event probabilities.

    The logistic regressions are fitted to forecasts of held-out families, for several limits and horizons of the event.
    Coefficient row 0 is fitted to all loops, and each of the other `resamples` rows to families drawn with replacement.
    """
    rows, happened, weighed = [], [], []
    for ((ratio, diversity), weight), (horizon, nearness) in product(_LIMITS.items(), _HORIZONS.items()):
        event = Event(frechet_ratio=ratio, diversity_ratio=diversity, when=when)
        seen = inner[:, :, :horizon]
        rows.append(chance_features(seen[:, _RATIO], seen[:, _DIVERSITY], event))
        happened.append(happened_in(table.trajectories[:, :, :horizon], event))
        weighed.append(weight * nearness)
    features, labels = np.stack(rows), np.stack(happened)  # (events, m, 6), (events, m)
    weights = np.array(weighed)[:, None] / np.sum(weighed)  # each loop counts once, whatever the number of events
    kinds, number = np.unique(table.families, return_inverse=True)
    rng = np.random.default_rng(0)
    draws = rng.multinomial(len(kinds), np.full(len(kinds), 1 / len(kinds)), size=resamples)
    counted = [np.ones(len(kinds)), *draws]
    return np.stack([_log_odds(features, labels, weights * counts[number]) for counts in counted])


def _log_odds(features: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Logistic regression coefficients (6,) for the log odds of events, with weights (events, loops)."""
    used = weights.ravel()
    known, flat = labels.ravel(), features.reshape(-1, features.shape[-1])
    if len(np.unique(known[used > 0])) < 2:
        return np.array([20.0 if known[used > 0][0] else -20.0, *np.zeros(flat.shape[1] - 1)])
    fitted = LogisticRegression(C=_INVERSE_PENALTY, fit_intercept=False, max_iter=1000)
    return np.asarray(fitted.fit(flat, known, sample_weight=used).coef_[0])


def _bands(inner: np.ndarray, table: Table) -> dict[str, np.ndarray]:
    """Conformal half widths (outputs, generations) of forecast bands around whole trajectories, per workflow class."""
    errors = np.abs(inner - table.trajectories)
    spread = np.sqrt((errors**2).mean(0)) + 1e-6
    worst = (errors / spread).max(axis=2)  # (m, outputs)
    groups = {"all": np.ones(len(worst), dtype=bool)}
    groups |= {str(kind): table.classes == kind for kind in np.unique(table.classes)}
    return {name: _quantile(worst[rows])[:, None] * spread for name, rows in groups.items()}


def _quantile(scores: np.ndarray) -> np.ndarray:
    """Conformal quantile of each column of n scores: the ⌈(n + 1) · LEVEL⌉-th smallest, or the largest for small n."""
    rank = min(len(scores), int(np.ceil((len(scores) + 1) * LEVEL)))
    return np.asarray(np.sort(scores, axis=0)[rank - 1])


def _reach(rows: np.ndarray, families: np.ndarray) -> float:
    distances = np.sqrt(((rows[:, None] - rows) ** 2).mean(2))
    distances[families[:, None] == families] = np.inf
    return float(np.quantile(distances.min(1), _REACH))
