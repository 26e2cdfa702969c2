"""Bounds of the synthetic fraction: a shortfall of items that look confidently real must be due to synthetic items."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from auditor.evidence.calibration import Calibration, ScoreCounts
from auditor.fraction.composition import Composition
from auditor.fraction.set_classifier import Contrast
from auditor.fraction.unseen_generators import SHARES
from auditor.statistics.intervals import wilson_interval

__all__ = [
    "Anchor",
    "anchors_of_contrast",
    "anchors_of_counts",
    "any_source_limit",
    "real_side_bound",
    "real_side_estimate",
    "real_side_limit",
    "smallest_noticed",
    "unseen_guard",
]

_DENSE = (0.5, 0.7, 0.85)  # shares q at which synthetic items that look real are still told from real items
_BOUNDS = 4  # number of bounds, of which the best is used
_HALVINGS = 40  # bisection steps to find a limit
_POWER = 0.8  # probability of noticing the smallest share that counts as noticed
_HIDDEN = 0.01  # share of an unseen generator's items that may look confidently real at any threshold


@dataclass(frozen=True, slots=True)
class Anchor:
    """Shortfall v = 1 − F_U/q of audited items below a score threshold; the share q of the real items lies below it.

    F_U is the share of the audited items below the score threshold, and ρ q is the share of the synthetic items below
    the threshold. If all real items come from the reference's sources, the expected shortfall v is π(1 − ρ), which
    never exceeds the synthetic fraction π.
    """

    share: float  # q
    left: float  # F_U/q
    hidden: tuple[float, ...]  # ρ of each known generator, with a standard error added
    unseen: float  # ρ that an unseen generator may have
    mean_hidden: float  # mean ρ
    n: float  # incoming items, copies counted as one
    n_real: float  # effective number of real items in the reference
    sampling: float  # weight of the sampling of real and synthetic items in the variance
    shift: float = 0.0  # relative variance of q from not knowing the shares of several real sources

    @property
    def missing(self) -> float:
        """The shortfall 1 − F_U/q of items that look real."""
        return 1 - self.left

    @property
    def error(self) -> float:
        """Standard error of the shortfall v, at least that of one item.

        At least one item is assumed to lie below the score threshold.
        """
        step = 1 / (self.n * self.share)
        return max(step, math.sqrt(self._variance(max(self.left, step))))

    def _variance(self, left: float) -> float:
        """Variance of the shortfall v from the binomial errors of set and reference; the threshold is a quantile."""
        odds = (1 - self.share) / self.share
        sampled = self.sampling * left * max(0.0, 1 - left) / self.n
        return odds * (left / self.n + left**2 / self.n_real) + left**2 * self.shift + sampled

    def lower(self, z: float) -> float:
        """Lower limit of the shortfall v, at least 0, from inverting a two-sample score test with z standard errors.

        For each hypothetical shortfall v, the share of real items that score above the threshold is estimated from the
        set and the reference together. The plain standard error of v is too small when few real items lie above the
        threshold.
        """
        near, far = min(self.left, 1.0), 1.0
        if not self._rejects(far, z):
            return 0.0
        for _ in range(_HALVINGS):
            middle = (near + far) / 2
            near, far = (near, middle) if self._rejects(middle, z) else (middle, far)
        return 1 - far

    def _rejects(self, left: float, z: float) -> bool:
        """Whether the score test rejects `left` as the ratio of audited to real shares of items below the threshold."""
        above = self.n * (left - self.left * self.share) + self.n_real * (1 - self.share)
        tail = min(1.0, max(0.0, above / (self.n * left + self.n_real)))
        real = tail * (1 - tail) / self.share**2 * (left / self.n + left**2 / self.n_real)
        sampled = self.sampling * left * max(0.0, 1 - left) / self.n
        return (left - self.left) ** 2 > z**2 * (real + left**2 * self.shift + sampled)

    def upper(self, z: float) -> float:
        """Upper bound of the synthetic fraction if unseen generators look real at most as often as known ones.

        The share `unseen` of an unseen generator's items may look real, even if no known generator reaches that share.
        The bound is 1 if all items of a generator may look real.
        """
        most = max(self.unseen, *self.hidden, 0.0)
        return min(1.0, (1 - self._least_left(min(self.left, 1.0), z)) / (1 - most)) if most < 1 else 1.0

    def upper_of_any_source(self, level: float, *, unseen: float) -> float:
        """Upper bound of the synthetic fraction π, valid even if real items come from sources outside the reference.

        All items of a real source outside the reference may lie below the score threshold. Even then the share F_U of
        audited items below the threshold is at most 1 − π(1 − ρ q), because the share 1 − ρ q of the synthetic items
        lies above the threshold. `level` is the confidence level of the two-sided Wilson interval of F_U.
        """
        most = min(1.0, max(unseen, *self.hidden, 0.0) * self.share)
        left, _ = wilson_interval(min(1.0, self.left * self.share) * self.n, self.n, level=level)
        return min(1.0, (1 - left) / (1 - most)) if most < 1 else 1.0

    def noticed(self, z: float) -> float:
        """Share of a set, made by an unseen generator, that raises the shortfall v by z standard errors; at most 1."""
        odds = (1 - self.share) / self.share
        error = math.sqrt(odds * (1 / self.n + 1 / self.n_real) + self.shift)
        return min(1.0, z * error / (1 - self.unseen)) if self.unseen < 1 else 1.0

    def _least_left(self, left: float, z: float) -> float:
        """Lower confidence limit of `left`, as in Wilson's interval: lower root x of (x − left)² = z² variance(x)."""
        odds = (1 - self.share) / self.share
        linear = z**2 * (odds + self.sampling) / self.n
        square = z**2 * (odds / self.n_real + self.shift - self.sampling / self.n)
        a, b, c = 1 - square, -2 * left - linear, left**2
        return (-b - math.sqrt(max(0.0, b * b - 4 * a * c))) / (2 * a)


def anchors_of_contrast(
    contrast: Contrast, composition: Composition, unseen: np.ndarray, *, sampling: float
) -> dict[float, Anchor]:
    """Shortfall at the score threshold for each share q of real items below it; scores from this set's classifier.

    `unseen` (4,) is the share of an unseen generator's items that may look real at each threshold. `sampling` is the
    weight of the variance from drawing the items out of a larger set: 0 if the audited items are the whole set, 1 if
    they are a small sample of it.
    """
    thresholds = _quantiles(contrast.real, composition.real, SHARES)
    anchors = {}
    for wanted, threshold, may_hide in zip(SHARES, thresholds, unseen.tolist(), strict=True):
        below = [float((scores <= threshold).mean()) for scores in (*contrast.real, *contrast.known)]
        incoming = float((contrast.incoming <= threshold).mean())
        anchors[wanted] = _anchor(
            np.array(below), contrast.sizes, incoming, contrast.effective_n, composition, may_hide, sampling
        )
    return anchors


def _quantiles(parts: Sequence[np.ndarray], shares: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Quantiles of a mixture of samples with these shares; for one sample, as NumPy's with linear interpolation."""
    values = np.concatenate([part for part, share in zip(parts, shares, strict=True) if share > 0])
    weights = np.concatenate([np.full(len(p), s / len(p)) for p, s in zip(parts, shares, strict=True) if s > 0])
    order = np.argsort(values, kind="stable")
    weights = weights[order]
    positions = (np.cumsum(weights) - weights) / (weights.sum() - weights[-1])
    return np.interp(levels, positions, values[order])


def anchors_of_counts(
    calibration: Calibration, observed: ScoreCounts, composition: Composition, unseen: np.ndarray, *, sampling: float
) -> dict[float, Anchor]:
    """Shortfall at the bin edge of the score histograms that is nearest to each share q of real items below it."""
    below, incoming = np.cumsum(calibration.densities, axis=1), np.cumsum(observed.histogram) / observed.n
    real = composition.real @ below[: calibration.n_real]
    filled = np.flatnonzero(real > 0)
    anchors = {}
    for wanted, may_hide in zip(SHARES, unseen.tolist(), strict=True):
        t = int(filled[np.argmin(np.abs(real[filled] - wanted))])
        anchors[wanted] = _anchor(
            below[:, t], calibration.sizes, float(incoming[t]), observed.n, composition, may_hide, sampling
        )
    return anchors


def _anchor(
    below: np.ndarray,
    sizes: np.ndarray,
    incoming: float,
    n: float,
    composition: Composition,
    unseen: float,
    sampling: float,
) -> Anchor:
    """Shortfall at a threshold; the shares `below` (m + K,) of components and `incoming` of the set lie below it."""
    m = len(composition.real)
    share = float(composition.real @ below[:m])
    known = np.minimum(below[m:], 1.0)  # cumulative sums may exceed 1 by rounding
    hidden = tuple(((known + np.sqrt(known * (1 - known) / sizes[m:])) / share).tolist())
    return Anchor(
        share=share,
        left=incoming / share,
        hidden=hidden,
        unseen=unseen,
        mean_hidden=float(known.mean()) / share if len(known) else 0.0,
        n=n,
        n_real=1 / float(composition.real**2 @ (1 / sizes[:m])),
        sampling=sampling,
        shift=float((composition.real_draws @ below[:m]).var()) / share**2,
    )


def smallest_noticed(anchors: Mapping[float, Anchor], *, level: float) -> tuple[float, float]:
    """Smallest share of a set, made by an unseen generator, that raises `real_side_bound` above 0 in four of five sets.

    The second number of the result is the share of an unseen generator's items that may look real at the most sensitive
    threshold. The first number of the result is 1 if no share of an unseen generator can be detected.
    """
    z = float(stats.norm.ppf((1 + level) / 2) + stats.norm.ppf(_POWER))
    return min(((anchor.noticed(z), anchor.unseen) for anchor in anchors.values()), default=(1.0, 1.0))


def unseen_guard(anchors: Mapping[float, Anchor], *, level: float) -> float:
    """Upper bound of the synthetic fraction π that allows for unseen generators: the tightest of three bounds.

    The bound is valid if the items of unseen generators look real at most as often as those of known generators or as
    `Anchor.unseen`.
    """
    z = float(stats.norm.ppf(level))
    return min(anchors[q].upper(z) for q in _DENSE)


def any_source_limit(anchors: Mapping[float, Anchor], *, level: float, allow_unseen: bool) -> float:
    """Upper bound of the synthetic fraction for any real sources and, with `allow_unseen`, for unknown generators."""
    each = 1 - (1 - level) / _BOUNDS
    return min(
        (
            anchor.upper_of_any_source(each, unseen=anchor.unseen if allow_unseen else 0.0)
            for anchor in anchors.values()
        ),
        default=1.0,
    )


def real_side_bound(anchors: Mapping[float, Anchor], *, level: float) -> float:
    """Lower bound of the synthetic fraction for any generators, if the reference has all sources of real items."""
    z = float(stats.norm.ppf(1 - (1 - level) / 2 / _BOUNDS))
    return max(0.0, *(anchor.lower(z) for anchor in anchors.values()))


def real_side_estimate(anchors: Mapping[float, Anchor]) -> float:
    """Synthetic fraction, corrected for synthetic items that look real: the mean of `_as_known` and `_by_trend`."""
    return (_as_known(anchors) + _by_trend(anchors)) / 2 if anchors[0.5].hidden else _by_trend(anchors)


def real_side_limit(anchors: Mapping[float, Anchor], *, level: float) -> float:
    """Upper bound of the synthetic fraction: the larger bound of known generators and the trend over thresholds."""
    z = float(stats.norm.ppf((1 + level) / 2))
    by_trend = _by_trend(anchors) + z * anchors[0.5].error + _HIDDEN
    as_known = (anchors[0.5].upper(z) + anchors[0.7].upper(z)) / 2
    return min(1.0, max(by_trend, as_known))


def _as_known(anchors: Mapping[float, Anchor]) -> float:
    """Synthetic fraction v/(1 − ρ) from the shortfall v and the known generators' mean share ρ that looks real.

    The values at two thresholds are averaged, weighted by precision.
    """
    seen = [max(1 - anchors[q].mean_hidden, 0.1) for q in (0.5, 0.7)]
    weights = [(s / anchors[q].error) ** 2 for s, q in zip(seen, (0.5, 0.7), strict=True)]
    values = [anchors[q].missing / s for s, q in zip(seen, (0.5, 0.7), strict=True)]
    return float(np.clip(np.average(values, weights=weights), 0, 1))


def _by_trend(anchors: Mapping[float, Anchor]) -> float:
    """Synthetic fraction by extrapolation of the shortfall v to a threshold below which no synthetic items lie.

    From a higher to a lower threshold, v rises by the share of synthetic items that lie between the two thresholds.
    """
    at_half, at_most, top = (anchors[q].missing for q in (0.5, 0.7, 0.85))
    estimates = [at_half + max(0.0, at_half - top) / 2, at_most + max(0.0, at_most - top)]
    return float(np.clip(np.mean(estimates), 0, 1))
