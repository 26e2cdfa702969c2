"""The fitted model of one tier of information, which predicts the course of a loop from features and the recursion."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from auditor.measures.real_part import LEVEL_SIZE
from auditor.risk.course import course_of
from auditor.risk.inputs import TIERS, ForecastInputs, features_of
from auditor.statistics.kernel_ridge import KernelRidge
from auditor.workflows import workflow_named

__all__ = ["OUTPUTS", "WIDEST", "TierModel", "prepared_for"]

OUTPUTS = ("frechet_level", "frechet_ratio", "diversity_ratio", "precision")  # the first three as logarithms
_LEVEL = 0  # position of frechet_level in OUTPUTS
_MARGIN = 0.1  # a feature may lie outside its range by this share of the range
_MISSING = 3  # most measures that may be missing
WIDEST = 10.0  # standard deviations beyond which a feature is cut
_AMOUNTS = np.arange(-18, 13) / 3  # amounts of fresh real data at which levels are compared: log2(n_real / n_initial)


@dataclass(frozen=True, slots=True)
class TierModel:
    """Fitted forecast model of one tier of available information."""

    names: tuple[str, ...]  # of the features
    centre: np.ndarray  # (p,)
    scale: np.ndarray  # (p,) the unit in which the distance of a feature counts
    regression: KernelRidge  # of (outputs · T) numbers, output by output: what the recursion does not explain
    chances: Mapping[str, np.ndarray]  # at, ever: coefficients (1 + B, 6) of the log odds, B of resampled families
    bands: Mapping[str, np.ndarray]  # by workflow class: half widths (outputs, T) that hold whole trajectories
    lowest: np.ndarray  # (p,) lowest value of each feature in the calibration, whatever the feature's weight
    highest: np.ndarray  # (p,) highest value
    reach: float  # distance to the nearest calibration row beyond which a forecast extrapolates
    skill: Mapping[str, Mapping[str, float]]  # by workflow class and "all": Brier skill and rank correlations

    def standardised(self, features: Mapping[str, float]) -> np.ndarray:
        """Standardised row of features (1, p); features that could not be measured get their average value."""
        row = (np.array([features[name] for name in self.names]) - self.centre) / self.scale
        return np.clip(np.where(np.isfinite(row), row, 0.0), -WIDEST, WIDEST)[None]

    def features(self, known: ForecastInputs, tier: str) -> dict[str, float]:
        """Features of a loop at one tier, keyed by name."""
        return prepared_for(self._filled(known), tier)[0]

    def beyond(self, features: Mapping[str, float]) -> str | None:
        """Message about a feature outside the calibration's range, or about missing features; None if all are fine."""
        values = np.array([features[name] for name in self.names])
        margin = _MARGIN * (self.highest - self.lowest)
        outside = (values < self.lowest - margin) | (values > self.highest + margin)
        for row in np.flatnonzero(outside):
            low, high = self.lowest[row], self.highest[row]
            return f"{self.names[row]} is {values[row]:.3g}, the calibration has {low:.3g} to {high:.3g}"
        missing = [name for name, value in zip(self.names, values, strict=True) if not math.isfinite(value)]
        if len(missing) > _MISSING:
            return f"{len(missing)} measures are missing ({', '.join(missing[:3])}, …): averages were used instead"
        return None

    def distance(self, row: np.ndarray) -> float:
        """Root mean squared distance from a feature row to the nearest row of the calibration."""
        return float(np.sqrt(((self.regression.rows - row) ** 2).mean(1).min()))

    def expected(self, known: Sequence[ForecastInputs], tier: str) -> np.ndarray:
        """Forecast outputs (m, outputs, T) of m loops; more fresh real data never raise the forecast Fréchet distance.

        The regression alone could forecast a larger Fréchet distance for more fresh real data. Therefore the forecast
        distance for an amount of fresh data is the regression's largest value over this and all larger amounts.
        According to theory, the Fréchet distance must fall with more fresh data (Alemohammad et al. 2024, the fresh
        data loop).
        """
        found = self._regressed(known, tier)
        for i, one in enumerate(known):
            if workflow_named(one.plan.workflow).real == "fresh":
                found[i, _LEVEL] = self._never_raised(one, tier)
        return found

    def at_fractions(self, known: ForecastInputs, tier: str, fractions: np.ndarray) -> np.ndarray:
        """Regression outputs (m, outputs, T) for one loop at each of m synthetic fractions."""
        asked = [replace(known, audit=replace(known.audit, fraction=float(f))) for f in fractions]
        return self._regressed(asked, tier)

    def _regressed(self, known: Sequence[ForecastInputs], tier: str) -> np.ndarray:
        prepared = [prepared_for(self._filled(one), tier) for one in known]
        rows = np.concatenate([self.standardised(inputs) for inputs, _ in prepared])
        left = self.regression.predict(rows).reshape(len(rows), len(OUTPUTS), -1)
        return left + np.stack([start for _, start in prepared])

    def _filled(self, known: ForecastInputs) -> ForecastInputs:
        """The inputs of a forecast; a missing distance scale (`floor`) is replaced with the calibration's average."""
        if math.isfinite(known.audit.floor):
            return known
        floor = float(np.exp(self.centre[self.names.index("log_floor")]))
        return replace(known, audit=replace(known.audit, floor=floor, floor_items=LEVEL_SIZE))

    def _never_raised(self, known: ForecastInputs, tier: str) -> np.ndarray:
        """Log Fréchet level (T,) for the plan's amount of fresh real data, interpolated on a grid of amounts.

        The Fréchet level at a grid amount is the regression's largest value over this and all larger amounts.
        """
        plan = known.plan
        n_initial, n_real, n_synthetic = plan.sizes
        grid = np.unique(np.round(n_initial * np.exp2(_AMOUNTS))).astype(int)
        grid = np.concatenate([[0], grid[grid > 0]]) if n_synthetic else grid[grid > 0]
        asked = [replace(known, plan=replace(plan, n_real=int(n))) for n in grid]
        highest = np.maximum.accumulate(self._regressed(asked, tier)[::-1, _LEVEL], axis=0)[::-1]
        places = np.log1p(grid)
        return np.array([np.interp(np.log1p(n_real), places, levels) for levels in highest.T])


def prepared_for(known: ForecastInputs, tier: str) -> tuple[dict[str, float], np.ndarray]:
    """The features of a tier, and the recursion's outputs (outputs, T), to which the regression adds a correction."""
    course = course_of(known, tier=tier)
    inputs = {
        **features_of(known, tier=tier),
        "recursion_level": float(course.level[-1]),
        "recursion_ratio": float(course.ratio[-1]),
        "recursion_variance": float(course.variance[-1]),
        "recursion_recall": float(course.recall[-1]),
        "recursion_first_level": float(course.level[0]),
    }
    precision = known.model.precision if known.model is not None and tier != TIERS[0] else known.audit.precision
    flat = np.zeros_like(course.level)
    start = [course.level, course.ratio, flat, flat + (precision if math.isfinite(precision) else 1.0)]
    return inputs, np.stack(start)
