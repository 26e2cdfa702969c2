"""Bounds from the real side: any shortfall of confidently real items must be synthetic."""

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
    """The shortfall v = 1 − F_U/q of incoming items under a threshold under which the share q of the real items lies.

    F_U is the share of the incoming items under the threshold. If all real items come from the reference's sources, the
    expectation of v is π(1 − ρ), where ρ q is the share of the synthetic items under the threshold: never more than π.
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
        """v."""
        return 1 - self.left

    @property
    def error(self) -> float:
        """Standard error of v, at least that of one item; if no item is under the threshold, one is assumed."""
        step = 1 / (self.n * self.share)
        return max(step, math.sqrt(self._variance(max(self.left, step))))

    def _variance(self, left: float) -> float:
        """Variance of v from the binomial errors of both counts; the threshold is a quantile of the real side."""
        odds = (1 - self.share) / self.share
        sampled = self.sampling * left * max(0.0, 1 - left) / self.n
        return odds * (left / self.n + left**2 / self.n_real) + left**2 * self.shift + sampled

    def lower(self, z: float) -> float:
        """Lower limit of v, at least 0, by inverting a two-sample score test with z standard errors.

        Under each hypothetical v the share of real items above the threshold is estimated from the set and the
        reference together. The plain standard error is too small when few real items lie above the threshold.
        """
        near, far = min(self.left, 1.0), 1.0
        if not self._rejects(far, z):
            return 0.0
        for _ in range(_HALVINGS):
            middle = (near + far) / 2
            near, far = (near, middle) if self._rejects(middle, z) else (middle, far)
        return 1 - far

    def _rejects(self, left: float, z: float) -> bool:
        """Whether the score test rejects this value of F_U/q."""
        above = self.n * (left - self.left * self.share) + self.n_real * (1 - self.share)
        tail = min(1.0, max(0.0, above / (self.n * left + self.n_real)))
        real = tail * (1 - tail) / self.share**2 * (left / self.n + left**2 / self.n_real)
        sampled = self.sampling * left * max(0.0, 1 - left) / self.n
        return (left - self.left) ** 2 > z**2 * (real + left**2 * self.shift + sampled)

    def upper(self, z: float) -> float:
        """Upper bound of π if no generator hides better than the known ones and `unseen`; 1 if everything may hide."""
        most = max(self.unseen, *self.hidden, 0.0)
        return min(1.0, (1 - self._least_left(min(self.left, 1.0), z)) / (1 - most)) if most < 1 else 1.0

    def upper_of_any_source(self, level: float, *, unseen: float) -> float:
        """Upper bound of π whatever real sources there are.

        Items of another real source may all lie under the threshold. Even then F_U ≤ 1 − π(1 − ρ q), because a share
        1 − ρ q of the synthetic items lies above it. `level` is that of the two-sided Wilson interval of F_U.
        """
        most = min(1.0, max(unseen, *self.hidden, 0.0) * self.share)
        left, _ = wilson_interval(min(1.0, self.left * self.share) * self.n, self.n, level=level)
        return min(1.0, (1 - left) / (1 - most)) if most < 1 else 1.0

    def noticed(self, z: float) -> float:
        """Share of an unseen generator at which v lies z standard errors above the v of a set without it, at most 1."""
        odds = (1 - self.share) / self.share
        error = math.sqrt(odds * (1 / self.n + 1 / self.n_real) + self.shift)
        return min(1.0, z * error / (1 - self.unseen)) if self.unseen < 1 else 1.0

    def _least_left(self, left: float, z: float) -> float:
        """Lower root of (x − left)² = z² variance(x): the lower end of an interval by inversion, like Wilson's."""
        odds = (1 - self.share) / self.share
        linear = z**2 * (odds + self.sampling) / self.n
        square = z**2 * (odds / self.n_real + self.shift - self.sampling / self.n)
        a, b, c = 1 - square, -2 * left - linear, left**2
        return (-b - math.sqrt(max(0.0, b * b - 4 * a * c))) / (2 * a)


def anchors_of_contrast(
    contrast: Contrast, composition: Composition, unseen: np.ndarray, *, sampling: float
) -> dict[float, Anchor]:
    """Anchors by share of the real items, from a classifier trained for this set.

    `unseen` (4,) is the share of an unseen generator's items that may hide at each threshold. `sampling` is the weight
    of the sampling of real and synthetic items in the variance: 0 if the incoming items are the whole set, 1 if they
    are a small sample of what the answer is about.
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
    """Quantiles of parts mixed in these shares; for one part, they equal NumPy's quantiles (linear interpolation)."""
    values = np.concatenate([part for part, share in zip(parts, shares, strict=True) if share > 0])
    weights = np.concatenate([np.full(len(p), s / len(p)) for p, s in zip(parts, shares, strict=True) if s > 0])
    order = np.argsort(values, kind="stable")
    weights = weights[order]
    positions = (np.cumsum(weights) - weights) / (weights.sum() - weights[-1])
    return np.interp(levels, positions, values[order])


def anchors_of_counts(
    calibration: Calibration, observed: ScoreCounts, composition: Composition, unseen: np.ndarray, *, sampling: float
) -> dict[float, Anchor]:
    """Anchors by share of the real items, from the histograms of the reference's own detector, at the nearest edges."""
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
    """The anchor at a threshold under which these shares of the components (m + K,) and of the incoming items lie."""
    m = len(composition.real)
    share = float(composition.real @ below[:m])
    known = below[m:]
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
    """The smallest share of an unseen generator that raises the real side's low end above 0 in four sets of five.

    The second number is how much of that generator may look real, at the threshold that notices the smallest share. The
    first number is 1 if no share is noticed.
    """
    z = float(stats.norm.ppf((1 + level) / 2) + stats.norm.ppf(_POWER))
    return min(((anchor.noticed(z), anchor.unseen) for anchor in anchors.values()), default=(1.0, 1.0))


def unseen_guard(anchors: Mapping[float, Anchor], *, level: float) -> float:
    """Upper bound of π that also allows for generators that the reference lacks: the tightest of three bounds.

    Holds if no unseen generator hides more than the known ones and `Anchor.unseen`.
    """
    z = float(stats.norm.ppf(level))
    return min(anchors[q].upper(z) for q in _DENSE)


def any_source_limit(anchors: Mapping[float, Anchor], *, level: float, allow_unseen: bool) -> float:
    """Upper bound of π if another real source may be present, and unknown generators too with `allow_unseen`."""
    each = 1 - (1 - level) / _BOUNDS
    return min(
        (
            anchor.upper_of_any_source(each, unseen=anchor.unseen if allow_unseen else 0.0)
            for anchor in anchors.values()
        ),
        default=1.0,
    )


def real_side_bound(anchors: Mapping[float, Anchor], *, level: float) -> float:
    """Lower bound of π, whatever the generator, if all real items come from the reference's sources."""
    z = float(stats.norm.ppf(1 - (1 - level) / 2 / _BOUNDS))
    return max(0.0, *(anchor.lower(z) for anchor in anchors.values()))


def real_side_estimate(anchors: Mapping[float, Anchor]) -> float:
    """π, corrected for items that hide: the mean of two corrections, by the known generators and by the trend of v."""
    return (_as_known(anchors) + _by_trend(anchors)) / 2 if anchors[0.5].hidden else _by_trend(anchors)


def real_side_limit(anchors: Mapping[float, Anchor], *, level: float) -> float:
    """Upper bound of π: the larger of one that assumes unseen generators hide like the known, and one by the trend."""
    z = float(stats.norm.ppf((1 + level) / 2))
    by_trend = _by_trend(anchors) + z * anchors[0.5].error + _HIDDEN
    as_known = (anchors[0.5].upper(z) + anchors[0.7].upper(z)) / 2
    return min(1.0, max(by_trend, as_known))


def _as_known(anchors: Mapping[float, Anchor]) -> float:
    """v/(1 − ρ) with the known generators' mean ρ, at two thresholds, weighted by precision."""
    seen = [max(1 - anchors[q].mean_hidden, 0.1) for q in (0.5, 0.7)]
    weights = [(s / anchors[q].error) ** 2 for s, q in zip(seen, (0.5, 0.7), strict=True)]
    values = [anchors[q].missing / s for s, q in zip(seen, (0.5, 0.7), strict=True)]
    return float(np.clip(np.average(values, weights=weights), 0, 1))


def _by_trend(anchors: Mapping[float, Anchor]) -> float:
    """v extrapolated to where nothing hides: between two thresholds, v rises by what hides between these thresholds."""
    at_half, at_most, top = (anchors[q].missing for q in (0.5, 0.7, 0.85))
    estimates = [at_half + max(0.0, at_half - top) / 2, at_most + max(0.0, at_most - top)]
    return float(np.clip(np.mean(estimates), 0, 1))
