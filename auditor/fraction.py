"""The synthetic fraction of a set: corrected counts, a histogram mixture, and an interval from both sides' counts."""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, special, stats

from auditor.calibration import Calibration, ScoreCounts
from auditor.intervals import Measure, fieller
from auditor.moments import Moments

__all__ = [
    "FractionEstimate",
    "estimate_fraction",
    "fit_p_value",
    "generator_weights",
    "histogram_mixture",
    "probabilistic_adjusted_count",
    "real_side_bound",
    "unseen_guard",
]

MINIMUM_SEPARATION = 0.25  # total variation below which scores cannot tell real from synthetic
FIT_LEVEL = 0.005  # p-value under which the incoming scores are no mixture of the reference's components
_WEIGHT_DRAWS = 200
_FIT_DRAWS = 999


@dataclass(frozen=True, slots=True)
class FractionEstimate:
    """The synthetic fraction among the items of one set, or why it cannot be told."""

    estimate: float  # nan unless determined
    low: float
    high: float
    level: float
    status: str  # determined | bounds | undetermined
    method: str
    reason: str | None
    by_generator: dict[str, Measure]
    if_reference_matches: Measure  # given that every real item comes from the reference's sources
    estimators: dict[str, float]  # point estimates of each method
    fit_p_value: float
    separation: float
    n: int


def estimate_fraction(
    calibration: Calibration,
    observed: ScoreCounts,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    is_sample: bool = False,
    assume_reference_complete: bool = False,
    assume_generators_complete: bool = False,
) -> FractionEstimate:
    """The fraction of synthetic items among the items counted in `observed`.

    The interval accounts for the incoming scores and for the reference's own. It concerns this set and no larger
    population unless `is_sample`. Its upper end allows for an unseen generator, unless the generators are declared
    complete; scores that are no mixture of the reference's components make the answer undetermined. Costs the same at
    any n.
    """
    if len(calibration.components) == 1:
        return _no_generators(observed.n, level)
    weights, weight_draws = generator_weights(calibration, observed, rng=rng)
    known = _known_fit(calibration, observed, weights, weight_draws, level=level, is_sample=is_sample)
    guarded = known
    if not assume_generators_complete:
        guarded = replace(
            known, high=max(known.high, unseen_guard(calibration, observed, level=level, is_sample=is_sample))
        )
    answer = FractionEstimate(
        estimate=known.value,
        low=guarded.low,
        high=guarded.high,
        level=level,
        status="determined",
        method="score-weighted-count",
        reason=None,
        by_generator=_by_generator(calibration.labels[1:], known, weights, weight_draws, level),
        if_reference_matches=guarded,
        estimators={
            "adjusted-count": probabilistic_adjusted_count(calibration, observed, weights),
            "histogram-mixture": histogram_mixture(calibration, observed, weights),
            "score-weighted-count": known.value,
        },
        fit_p_value=fit_p_value(calibration, observed, weights, rng=rng),
        separation=calibration.separation,
        n=observed.n,
    )
    return _withheld_where_unsure(answer, known, calibration, observed, assume_reference_complete)


def _withheld_where_unsure(
    answer: FractionEstimate,
    known: Measure,
    calibration: Calibration,
    observed: ScoreCounts,
    assume_reference_complete: bool,
) -> FractionEstimate:
    """The answer, unless the scores do not separate, the generators score as real, or the fit is rejected."""
    if calibration.separation < MINIMUM_SEPARATION:
        reason = (
            f"the encoder's scores hardly separate the reference's real items from its synthetic ones (total "
            f"variation {calibration.separation:.2f}, expected {MINIMUM_SEPARATION} or more): try another encoder"
        )
        return _withheld(answer, reason, Measure(math.nan, 0.0, 1.0, observed.n, reason=reason))
    if known.reason is not None:
        return _withheld(answer, known.reason, known)
    if answer.fit_p_value < FIT_LEVEL:
        reason = (
            f"the scores are no mixture of the reference's components (p = {answer.fit_p_value:.3g}): an unseen "
            "generator or another real source is present, and without labels the two cannot be told apart"
        )
        bound = real_side_bound(calibration, observed, level=answer.level)
        conditional = Measure(math.nan, bound, 1.0, observed.n, reason="known generators do not explain these scores")
        withheld = _withheld(answer, reason, conditional)
        if not assume_reference_complete:
            return withheld
        return replace(withheld, low=bound, status="bounds", method="real-side-bound")
    return answer


def _no_generators(n: int, level: float) -> FractionEstimate:
    reason = "the reference holds no synthetic examples: rebuild it with --synthetic LABEL=SRC"
    nothing = Measure(math.nan, 0.0, 1.0, n, reason=reason)
    return FractionEstimate(
        math.nan, 0.0, 1.0, level, "undetermined", "none", reason, {}, nothing, {}, math.nan, 0.0, n
    )  # fmt: skip


def _withheld(answer: FractionEstimate, reason: str, conditional: Measure) -> FractionEstimate:
    """The answer with nothing told but the reason and what holds if the reference matches."""
    return replace(
        answer,
        estimate=math.nan,
        low=0.0,
        high=1.0,
        status="undetermined",
        method="none",
        reason=reason,
        by_generator={},
        if_reference_matches=conditional,
    )


def generator_weights(
    calibration: Calibration, observed: ScoreCounts, *, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Shares (K,) of the generators within the synthetic part, and draws (200, K) of their sampling error.

    Multi-class adjusted count (Firat 2016): the mean posterior vector of the set is the components' mean posterior
    vectors times their shares, solved under non-negativity. With one generator there is nothing to estimate.
    """
    k = len(calibration.components) - 1
    if k == 1:
        return np.ones(1), np.ones((_WEIGHT_DRAWS, 1))
    means = np.stack([c.posteriors.mean for c in calibration.components])  # (K + 1, K + 1), row = component
    errors = [_padded_covariance(c.posteriors) / c.n for c in calibration.components]
    shares = _solve_shares(means, observed.posteriors.mean)
    within = sum(share * e * c.n for share, e, c in zip(shares, errors, calibration.components, strict=True))
    draws = np.empty((_WEIGHT_DRAWS, k + 1))
    for i in range(_WEIGHT_DRAWS):
        drawn = np.stack([_normal(m, e, rng) for m, e in zip(means, errors, strict=True)])
        draws[i] = _solve_shares(drawn, _normal(observed.posteriors.mean, within / observed.n, rng))
    return _within_synthetic(shares[None])[0], _within_synthetic(draws)


def _padded_covariance(posteriors: Moments) -> np.ndarray:
    """Covariance with half an item added at every corner of the simplex, for the reason given at `_spread`."""
    corners = len(posteriors.total)
    n = posteriors.n + corners / 2
    mean = (posteriors.total + 0.5) / n
    return (posteriors.outer + np.eye(corners) / 2) / n - np.outer(mean, mean)


def _solve_shares(means: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Non-negative shares summing to one with sharesᵀ·means ≈ mean; the sum is one because posteriors sum to one."""
    shares = optimize.nnls(means.T, mean)[0]
    return shares / shares.sum()


def _within_synthetic(shares: np.ndarray) -> np.ndarray:
    synthetic = shares[:, 1:]
    total = synthetic.sum(1, keepdims=True)
    even = np.full_like(synthetic, 1 / synthetic.shape[1])  # nothing synthetic: any weights give the same fraction
    return np.where(total > 1e-9, synthetic / np.maximum(total, 1e-9), even)


def _normal(mean: np.ndarray, covariance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.multivariate_normal(mean, covariance, method="eigh")


def probabilistic_adjusted_count(calibration: Calibration, observed: ScoreCounts, weights: np.ndarray) -> float:
    """PACC (Bella et al. 2010): mean posterior of synthetic, corrected by its means on real and synthetic items."""
    means = np.array([1 - c.posteriors.mean[0] for c in calibration.components])
    a, b = means[0], weights @ means[1:]
    return float(np.clip((1 - observed.posteriors.mean[0] - a) / (b - a), 0, 1)) if b > a else math.nan


def histogram_mixture(calibration: Calibration, observed: ScoreCounts, weights: np.ndarray) -> float:
    """Maximum-likelihood fraction of the mixture (1 − π)·f₀ + π·f₁ of score histograms, by expectation maximisation."""
    real, synthetic = _smoothed(calibration, weights)
    return float(_mixture_fractions(observed.histogram[None], real[None], synthetic[None])[0])


def _smoothed(calibration: Calibration, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Densities with half an item spread over the bins, so that no likelihood ratio is infinite."""
    counts = np.stack([c.histogram for c in calibration.components]) + 0.5 / len(calibration.densities[0])
    densities = counts / counts.sum(1, keepdims=True)
    return densities[0], weights @ densities[1:]


def _mixture_fractions(counts: np.ndarray, real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Maximum-likelihood π for each row of counts (r, bins), by bisection of the concave likelihood's derivative."""
    low, high = np.zeros(len(counts)), np.ones(len(counts))
    difference = synthetic - real
    for _ in range(40):
        middle = (low + high) / 2
        slope = (counts * difference / (real + middle[:, None] * difference)).sum(1)
        low, high = np.where(slope > 0, middle, low), np.where(slope > 0, high, middle)
    return (low + high) / 2


def _known_fit(
    calibration: Calibration,
    observed: ScoreCounts,
    weights: np.ndarray,
    weight_draws: np.ndarray,
    *,
    level: float,
    is_sample: bool,
) -> Measure:
    """Corrected mean of the posterior g at the mixture's π, the efficient score, with Fieller's interval.

    g comes from the calibrated log odds at the bins' centres and not from the ratio of the histograms: a ratio fitted
    to the very counts that correct it would see them further apart than they are (coverage .83 instead of .95 with
    300 reference items). A badly calibrated g costs width, not truth.
    """
    fraction = np.clip(histogram_mixture(calibration, observed, weights), 0.02, 0.98)
    g = special.expit(calibration.centres + special.logit(fraction))  # (bins,)
    means = calibration.densities @ g
    variances = np.array([_spread(c.histogram, g) for c in calibration.components])
    errors = variances / [c.n for c in calibration.components]
    a, b, m = means[0], float(weights @ means[1:]), float(observed.histogram @ g) / observed.n
    if b <= a:
        return Measure(math.nan, 0.0, 1.0, observed.n, reason="known generators score no higher than real items")
    from_weights = float((weight_draws @ means[1:]).var())
    value = float(np.clip((m - a) / (b - a), 0, 1))
    composition = value * (1 - value) * (b - a) ** 2 if is_sample else 0.0
    low, high = fieller(
        m,
        (a, b),
        incoming=((variances[0] + composition) / observed.n, (weights @ variances[1:] + composition) / observed.n),
        calibration=(errors[0], float(weights**2 @ errors[1:]) + from_weights),
        level=level,
    )
    return Measure(value, min(low, value), max(high, value), observed.n)


def _spread(histogram: np.ndarray, g: np.ndarray) -> float:
    """Variance of g over a histogram with half an item added at either extreme of g.

    Where every reference item falls on its own side the plain variance is zero, which n items cannot prove.
    """
    counts = histogram.astype(np.float64)
    counts[[g.argmin(), g.argmax()]] += 0.5
    mean = counts @ g / counts.sum()
    return float(counts @ (g - mean) ** 2 / counts.sum())


def _by_generator(
    labels: tuple[str, ...], known: Measure, weights: np.ndarray, draws: np.ndarray, level: float
) -> dict[str, Measure]:
    """Each generator's share of the whole set: its weight times the fraction, both ends moved against it."""
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return {
        label: Measure(
            known.value * w, known.low * min(lo, w), known.high * max(hi, w), known.n
        )
        for label, w, lo, hi in zip(labels, weights, low, high, strict=True)
    }  # fmt: skip


def fit_p_value(
    calibration: Calibration, observed: ScoreCounts, weights: np.ndarray, *, rng: np.random.Generator
) -> float:
    """P-value of the hypothesis that the incoming histogram is a mixture of the reference's.

    Pearson's statistic at the fitted π, its law from parametric draws of both sides (999 draws, refitted).
    """
    sizes = np.array([c.n for c in calibration.components])
    real, synthetic = _smoothed(calibration, weights)
    fraction = histogram_mixture(calibration, observed, weights)
    expected = (1 - fraction) * real + fraction * synthetic
    effective = 1 / float(weights**2 @ (1 / sizes[1:]))  # items behind the weighted synthetic histogram
    statistic = _pearson(observed.histogram[None], real[None], synthetic[None])[0]
    drawn = rng.multinomial(observed.n, expected / expected.sum(), size=_FIT_DRAWS)
    drawn_real = _redraw(real, sizes[0], rng)
    drawn_synthetic = _redraw(synthetic, round(effective), rng)
    return float((1 + (_pearson(drawn, drawn_real, drawn_synthetic) >= statistic).sum()) / (_FIT_DRAWS + 1))


def _redraw(density: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    counts = rng.multinomial(n, density / density.sum(), size=_FIT_DRAWS) + 0.5 / len(density)
    return counts / counts.sum(1, keepdims=True)


def _pearson(counts: np.ndarray, real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    fractions = _mixture_fractions(counts, real, synthetic)[:, None]
    n = counts.sum(1, keepdims=True)
    expected = n * ((1 - fractions) * real + fractions * synthetic)
    return ((counts - expected) ** 2 / (expected + 0.5)).sum(1)


def unseen_guard(
    calibration: Calibration, observed: ScoreCounts, *, level: float = 0.95, is_sample: bool = False
) -> float:
    """Upper bound of the fraction that also allows for an unseen generator too rare for the test of fit.

    What is missing of the confidently real share, v(t) = 1 − F_U(t)/F_R(t), plus its error, divided by the share of
    synthetic items that cannot hide there: at most as many as of the known generator that hides best. The tightest
    of three thresholds. Holds if no unseen generator looks more real than the known ones.
    """
    z, bounds = stats.norm.ppf((1 + level) / 2), [1.0]  # half the error for each: the tightest of three is taken
    below = np.cumsum(calibration.densities, axis=1)  # (K + 1, bins)
    below_observed = np.cumsum(observed.histogram) / observed.n
    for wanted in (0.5, 0.7, 0.85):
        t = int(np.argmin(np.abs(below[0] - wanted)))
        q, synthetic = below[0, t], below[1:, t].max()
        if synthetic < q < 1:
            u = below_observed[t]
            missing, hidden = 1 - u / q, synthetic / q
            within = u * (1 - u) / q**2 if is_sample else u * (1 - q) / q**2  # of this set: the real items' alone
            variance = within / observed.n + (u / q) ** 2 * (1 - q) / q / calibration.components[0].n
            bounds.append((missing + z * math.sqrt(variance)) / (1 - hidden))
    return float(np.clip(min(bounds), 0, 1))


def real_side_bound(calibration: Calibration, observed: ScoreCounts, *, level: float = 0.95) -> float:
    """Lower bound of the fraction, given only that every real item comes from the reference's sources.

    At every threshold t, F_U(t) ≥ (1 − π)·F_R(t): what is missing of the confidently real share cannot be real.
    The best of four thresholds, each at a quarter of the error probability.
    """
    z = stats.norm.ppf(1 - (1 - level) / 2 / 4)
    below_real, below = np.cumsum(calibration.densities[0]), np.cumsum(observed.histogram) / observed.n
    n_real, bounds = calibration.components[0].n, [0.0]
    for wanted in (0.5, 0.7, 0.85, 0.95):
        t = int(np.argmin(np.abs(below_real - wanted)))
        q, u = below_real[t], below[t]
        if not 0 < q < 1:
            continue
        share = u / q
        variance = u * (1 - u) / observed.n / q**2 + share**2 * (1 - q) / q / n_real
        bounds.append(1 - share - z * math.sqrt(variance))
    return float(np.clip(max(bounds), 0, 1))
