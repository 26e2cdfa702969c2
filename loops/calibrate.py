"""Fitting the risk model to loops that were run, and its validation on families and data it has not seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special, stats
from sklearn.linear_model import LogisticRegression

from auditor.kernel_ridge import KernelRidge, fit_kernel_ridge
from auditor.risk import RiskModel, chance_features
from auditor.risk_event import Event, margins
from auditor.risk_inputs import TIERS, Known, workflow_class
from auditor.tier_model import OUTPUTS, TierModel, prepared_for
from indexes.errors import InputError
from loops.calibration_rows import CalibrationRow

__all__ = ["Predicted", "Reliability", "calibrate", "held_out", "reliability", "skill_of"]

_LENGTHS, _RIDGES = (0.5, 1.0, 2.0), (0.1, 0.5, 2.0)
_LIMITS = [(ratio, diversity) for ratio in (1.5, 2.0, 3.0) for diversity in (0.7, 0.8, 0.9)]
_LEVEL = 0.9
_REACH = 0.95  # share of the calibration's rows that lie within reach of those of other families
_FEWEST_ROWS, _FEWEST_FAMILIES = 40, 3
_BINS = 10  # of a reliability diagram
_RESAMPLES = 40  # of families, behind the interval of a probability
_RATIO, _DIVERSITY = OUTPUTS.index("frechet_ratio"), OUTPUTS.index("diversity_ratio")


@dataclass(frozen=True, slots=True)
class _Table:
    """Rows as arrays, for one tier."""

    tier: str
    known: tuple[Known, ...]  # (m,)
    names: tuple[str, ...]
    features: np.ndarray  # (m, p), nan where not measured
    outputs: np.ndarray  # (m, outputs · T)
    starts: np.ndarray  # (m, outputs · T) what the recursion alone expects
    families: np.ndarray  # (m,)
    data: np.ndarray  # (m,)
    classes: np.ndarray  # (m,)

    @property
    def trajectories(self) -> np.ndarray:
        """(m, outputs, T)."""
        return self.outputs.reshape(len(self.outputs), len(OUTPUTS), -1)

    def take(self, rows: np.ndarray) -> "_Table":
        return _Table(
            self.tier, tuple(self.known[int(row)] for row in rows), self.names, self.features[rows],
            self.outputs[rows], self.starts[rows], self.families[rows], self.data[rows], self.classes[rows],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Predicted:
    """What was forecast of rows whose family and data were both held out, beside what happened."""

    trajectories: np.ndarray  # (m, outputs, T)
    chances: dict[str, np.ndarray]  # at, ever: (m,) of the default event
    halves: np.ndarray  # (m, outputs, T) half widths of the bands
    truth: np.ndarray  # (m, outputs, T)
    classes: np.ndarray  # (m,)
    base: np.ndarray  # (m,) rate of the default event among the training rows
    class_base: np.ndarray  # (m,) the same among those of the same workflow class


def calibrate(rows: Sequence[CalibrationRow], *, report: Callable[[str], None] = lambda line: None) -> RiskModel:
    """The model fitted to all rows, with the skill that it has on held-out families and data."""
    families = {row.family for row in rows}
    if len(rows) < _FEWEST_ROWS or len(families) < _FEWEST_FAMILIES:
        raise InputError(
            f"{len(rows)} loops of {len(families)} families were given, expected {_FEWEST_ROWS} of {_FEWEST_FAMILIES}"
        )
    tiers = {}
    for tier in TIERS:
        table = _table(rows, tier)
        report(f"{tier}: validating on {len(families)} families and {len(set(table.data))} data sets")
        tiers[tier] = _fit(table, skill_of(held_out(rows, tier)), resamples=_RESAMPLES)
    horizon = rows[0].outputs.shape[1]
    manifest: dict[str, Any] = {
        "rows": len(rows),
        "families": sorted(families),
        "data": sorted({row.data for row in rows}),
        "keys": [row.key for row in rows],
        "row_families": [row.family for row in rows],
        "row_data": [row.data for row in rows],
    }
    workflows = tuple(sorted({row.known.plan.workflow for row in rows}))
    return RiskModel(tiers, horizon, _LEVEL, workflows, manifest)


def held_out(rows: Sequence[CalibrationRow], tier: str) -> Predicted:
    """Forecasts of each row by a model of the rows of other families on other data; everything is chosen anew."""
    table = _table(rows, tier)
    shape = table.trajectories.shape
    trajectories, halves = np.full(shape, np.nan), np.full(shape, np.nan)
    chances = {when: np.full(shape[0], np.nan) for when in ("at", "ever")}
    base, class_base = np.full(shape[0], np.nan), np.full(shape[0], np.nan)
    for family, data in sorted(set(zip(table.families.tolist(), table.data.tolist(), strict=True))):
        tested = np.flatnonzero((table.families == family) & (table.data == data))
        train = table.take(np.flatnonzero((table.families != family) & (table.data != data)))
        model = _fit(train, {})
        trajectories[tested] = model.expected(table.take(tested).known, tier)
        for when in chances:
            beyond = margins(trajectories[tested, _RATIO], trajectories[tested, _DIVERSITY], Event(when=when))
            chances[when][tested] = special.expit(chance_features(beyond) @ model.chances[when][0])
        happened = _happened(train.trajectories, Event())
        base[tested] = happened.mean()
        for row in tested:
            same = train.classes == table.classes[row]
            class_base[row] = happened[same].mean() if same.any() else happened.mean()
            halves[row] = model.bands.get(table.classes[row], model.bands["all"])
    return Predicted(trajectories, chances, halves, table.trajectories, table.classes, base, class_base)


def skill_of(found: Predicted) -> dict[str, dict[str, float]]:
    """Skill at the last generation and coverage of whole trajectories, by workflow class and of all."""
    groups = {"all": np.ones(len(found.classes), dtype=bool)}
    groups |= {str(kind): found.classes == kind for kind in np.unique(found.classes)}
    return {name: _skill(found, rows) for name, rows in groups.items()}


def _skill(found: Predicted, rows: np.ndarray) -> dict[str, float]:
    happened, chance = _happened(found.truth[rows], Event()), found.chances["at"][rows]
    brier, base, class_base = (
        float(((guess - happened) ** 2).mean()) for guess in (chance, found.base[rows], found.class_base[rows])
    )
    inside = np.abs(found.trajectories[rows] - found.truth[rows]) <= found.halves[rows] + 1e-12
    ranks = {
        f"spearman_{name}": _rank(found.trajectories[rows, i, -1], found.truth[rows, i, -1])
        for i, name in enumerate(OUTPUTS)
    }
    return {
        "n": int(rows.sum()),
        "event_rate": float(happened.mean()),
        "brier": brier,
        "brier_skill": 1 - brier / base if base > 0 else 0.0,
        "brier_skill_in_class": 1 - brier / class_base if class_base > 0 else 0.0,
        "calibration_error": _reliability(chance, happened).error,
        **ranks,
        "coverage": float(inside.all(axis=2).mean()),
    }


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often an event happened beside how often it was forecast."""

    bins: tuple[tuple[float, float, int], ...]  # mean forecast, share that happened, rows; about equally many in each
    error: float  # expected calibration error: Σ rows · |forecast − share| / all


def reliability(found: Predicted) -> Reliability:
    """Of the default event at the last generation, over the tenths of the forecasts (Naeini et al. 2015)."""
    return _reliability(found.chances["at"], _happened(found.truth, Event()))


def _reliability(chances: np.ndarray, happened: np.ndarray) -> Reliability:
    parts = np.array_split(np.argsort(chances, kind="stable"), _BINS)
    bins = tuple((float(chances[p].mean()), float(happened[p].mean()), len(p)) for p in parts if len(p))
    return Reliability(bins, sum(n * abs(forecast - share) for forecast, share, n in bins) / len(chances))


def _rank(first: np.ndarray, second: np.ndarray) -> float:
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(stats.spearmanr(first, second).statistic)


def _table(rows: Sequence[CalibrationRow], tier: str) -> _Table:
    prepared = [prepared_for(row.known, tier) for row in rows]
    features = [inputs for inputs, _ in prepared]
    names = tuple(features[0])
    return _Table(
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


def _standardised(features: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    rows = (features - centre) / scale
    return np.asarray(np.clip(np.where(np.isfinite(rows), rows, 0.0), -10, 10))


def _fit(table: _Table, skill: dict[str, dict[str, float]], *, resamples: int = 0) -> TierModel:
    centre = np.nan_to_num(np.nanmean(table.features, axis=0))
    scale = np.nan_to_num(np.nanstd(table.features, axis=0))
    scale = np.where(scale > 1e-9, scale, 1.0)
    rows = _standardised(table.features, centre, scale)
    length, ridge, inner = _chosen(rows, table)
    return TierModel(
        names=table.names,
        centre=centre,
        scale=scale,
        regression=fit_kernel_ridge(rows, table.outputs - table.starts, length=length, ridge=ridge),
        chances={when: _chance(inner, table, when, resamples) for when in ("at", "ever")},
        bands=_bands(inner, table),
        reach=_reach(rows, table.families),
        skill=skill,
    )


def _chosen(rows: np.ndarray, table: _Table) -> tuple[float, float, np.ndarray]:
    """Length and penalty with the least error on held-out families, and those forecasts (m, outputs, T)."""
    spread = table.outputs.var(0) + 1e-9
    best: tuple[float, float, float, np.ndarray] | None = None
    for length in _LENGTHS:
        for ridge in _RIDGES:
            found = _across_families(rows, table, length, ridge)
            error = float((((found - table.outputs) ** 2) / spread).mean())
            if best is None or error < best[0]:
                best = error, length, ridge, found
    assert best is not None
    return best[1], best[2], best[3].reshape(table.trajectories.shape)


def _across_families(rows: np.ndarray, table: _Table, length: float, ridge: float) -> np.ndarray:
    found, left = table.starts.copy(), table.outputs - table.starts
    for family in np.unique(table.families):
        held = table.families == family
        model: KernelRidge = fit_kernel_ridge(rows[~held], left[~held], length=length, ridge=ridge)
        found[held] += model.predict(rows[held])
    return found


def _happened(trajectories: np.ndarray, event: Event) -> np.ndarray:
    beyond = margins(trajectories[:, _RATIO], trajectories[:, _DIVERSITY], event)
    return np.asarray((beyond > 0).any(1), dtype=np.float64)


def _chance(inner: np.ndarray, table: _Table, when: str, resamples: int) -> np.ndarray:
    """Coefficients (1 + B, 4) of the log odds of events of several limits, from forecasts of held-out families.

    The first are of all rows, the others of families drawn with replacement.
    """
    rows, happened = [], []
    for ratio, diversity in _LIMITS:
        event = Event(ratio, diversity, when)
        rows.append(chance_features(margins(inner[:, _RATIO], inner[:, _DIVERSITY], event)))
        happened.append(_happened(table.trajectories, event))
    features, labels = np.stack(rows), np.stack(happened)  # (limits, m, 4), (limits, m)
    kinds, number = np.unique(table.families, return_inverse=True)
    rng = np.random.default_rng(0)
    draws = rng.multinomial(len(kinds), np.full(len(kinds), 1 / len(kinds)), size=resamples)
    return np.stack([_log_odds(features, labels, counts[number]) for counts in [np.ones(len(kinds)), *draws]])


def _log_odds(features: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Coefficients (4,); weights (m,) count rows."""
    used = np.broadcast_to(weights, labels.shape).ravel()
    known, flat = labels.ravel(), features.reshape(-1, features.shape[-1])
    if len(np.unique(known[used > 0])) < 2:
        return np.array([20.0 if known[used > 0][0] else -20.0, 0.0, 0.0, 0.0])
    fitted = LogisticRegression(C=1.0, fit_intercept=False, max_iter=1000).fit(flat, known, sample_weight=used)
    return np.asarray(fitted.coef_[0])


def _bands(inner: np.ndarray, table: _Table) -> dict[str, np.ndarray]:
    """Half widths (outputs, T) by workflow class, conformal: they hold whole trajectories of held-out families."""
    errors = np.abs(inner - table.trajectories)
    spread = np.sqrt((errors**2).mean(0)) + 1e-6
    worst = (errors / spread).max(axis=2)  # (m, outputs)
    groups = {"all": np.ones(len(worst), dtype=bool)}
    groups |= {str(kind): table.classes == kind for kind in np.unique(table.classes)}
    return {name: _quantile(worst[rows])[:, None] * spread for name, rows in groups.items()}


def _quantile(scores: np.ndarray) -> np.ndarray:
    """The ⌈(n + 1) level⌉-th smallest of each column, the largest where there is none."""
    rank = min(len(scores), int(np.ceil((len(scores) + 1) * _LEVEL)))
    return np.asarray(np.sort(scores, axis=0)[rank - 1])


def _reach(rows: np.ndarray, families: np.ndarray) -> float:
    distances = np.sqrt(((rows[:, None] - rows) ** 2).mean(2))
    distances[families[:, None] == families] = np.inf
    return float(np.quantile(distances.min(1), _REACH))
