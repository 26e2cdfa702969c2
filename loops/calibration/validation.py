"""Forecast skill of the risk model, and of a baseline using only the synthetic share, on held-out families and data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats
from sklearn.linear_model import LogisticRegression

from auditor.event import Event
from auditor.risk.inputs import TIERS
from auditor.risk.model import chance_features
from auditor.risk.tier import OUTPUTS
from loops.calibration.rows import CalibrationRow
from loops.calibration.tier_fit import Table, fit_tier, happened_in, table_of

__all__ = ["Predicted", "Reliability", "held_out", "reliability", "share_alone", "skill_of"]

_BINS = 10  # bins of a reliability diagram
_RATIO, _DIVERSITY = OUTPUTS.index("frechet_ratio"), OUTPUTS.index("diversity_ratio")
_PRECISION = OUTPUTS.index("precision")


@dataclass(frozen=True, slots=True)
class Predicted:
    """Forecasts for loops whose model family and data set were both held out, and the true outcomes of the loops."""

    trajectories: np.ndarray  # (m, outputs, T)
    chances: dict[str, np.ndarray]  # at, ever: (m, T) probability of the default event at each horizon
    halves: np.ndarray  # (m, outputs, T) half widths of the bands
    truth: np.ndarray  # (m, outputs, T)
    classes: np.ndarray  # (m,)
    families: np.ndarray  # (m,)
    base: np.ndarray  # (m, T) rate of the default event among the training rows
    class_base: np.ndarray  # (m, T) rate among the training rows of the same workflow class


def held_out(rows: Sequence[CalibrationRow], tier: str) -> Predicted:
    """Forecast each loop with a model fitted, including its hyperparameters, to other families on other data sets."""
    table = table_of(rows, tier)
    found = _nothing_yet(table)
    for tested, train in _folds(table):
        model = fit_tier(train, {})
        found.trajectories[tested] = model.expected(table.take(tested).known, tier)
        for when, chances in found.chances.items():
            for horizon in _horizons(table):
                courses = found.trajectories[tested][:, :, :horizon]
                features = chance_features(courses[:, _RATIO], courses[:, _DIVERSITY], Event(when=when))
                chances[tested, horizon - 1] = special.expit(features @ model.chances[when][0])
        for row in tested:
            found.halves[row] = model.bands.get(table.classes[row], model.bands["all"])
        _note_rates(found, tested, train)
    return found


def share_alone(rows: Sequence[CalibrationRow]) -> Predicted:
    """Held-out baseline forecasts that use only one feature, the synthetic share of the last training set."""
    table = table_of(rows, TIERS[0])
    found, column = _nothing_yet(table), table.names.index("synthetic_share")
    shares = table.features[:, [column]]
    found.trajectories[:] = shares[:, :, None]
    found.trajectories[:, [_DIVERSITY, _PRECISION]] *= -1  # these outputs fall when the others rise
    for tested, train in _folds(table):
        for when, chances in found.chances.items():
            labels = happened_in(train.trajectories, Event(when=when))
            fitted = LogisticRegression().fit(train.features[:, [column]], labels)
            chances[tested] = fitted.predict_proba(shares[tested])[:, [1]]
        _note_rates(found, tested, train)
    return found


def _nothing_yet(table: Table) -> Predicted:
    shape, m = table.trajectories.shape, len(table.known)
    chances, *empty = (np.full((m, shape[2]), np.nan) for _ in range(3))
    both = {"at": chances, "ever": chances.copy()}
    return Predicted(
        np.full(shape, np.nan), both, np.full(shape, np.nan), table.trajectories, table.classes, table.families, *empty
    )


def _folds(table: Table) -> Iterator[tuple[np.ndarray, Table]]:
    """For each pair of family and data set: its row numbers, and a table of rows with other families and data sets."""
    for family, data in sorted(set(zip(table.families.tolist(), table.data.tolist(), strict=True))):
        own, other = (
            (table.families == family) & (table.data == data),
            (table.families != family) & (table.data != data),
        )
        yield np.flatnonzero(own), table.take(np.flatnonzero(other))


def _note_rates(found: Predicted, tested: np.ndarray, train: Table) -> None:
    for horizon in _horizons(train):
        happened = happened_in(train.trajectories[:, :, :horizon], Event())
        found.base[tested, horizon - 1] = happened.mean()
        for row in tested:
            same = train.classes == found.classes[row]
            found.class_base[row, horizon - 1] = happened[same].mean() if same.any() else happened.mean()


def _horizons(table: Table) -> range:
    """All possible forecast horizons: 2 generations up to the length of the trajectories."""
    return range(2, table.trajectories.shape[2] + 1)


def skill_of(found: Predicted) -> dict[str, dict[str, float]]:
    """Forecast skill, and coverage of whole trajectories by forecast bands, for each workflow class and all loops."""
    groups = {"all": np.ones(len(found.classes), dtype=bool)}
    groups |= {str(kind): found.classes == kind for kind in np.unique(found.classes)}
    return {name: _skill(found, rows) for name, rows in groups.items()}


def _skill(found: Predicted, rows: np.ndarray) -> dict[str, float]:
    happened, chance = happened_in(found.truth[rows], Event()), found.chances["at"][rows, -1]
    brier, base = (float(((guess - happened) ** 2).mean()) for guess in (chance, found.base[rows, -1]))
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
        **_in_class(found, rows, found.truth.shape[2], suffix=""),
        **{
            name: value
            for horizon in range(2, found.truth.shape[2])
            for name, value in _in_class(found, rows, horizon, suffix=f"_{horizon}").items()
        },
        "calibration_error": _reliability(chance, happened).error,
        **ranks,
        "coverage": float(inside.all(axis=2).mean()),
    }


def _in_class(found: Predicted, rows: np.ndarray, horizon: int, *, suffix: str) -> dict[str, float]:
    """Brier skill at a horizon, relative to forecasting the event rate of the workflow class, and the standard error.

    Loops of one family are not independent, so the standard error is clustered by family.
    """
    happened = happened_in(found.truth[rows][:, :, :horizon], Event())
    ours, theirs = ((guess[rows, horizon - 1] - happened) ** 2 for guess in (found.chances["at"], found.class_base))
    rate = float(theirs.mean())
    skill, error = 0.0, 0.0
    if rate > 0:
        gains = (theirs - ours) / rate
        skill = float(gains.mean())
        sums = [(gains[found.families[rows] == f] - skill).sum() for f in np.unique(found.families[rows])]
        error = float(np.sqrt(np.sum(np.square(sums))) / len(gains))
    return {f"brier_skill_in_class{suffix}": skill, f"brier_skill_in_class_error{suffix}": error}


@dataclass(frozen=True, slots=True)
class Reliability:
    """Reliability diagram: observed event frequencies compared with forecast probabilities."""

    bins: tuple[tuple[float, float, int], ...]  # mean forecast, observed share, number of rows; about equal numbers
    error: float  # expected calibration error: Σ rows · |forecast − share| / all


def reliability(found: Predicted) -> Reliability:
    """Reliability of default-event forecasts at the last generation, in ten equal-size bins (Naeini et al. 2015)."""
    return _reliability(found.chances["at"][:, -1], happened_in(found.truth, Event()))


def _reliability(chances: np.ndarray, happened: np.ndarray) -> Reliability:
    parts = np.array_split(np.argsort(chances, kind="stable"), _BINS)
    bins = tuple((float(chances[p].mean()), float(happened[p].mean()), len(p)) for p in parts if len(p))
    return Reliability(bins, sum(n * abs(forecast - share) for forecast, share, n in bins) / len(chances))


def _rank(first: np.ndarray, second: np.ndarray) -> float:
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(stats.spearmanr(first, second).statistic)
