"""Synthetic fraction of a set from a few error-prone human labels, by inverting a likelihood-ratio test."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from auditor.statistics.intervals import Measure
from indexes.errors import InputError

__all__ = ["FEWEST_LABELS", "ErrorCounts", "LabelCounts", "LabelledFraction", "estimate_with_labels", "tails"]

FEWEST_LABELS = 10  # answers on items of the set; fewer give no estimate
_DRAWS = 1000  # simulated labellings at each fraction that is tested
_GRIDS = (9, *[3] * 6)  # fractions tried in each successive search for an end of the interval
_PLAIN = 5.0  # root of the likelihood ratio beyond which no draws are needed to reject
_STEPS, _PLUGIN_STEPS, _POINT_STEPS = 12, 60, 300  # of expectation maximisation: in a draw, for its law, for the answer
_IMAGINED = (0.02, 1.0)  # right and wrong answers added to the known ones for the law: hardly any, or one of each
_SLIGHT = 0.1  # right and wrong answers added to the known ones within the statistic
_NEARLY_NONE = 1e-3  # synthetic and real items added to every stratum, so that no share is stuck at 0 or 1
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """Counts of a labeller's answers on items of one known origin."""

    answered: int = 0
    wrong: int = 0


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """A labeller's answers on the items drawn from each stratum and on items of known origin."""

    sizes: np.ndarray  # (H,) int64, items of the set
    answered: np.ndarray  # (H,) int64, items labelled real or synthetic
    synthetic: np.ndarray  # (H,) int64, items labelled synthetic
    real: ErrorCounts = ErrorCounts()
    generated: ErrorCounts = ErrorCounts()

    def __post_init__(self) -> None:
        ordered = (self.synthetic <= self.answered).all() and (self.answered <= self.sizes).all()
        if not (ordered and (self.synthetic >= 0).all()):
            raise InputError(
                "a stratum has more synthetic labels than answers, or more answers than items: check the counts"
            )
        if any(not 0 <= t.wrong <= t.answered for t in (self.real, self.generated)):
            raise InputError(
                "the number of wrong answers must lie between 0 and the number of answers on known items: check "
                "the counts"
            )

    @property
    def weights(self) -> np.ndarray:
        """Share of each stratum in the set, (H,)."""
        shares: np.ndarray = self.sizes / self.sizes.sum()
        return shares

    def pooled(self) -> "LabelCounts":
        """Counts after each stratum without answers is merged into the previous stratum, or else into the next one."""
        group = np.maximum(np.cumsum(self.answered > 0) - 1, 0)
        sizes, answered, synthetic = (
            np.bincount(group, weights=c).astype(np.int64) for c in (self.sizes, self.answered, self.synthetic)
        )
        return LabelCounts(sizes, answered, synthetic, self.real, self.generated)


@dataclass(frozen=True, slots=True)
class LabelledFraction:
    """Synthetic fraction of a set, and the labeller's error rates on real and on synthetic items."""

    fraction: Measure
    error_on_real: Measure  # e0 = P(says synthetic | real)
    error_on_synthetic: Measure  # e1 = P(says real | synthetic)


@dataclass(frozen=True, slots=True)
class _Labels:
    """Counts of many labellings (observed or simulated) of the same review, one labelling per row."""

    design: LabelCounts
    synthetic: np.ndarray  # (r, H) float64, items labelled synthetic
    wrong0: np.ndarray  # (r, 1) float64, wrong answers on real known items
    wrong1: np.ndarray  # (r, 1) float64, wrong answers on synthetic known items


@dataclass(frozen=True, slots=True)
class _Law:
    """Parameters of the probability distribution of labels, one set of parameters per row."""

    shares: np.ndarray  # (r, H), shares of synthetic items in each stratum
    error0: np.ndarray  # (r, 1), P(labelled synthetic | real)
    error1: np.ndarray  # (r, 1), P(labelled real | synthetic)


def estimate_with_labels(
    counts: LabelCounts, *, rng: np.random.Generator, level: float = 0.95, is_sample: bool = False
) -> LabelledFraction:
    """Estimate the synthetic fraction of all items in the strata, corrected for the labeller's errors.

    The estimate is the maximum-likelihood estimate. In each stratum, the estimate equals the Rogan–Gladen estimate
    (1978) if the latter lies in [0, 1]. The interval contains every fraction that the test in `tails` does not reject.
    Without answers on items of known origin, all labels are assumed to be correct. If all items of known origin have
    the same origin, the error rate on the other origin is unknown and one end of the interval is 0 or 1. `is_sample`
    means that the set is a random sample of a larger set. Raises InputError for too few answers.
    """
    n = int(counts.answered.sum())
    if n < FEWEST_LABELS:
        raise InputError(
            f"{n} items of the set are labelled real or synthetic, expected at least {FEWEST_LABELS}: label more items"
        )
    errors = [_error_rate(t, level) for t in (counts.real, counts.generated)]
    if sum(e.estimate for e in errors if e.n) >= 1:
        reason = "the labels of known items are no better than chance, so the labels of the other items tell nothing"
        return LabelledFraction(Measure(math.nan, low=0.0, high=1.0, n=n, reason=reason), *errors)
    counts, key, tail = counts.pooled(), int(rng.integers(2**63)), (1 - level) / 2
    value = float(_free(_observed(counts), _POINT_STEPS).shares[0] @ counts.weights)

    def rejects(fraction: float) -> np.ndarray:  # as too low, as too high
        return np.array(tails(counts, fraction, rng=np.random.default_rng(key), is_sample=is_sample))[::-1] <= tail

    low = _end(lambda f: not rejects(f)[0], value, 0.0)
    high = _end(lambda f: not rejects(f)[1], value, 1.0)
    if is_sample:
        z, items = float(stats.norm.ppf(1 - tail)), int(counts.sizes.sum())
        low, high = (_widened(end, value, z * math.sqrt(end * (1 - end) / items)) for end in (low, high))
    return LabelledFraction(_without_unknown_end(Measure(value, low=low, high=high, n=n), counts), *errors)


def _without_unknown_end(fraction: Measure, counts: LabelCounts) -> Measure:
    """The fraction; the upper end is 1 if only real known items were labelled, the lower end 0 if only synthetic."""
    if bool(counts.real.answered) == bool(counts.generated.answered):
        return fraction
    if counts.real.answered:
        reason = "items of known synthetic origin were not labelled: those labelled real may be synthetic"
        return Measure(math.nan, low=fraction.low, high=1.0, n=fraction.n, reason=reason)
    reason = "items of known real origin were not labelled: those labelled synthetic may be real"
    return Measure(math.nan, low=0.0, high=fraction.high, n=fraction.n, reason=reason)


def tails(
    counts: LabelCounts, fraction: float, *, rng: np.random.Generator, is_sample: bool = False
) -> tuple[float, float]:
    """P(r ≤ observed) and P(r ≥ observed) under a fraction, where r is the signed root of the likelihood ratio.

    The distribution of r is simulated with the stratum shares and error rates that are most likely under the fraction
    (hybrid resampling, Chuang & Lai 2000). Each simulation draws items, without replacement unless the set is itself a
    sample, and the labeller's errors. The labels of items of known origin determine the labeller's error rates only
    approximately. Therefore each tail probability is the larger of two simulated values: one with nearly the observed
    error rates, one with error rates moved towards one half.
    """
    observed = _observed(counts)
    found, both = _signed_root(observed, fraction)[0], []
    if abs(found) > _PLAIN:
        return float(found > 0), float(found < 0)
    for imagined in _IMAGINED if counts.real.answered or counts.generated.answered else _IMAGINED[:1]:
        law = _held(observed, fraction, _PLUGIN_STEPS, imagined)
        drawn = _signed_root(_redrawn(counts, law, rng, is_sample), fraction)
        both.append(((drawn <= found + 1e-6).mean(), (drawn >= found - 1e-6).mean()))
    below, above = np.max(both, axis=0)
    return float(below), float(above)


def _end(is_accepted: Callable[[float], bool], inside: float, outermost: float) -> float:
    """An end of the interval, searched from outside: the last rejected fraction before the first accepted fraction."""
    near, far = inside, outermost
    for size in _GRIDS:
        grid = np.linspace(far, near, size)
        first = next((i for i in range(size - 1) if is_accepted(float(grid[i]))), size - 1)
        if first == 0:
            return far
        far, near = float(grid[first - 1]), float(grid[first])
    return far


def _widened(end: float, value: float, margin: float) -> float:
    return float(np.clip(value + math.copysign(math.hypot(end - value, margin), end - value), 0, 1))


def _error_rate(tally: ErrorCounts, level: float) -> Measure:
    """An error rate with its Jeffreys interval (Brown, Cai & DasGupta 2001)."""
    if tally.answered == 0:
        return Measure(math.nan, reason="no item of known origin was labelled")
    k, n, tail = tally.wrong, tally.answered, (1 - level) / 2
    low, high = stats.beta.ppf([tail, 1 - tail], k + 0.5, n - k + 0.5)
    return Measure(k / n, low=0.0 if k == 0 else float(low), high=1.0 if k == n else float(high), n=n)


def _observed(counts: LabelCounts) -> _Labels:
    known = [np.array([[float(t.wrong)]]) for t in (counts.real, counts.generated)]
    return _Labels(counts, counts.synthetic[None].astype(np.float64), *known)


def _redrawn(counts: LabelCounts, law: _Law, rng: np.random.Generator, is_sample: bool) -> _Labels:
    """Simulate labels: draw items, without replacement unless the set is a sample, then draw the labeller's errors."""
    sizes, n = counts.sizes, counts.answered
    rounded = np.floor(law.shares * sizes + rng.random((_DRAWS, len(sizes))) + 1e-12).astype(np.int64)
    inside = np.minimum(rounded, sizes)  # synthetic items of each stratum, fractions rounded at random
    if is_sample:
        taken = rng.binomial(n, np.clip(law.shares, 0, 1), size=inside.shape)
    else:
        taken = _without_replacement(inside, sizes - inside, n, rng)
    synthetic = rng.binomial(taken, 1 - law.error1) + rng.binomial(n - taken, law.error0)
    wrong0 = rng.binomial(counts.real.answered, law.error0, size=(_DRAWS, 1))
    wrong1 = rng.binomial(counts.generated.answered, law.error1, size=(_DRAWS, 1))
    return _Labels(counts, synthetic.astype(np.float64), wrong0.astype(np.float64), wrong1.astype(np.float64))


def _without_replacement(good: np.ndarray, bad: np.ndarray, n: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hypergeometric counts, or binomial counts in strata too large for NumPy, where both differ by less than 10⁻⁶."""
    is_huge = good + bad > 10**8
    exact = rng.hypergeometric(np.where(is_huge, n, good), np.where(is_huge, n, bad), n)
    return np.where(is_huge, rng.binomial(n, good / (good + bad)), exact)


def _signed_root(labels: _Labels, fraction: float) -> np.ndarray:
    """Signed root r (rows,) of twice the log likelihood ratio, negative where the estimate is below `fraction`.

    The maxima of the likelihood, with and without the given fraction, are approximated with a fixed number of steps.
    Therefore the signed root r is approximate, but the distribution of r is simulated with the same approximation.
    """
    held = _held(labels, fraction, _STEPS, _SLIGHT)
    inward = _Law(*(np.clip(part, 0.005, 0.995) * (part.max() > 0) for part in (held.shares, held.error0, held.error1)))
    free = [_free(labels, _STEPS, start) for start in (inward, None)]
    found = np.stack([_log_likelihood(labels, law) for law in free])
    best = np.stack([law.shares @ labels.design.weights for law in free])
    value = np.where(found[0] > found[1], best[0], best[1])
    root = np.sqrt(2 * np.maximum(found.max(0) - _log_likelihood(labels, held), 0))
    return np.where(value >= fraction, root, -root)


def _log_likelihood(labels: _Labels, law: _Law) -> np.ndarray:
    """Log likelihood of each row of labels, up to a constant, (rows,)."""
    says = law.shares * (1 - law.error1) + (1 - law.shares) * law.error0  # P(labelled synthetic), by stratum
    total: np.ndarray = _binomial(labels.synthetic, labels.design.answered, says).sum(1)
    known = ((labels.design.real, labels.wrong0, law.error0), (labels.design.generated, labels.wrong1, law.error1))
    for tally, wrong, error in known:
        if tally.answered:
            total = total + _binomial(wrong + _SLIGHT, tally.answered + 2 * _SLIGHT, error)[:, 0]
    return total


def _binomial(hits: np.ndarray, n: np.ndarray | float, p: np.ndarray) -> np.ndarray:
    return hits * np.log(np.maximum(p, _TINY)) + (n - hits) * np.log(np.maximum(1 - p, _TINY))


def _free(labels: _Labels, steps: int, start: _Law | None = None) -> _Law:
    """Maximum-likelihood parameters, by expectation maximisation over the items' unknown origins."""
    law = start or _first_law(labels, (labels.synthetic + 0.5) / (labels.design.answered + 1))
    for _ in range(steps):
        law, synthetic = _updated_errors(labels, law, _SLIGHT)
        law = replace(law, shares=synthetic / labels.design.answered)
    return law


def _held(labels: _Labels, fraction: float, steps: int, imagined: float) -> _Law:
    """Maximum-likelihood parameters under the constraint that `fraction` of the set is synthetic."""
    law = _first_law(labels, np.full(labels.synthetic.shape, fraction))
    for _ in range(steps):
        law, synthetic = _updated_errors(labels, law, imagined)
        if 0 < fraction < 1:
            shares = _shares_at(fraction, synthetic, labels.design.answered - synthetic, labels.design.weights)
            law = replace(law, shares=shares)
    return law


def _first_law(labels: _Labels, shares: np.ndarray) -> _Law:
    def first(tally: ErrorCounts, wrong: np.ndarray) -> np.ndarray:
        return (wrong + 0.5) / (tally.answered + 1) if tally.answered else np.zeros_like(wrong)

    design = labels.design
    return _Law(shares, first(design.real, labels.wrong0), first(design.generated, labels.wrong1))


def _updated_errors(labels: _Labels, law: _Law, imagined: float) -> tuple[_Law, np.ndarray]:
    """Parameters with updated error rates, and expected numbers of synthetic labelled items per stratum, (rows, H)."""
    design, p, e0, e1 = labels.design, law.shares, law.error0, law.error1
    hits = labels.synthetic * _ratio(p * (1 - e1), (1 - p) * e0)  # synthetic among those labelled so
    misses = (design.answered - labels.synthetic) * _ratio(p * e1, (1 - p) * (1 - e0))  # among those labelled real
    synthetic = hits + misses
    if tally := design.real.answered:
        wrong, of = (labels.synthetic - hits).sum(1, keepdims=True), (design.answered - synthetic).sum(1, keepdims=True)
        e0 = (labels.wrong0 + imagined + wrong) / (tally + 2 * imagined + of)
    if tally := design.generated.answered:
        wrong, of = misses.sum(1, keepdims=True), synthetic.sum(1, keepdims=True)
        e1 = (labels.wrong1 + imagined + wrong) / (tally + 2 * imagined + of)
    return _Law(p, e0, e1), synthetic


def _ratio(part: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The quotient part / (part + rest), or 0 where both numbers are 0."""
    share: np.ndarray = part / np.maximum(part + rest, np.finfo(np.float64).tiny)
    return share


def _shares_at(fraction: float, synthetic: np.ndarray, real: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Stratum shares p (rows, H) that maximise Σ synthetic·log p + real·log(1 − p) with Σ weights·p = fraction.

    For a Lagrange multiplier λ, each share p solves synthetic/p − real/(1 − p) = λ·weight. The sum Σ weights·p
    decreases in λ, so λ is found by bisection.
    """
    a, b = synthetic + _NEARLY_NONE, real + _NEARLY_NONE
    scale = ((a + b) / weights).max(1, keepdims=True)
    low = np.full((len(a), 1), -12.0)
    high = -low
    for _ in range(18):
        middle = (low + high) / 2
        tilt = scale * np.sinh(middle) * weights
        total = a + b + tilt
        p = 2 * a / (total + np.sqrt(np.maximum(total**2 - 4 * tilt * a, 0)))
        is_above = (p @ weights)[:, None] > fraction
        low, high = np.where(is_above, middle, low), np.where(is_above, high, middle)
    return np.clip(p, 0, 1)
