"""Closed-form expectations of loop measures, for real data with variance 1."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from loops.config import LoopConfig
from loops.data.distributions import Distribution, distribution_named
from loops.data.open import default_data

__all__ = [
    "accumulate_variance", "admissible_synthetic", "alpha", "augment_error_ratio", "best_real_weight", "collision",
    "contraction", "effective_size", "effective_size_ratio", "fresh_mean_error", "fresh_probability_variance",
    "fresh_variance", "predicted", "regression_accumulate", "regression_replace", "replace_log_det",
    "replace_log_det_variance", "replace_mean_error", "replace_standard_deviation", "replace_variance",
    "replace_wasserstein", "subsample_ratio", "weighted_error_ratio", "zipf_test_error",
]  # fmt: skip


def alpha(n: ArrayLike) -> np.ndarray:
    """Expected sample standard deviation (ddof = 1) of n > 1 standard normal items, about 1 − 1/(4n)."""
    k = np.asarray(n, dtype=np.float64) - 1
    exact = np.sqrt(2 / k) * np.exp(special.gammaln((k + 1) / 2) - special.gammaln(k / 2))
    series = 1 - 1 / (4 * k) + 1 / (32 * k**2) + 5 / (128 * k**3) - 21 / (2048 * k**4)  # gammaln is inexact
    return np.asarray(np.where(k < 300, exact, series))


def replace_variance(n: int, t: ArrayLike, bias: float = 1.0, *, ddof: int = 1) -> np.ndarray:
    """Expected variance at generation t if each Gaussian model is trained only on n samples of the previous model.

    With sampling bias λ, the expected variance is λ^(t−1) for ddof = 1, and λ^(t−1) (1 − 1/n)ᵗ for ddof = 0 (Kazdan et
    al. 2024).
    """
    t = np.asarray(t, dtype=np.float64)
    return bias ** (t - 1) * (1 - 1 / n) ** (t * (1 - ddof))


def replace_standard_deviation(n: int, t: ArrayLike, bias: float = 1.0, *, ddof: int = 1) -> np.ndarray:
    """Expected standard deviation of a 1-d model at generation t, trained only on n samples of the previous model.

    With sampling bias λ and ddof = 1, the expected standard deviation is λ^((t−1)/2) α(n)ᵗ, where α is the function
    `alpha` (Alemohammad et al. 2024).
    """
    return np.sqrt(replace_variance(n, t, bias, ddof=ddof)) * alpha(n) ** np.asarray(t, dtype=np.float64)


def replace_log_det(n: int, d: int, t: ArrayLike, bias: float = 1.0, *, ddof: int = 1) -> np.ndarray:
    """Expected log determinant of the model covariance at generation t, in d < n dimensions (Alemohammad et al. 2024).

    With sampling bias λ, each refit multiplies the determinant by λᵈ Π χ²(n − i)/(n − ddof) over i = 1 … d. The χ²
    product follows from Bartlett's decomposition of a Wishart matrix.
    """
    t = np.asarray(t, dtype=np.float64)
    step = special.digamma((n - np.arange(1, d + 1)) / 2).sum() + d * math.log(2 / (n - ddof))
    return t * step + d * special.xlogy(t - 1, bias)


def replace_log_det_variance(n: int, d: int, t: ArrayLike) -> np.ndarray:
    """Variance over chains of the log determinant of the model covariance at generation t, for any bias and ddof.

    The variance of the log determinant is t times the sum of ψ₁((n − i)/2) over i = 1 … d (Alemohammad et al. 2024).
    """
    return np.asarray(t, dtype=np.float64) * special.polygamma(1, (n - np.arange(1, d + 1)) / 2).sum()


def replace_mean_error(n: int, t: ArrayLike, bias: float = 1.0, *, ddof: int = 1) -> np.ndarray:
    """Expected squared error of the model mean at generation t, in one dimension.

    With sampling bias λ, the expected squared error of the mean is (1 − λᵗ)/(n(1 − λ)); for ddof = 0, λ is multiplied
    by 1 − 1/n (Alemohammad et al. 2024).
    """
    t, bias = np.asarray(t, dtype=np.float64), bias * (1 - 1 / n) ** (1 - ddof)
    return t / n if bias == 1 else (1 - bias**t) / (n * (1 - bias))


def replace_wasserstein(n: int, t: ArrayLike, bias: float = 1.0, *, ddof: int = 1) -> np.ndarray:
    """Expected squared Wasserstein distance between the real N(0, 1) and a one-dimensional model at generation t.

    In early generations t, the expected squared distance is about 1.5 t/n (Alemohammad et al. 2024).
    """
    spread = 1 + replace_variance(n, t, bias, ddof=ddof) - 2 * replace_standard_deviation(n, t, bias, ddof=ddof)
    return replace_mean_error(n, t, bias, ddof=ddof) + spread


def fresh_variance(n_real: int, n_synthetic: int, bias: float = 1.0) -> float:
    """Limit over generations of the expected model variance in a loop with fresh real data.

    For real share r, synthetic share s and sampling bias λ, the limit of the variance is about r/(1 − λs). The model
    covariance is unbiased (ddof = 1). Derived: the expected variance and squared error of the mean are linear in their
    values one generation earlier, and the limit is the fixed point of this linear map. The linear map of variance and
    squared error follows from the sums of squares about 0 and about the pooled mean. In this module r = n_r/n and s =
    n_s/n are the shares of real and synthetic items in a training set of n = n_r + n_s items.
    """
    n, r, s = _shares(n_real, n_synthetic)
    return (n_real - r / (1 + s)) / (n - 1 - bias * (n_synthetic - s / (1 + s)))


def fresh_mean_error(n_real: int, n_synthetic: int, bias: float = 1.0) -> float:
    """Limit over generations of the expected squared error of the mean, per dimension, in a loop with fresh real data.

    The limit is derived as in `fresh_variance`. Each generation multiplies an initial error of the mean by the
    synthetic share s.
    """
    n, r, s = _shares(n_real, n_synthetic)
    return (r + s * bias * fresh_variance(n_real, n_synthetic, bias)) / (n * r * (1 + s))


def effective_size_ratio(n_real: int, n_synthetic: int, memory: int = 1) -> float:
    """Effective / real sample size of a fresh-data loop with memory K, without sampling bias, for large item counts.

    With ρ = n_s/n_r synthetic per real items, the ratio of effective to real sample size is 1 + ρK/(K + ρ), which is 1
    + s for K = 1. Derived: model errors follow an AR(K) process with coefficients s/K for synthetic share s, and the
    same autocorrelation at all lags solves the Yule–Walker equations.
    """
    return 1 + n_synthetic * memory / (n_real * memory + n_synthetic)


def effective_size(distance: float, *, variance: float = 1.0) -> float:
    """Number of real items that alone give a 1-d Gaussian with the expected squared Wasserstein distance `distance`.

    The result is nan if the number of items is not between 2 and 10¹². For n real items the expected squared distance
    is variance · (1/n + 2(1 − α(n))); this is the definition of Alemohammad et al. (2024), with unbiased variances.
    """
    low, high = (1 / n + 2 * (1 - alpha(n)) for n in (1e12, 2.0))
    if not low <= distance / variance <= high:
        return math.nan
    return float(optimize.brentq(lambda n: 1 / n + 2 * (1 - alpha(n)) - distance / variance, 2.0, 1e12, maxiter=500))


def admissible_synthetic(bias: float, d: int = 1) -> float:
    """Largest number of synthetic items without quality loss in a fresh-data loop, in the limit of many real items.

    Quality is compared with a model trained on the n_r real items alone. Derived: at the largest number of synthetic
    items, the terms of order 1/n_r² in the expected squared Wasserstein distance cancel. The cancelling terms are the
    reduced noise of mean and covariance, the squared shrinkage s²(1 − λ)²/4 for synthetic share s and sampling bias λ,
    and a third-order product of shrinkage and noise.
    """
    gained = 4 * (2 - bias) + (d + 1) * (2 * bias - bias**2 + (1 - bias) / 2)
    return math.inf if bias == 1 else gained / (1 - bias) ** 2


def augment_error_ratio(n_real: int, n_synthetic: int) -> float:
    """Limit of the error of a loop with a fixed real set, divided by the error of a model of that real set alone.

    Model errors are expected squared Wasserstein distances to the real distribution. For sampling bias λ = 1, synthetic
    share s and large n, the error ratio is (1 + 2s)/(1 + s), so the error of a Gaussian loop with fixed real data stays
    bounded. Derived: the deviation of the model from a model of the real set alone is an AR(1) process with coefficient
    s and noise variance s/n.
    """
    return (n_real + 3 * n_synthetic) / (n_real + 2 * n_synthetic)


def regression_replace(t: ArrayLike, n: int, d: int, *, noise_variance: float = 1.0) -> np.ndarray:
    """Expected squared coefficient error of least squares at generation t if all labels are replaced each generation.

    All generations use the same n > d + 1 standard normal inputs in d dimensions (Gerstgrasser et al. 2024).
    """
    return np.asarray(t, dtype=np.float64) * noise_variance * d / (n - d - 1)


def regression_accumulate(t: ArrayLike, n: int, d: int, *, noise_variance: float = 1.0) -> np.ndarray:
    """Expected squared coefficient error of least squares at generation t if the labels of all generations are kept.

    The error at generation t is the error at generation 1 times the sum of 1/i² over i ≤ t, which is below π²/6
    (Gerstgrasser et al. 2024).
    """
    return (math.pi**2 / 6 - special.zeta(2, np.asarray(t, dtype=np.float64) + 1)) * noise_variance * d / (n - d - 1)


def subsample_ratio(t: ArrayLike) -> np.ndarray:
    """Error of generation t divided by the error of generation 1, if only n of the t·n items are used; for large n.

    The error ratio tends to π²/2 − 2 for large t. Derived: drawing without replacement adds (1 − 1/t)/n to the error of
    a model of the whole pool. In generation t the error of a model of the whole pool grows by
    (1 + 1 − 1/(t − 1))/(n t²), because of the label noise and the random draw of generation t − 1.
    """
    t = np.asarray(t, dtype=np.float64)
    i = np.arange(2, int(t.max()) + 1)
    pool = 1 + np.concatenate([[0.0], np.cumsum((2 - 1 / (i - 1)) / i**2)])
    return pool[t.astype(int) - 1] + 1 - 1 / t


def accumulate_variance(n: int, t: ArrayLike, *, ddof: int = 0) -> np.ndarray:
    """Expected variance at generation t of a Gaussian loop without bias that adds n items to a pool per generation.

    For ddof = 0 the expected variance is the product of 1 − 1/(n i²) over i ≤ t, with the limit sin(π/√n)/(π/√n)
    (Kazdan et al. 2024). For ddof = 1 the factors of the product are 1 − 1/(i(n i − 1)) from i = 2 on (derived in the
    same way).
    """
    t = np.asarray(t, dtype=np.float64)
    i = np.arange(1, int(t.max()) + 1)
    factors = 1 - 1 / (n * i**2) if ddof == 0 else 1 - (i > 1) / (i * (n * i - 1))
    return np.cumprod(factors)[t.astype(int) - 1]


def collision(n: int, t: ArrayLike, p0: np.ndarray) -> np.ndarray:
    """Expected sum of squared token frequencies if each model is estimated from n draws of the previous model.

    The argument `p0` holds the real token probabilities (Seddik et al. 2024).
    """
    return 1 - (1 - 1 / n) ** np.asarray(t, dtype=np.float64) * (1 - (p0**2).sum())


def fresh_probability_variance(n_real: int, n_synthetic: int, p: float, *, mixing: str = "fixed") -> float:
    """Limit over generations of the variance of a token's estimated probability in a loop with fresh real data.

    The limit follows from the law of total variance (compare Seddik et al. 2024).
    """
    noise, kept = _probability_step(n_real, n_synthetic, mixing)
    return p * (1 - p) * noise / (1 - kept)


def contraction(synthetic_to_real: float) -> float:
    """Factor per generation by which the initial error of a well-specified model shrinks with fixed real data.

    The factor is λ_B/(1 + λ_B), where λ_B is the ratio of synthetic to real items and not the sampling bias. A model
    with error ε stays near the real data if λ_B(1 + Lε/α) < 1/2, in the notation of Bertrand et al. (2024). The
    condition λ_B(1 + Lε/α) < 1/2 is sufficient but not necessary.
    """
    return synthetic_to_real / (1 + synthetic_to_real)


def weighted_error_ratio(real_weight: ArrayLike) -> np.ndarray:
    """Limit of the error of a weighted loop, divided by the error of a model of real data alone; for large n_r = n_s.

    Model errors are expected squared Wasserstein distances to the real distribution, and w is the weight of fresh real
    data in the loss. The ratio (w² + (1 − w)²)/(1 − (1 − w)²) is the fixed point of E μ_t² = w²/n + (1 − w)²(E μ_(t−1)²
    + 1/n), times n, where μ_t is the error of the model mean (He et al. 2025).
    """
    w = np.asarray(real_weight, dtype=np.float64)
    return (w**2 + (1 - w) ** 2) / (w * (2 - w))


def best_real_weight() -> float:
    """The weight (√5 − 1)/2 that minimises `weighted_error_ratio`; the minimum is also (√5 − 1)/2 (He et al. 2025)."""
    return (math.sqrt(5) - 1) / 2


def zipf_test_error(n: ArrayLike, exponent: float) -> np.ndarray:
    """Expected total probability of tokens that n draws miss, for large n and probabilities proportional to rank^−β.

    The formula C^(1/β) Γ(1 − 1/β)/β · n^−(1 − 1/β) with C = 1/ζ(β) approximates Σ p(1 − p)ⁿ by an integral (Dohmatob et
    al. 2024).
    """
    decay = 1 - 1 / exponent
    scale = special.zeta(exponent) ** (-1 / exponent) * special.gamma(decay) / exponent
    return scale * np.asarray(n, dtype=np.float64) ** -decay


def predicted(config: LoopConfig, *, width: int) -> dict[str, np.ndarray]:
    """Expected values (generations,) of all measures that have an exact theory for this loop; empty if there are none.

    `config` must have all counts filled in; `width` is the number of columns of an item. Limits over generations and
    approximations for large n are not included.
    """
    families = {"gaussian": _gaussian, "categorical": _categorical,
                "linear-regression": _regression, "regression": _regression}  # fmt: skip
    data = distribution_named(config.data or default_data(config.family))
    remembers = config.memory > 1 and config.workflow != "accumulate"
    if data is None or data.space.width != width or config.family not in families or config.contamination or remembers:
        return {}
    return families[config.family](config, data)


def _gaussian(config: LoopConfig, data: Distribution) -> dict[str, np.ndarray]:
    ddof, d, n, bias = config.settings.get("ddof", 1), data.space.width, config.n_initial or 0, config.bias
    if data.name.partition(":")[0] != "normal" or ddof not in (0, 1) or n < 2:
        return {}
    t = np.arange(1, config.generations + 1)
    if config.workflow == "replace" and n == config.n_synthetic:
        single = {"frechet": replace_wasserstein, "standard_deviation": replace_standard_deviation} if d == 1 else {}
        curves = {name: f(n, t, bias, ddof=ddof) for name, f in {"variance": replace_variance, **single}.items()}
        curves["mean_error"] = d * replace_mean_error(n, t, bias, ddof=ddof)
        return curves | ({"log_det": replace_log_det(n, d, t, bias, ddof=ddof)} if _has_rank(n, d, len(t)) else {})
    if config.workflow == "accumulate" and n == config.n_synthetic and bias == 1:
        variance = accumulate_variance(n, t, ddof=ddof)
        return {"variance": variance, "mean_error": d * np.cumsum(np.append(1.0, variance[:-1]) / (n * t**2))}
    if config.workflow in ("fresh", "augment") and config.n_real and config.mixing == "fixed":
        variance, mean_error = _beside_real(config, ddof)
        return {"variance": variance, "mean_error": d * mean_error}
    return {}


def _has_rank(n: int, d: int, t: int) -> bool:
    """Whether the ratio of largest to smallest variance stays below e³³ (rounding limit) in almost all chains."""
    if d == 1 or n <= d:
        return n > d
    most, least = (n - 1) / 2, (n - d) / 2  # their logarithms drift by ψ of these values per generation
    drift = t * (special.digamma(most) - special.digamma(least))
    return bool(drift + 5 * math.sqrt(2 * t * special.polygamma(1, least)) < 33)


def _beside_real(config: LoopConfig, ddof: int) -> tuple[np.ndarray, np.ndarray]:
    """Expected variance and squared error of the mean, per dimension, for training sets with fresh or fixed real items.

    The result is exact. The total sum of squares about the mean has three parts: the sum within the real items, the sum
    within the synthetic items, and n_r s times the squared gap between the means of real and synthetic items. The
    expectation of each part is linear in the expectations of generation t − 1.
    """
    first, n_real, n_synthetic = config.n_initial or 0, config.n_real or 0, config.n_synthetic or 0
    n, r, s = _shares(n_real, n_synthetic)
    fixed, redrawn = (1 / n_real, 0.0) if config.workflow == "augment" else (0.0, 1 / n_real)  # variance of real mean
    # the model's mean: squared distance from the fixed real mean, or from 0; and product of deviation and real mean
    distance, product = abs(1 / first - fixed), min(1 / first - fixed, 0.0)
    variances, errors = [(first - 1) / (first - ddof)], [1 / first]
    for _ in range(1, config.generations):
        sampled = config.bias * variances[-1]
        drawn = distance + (sampled / n_synthetic if n_synthetic else 0.0)  # the synthetic items' mean
        within = n_real - 1 + max(n_synthetic - 1, 0) * sampled
        variances.append((within + n_real * s * (drawn + redrawn)) / (n - ddof))
        distance, product = s**2 * drawn + r**2 * redrawn, s * product
        errors.append(fixed + distance + 2 * product)
    return np.array(variances), np.array(errors)


def _categorical(config: LoopConfig, data: Distribution) -> dict[str, np.ndarray]:
    """Expected collision probability Σp² and squared error Σ(p − p₀)² of categorical models, if known exactly.

    For token probabilities p, the expectation of 1 − Σp² shrinks by a factor per generation towards its limit. The
    expected probabilities do not change over generations, so E Σ(p − p₀)² = E Σp² − Σp₀².
    """
    n, p0 = config.n_initial or 0, data.truth.probabilities
    t = np.arange(1, config.generations + 1)
    if p0 is None or config.bias != 1:
        return {}
    spread = 1 - (p0**2).sum()
    if config.workflow == "replace" and n == config.n_synthetic:
        found = collision(n, t, p0)
    elif config.workflow == "accumulate" and n == config.n_synthetic:
        found = 1 - spread * accumulate_variance(n, t)
    elif config.workflow == "fresh" and config.n_real:
        noise, kept = _probability_step(config.n_real, config.n_synthetic or 0, config.mixing)
        found = 1 - spread + spread * (kept ** (t - 1) / n + noise * (1 - kept ** (t - 1)) / (1 - kept))
    else:
        return {}
    return {"collision": found, "squared_error": found - (1 - spread)}


def _regression(config: LoopConfig, data: Distribution) -> dict[str, np.ndarray]:
    n, d = config.n_initial or 0, data.space.width - 1
    curves = {"replace": regression_replace, "accumulate": regression_accumulate}
    is_plain = config.bias == 1 and config.settings.get("noise", 1) == 1 and n == config.n_synthetic
    if data.truth.coefficients is None or not is_plain or config.workflow not in curves or n <= d + 1:
        return {}
    return {"test_error": curves[config.workflow](np.arange(1, config.generations + 1), n, d)}


def _probability_step(n_real: int, n_synthetic: int, mixing: str) -> tuple[float, float]:
    """Coefficients (a, b) of the recursion Var p_t = p(1 − p)·a + b·Var p_(t−1) for a token's probability p_t."""
    n, _, s = _shares(n_real, n_synthetic)
    return 1 / n, s**2 - s / n if mixing == "fixed" else s**2 * (1 - 1 / n)


def _shares(n_real: int, n_synthetic: int) -> tuple[int, float, float]:
    n = n_real + n_synthetic
    return n, n_real / n, n_synthetic / n
