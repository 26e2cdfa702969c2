"""Closed forms for expectations over loops, for a real variance of 1."""

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
    """Expected standard deviation (ddof 1) of n > 1 standard normal items: ≈ 1 − 1/(4n)."""
    k = np.asarray(n, dtype=np.float64) - 1
    exact = np.sqrt(2 / k) * np.exp(special.gammaln((k + 1) / 2) - special.gammaln(k / 2))
    series = 1 - 1 / (4 * k) + 1 / (32 * k**2) + 5 / (128 * k**3) - 21 / (2048 * k**4)  # gammaln is inexact
    return np.asarray(np.where(k < 300, exact, series))


def replace_variance(n: int, t: ArrayLike, bias: float = 1.0, *, ddof: int = 1) -> np.ndarray:
    """E Σ_t of a Gaussian loop on n synthetic items: λ^(t−1), for ddof = 0 times (1 − 1/n)ᵗ (Kazdan et al. 2024)."""
    t = np.asarray(t, dtype=np.float64)
    return bias ** (t - 1) * (1 - 1 / n) ** (t * (1 - ddof))


def replace_standard_deviation(n: int, t: ArrayLike, bias: float = 1.0, *, ddof: int = 1) -> np.ndarray:
    """E √Σ_t of the one-dimensional loop of `replace_variance`: λ^((t−1)/2) α(n)ᵗ (Alemohammad et al. 2024)."""
    return np.sqrt(replace_variance(n, t, bias, ddof=ddof)) * alpha(n) ** np.asarray(t, dtype=np.float64)


def replace_log_det(n: int, d: int, t: ArrayLike, bias: float = 1.0, *, ddof: int = 1) -> np.ndarray:
    """E log det Σ_t in d < n dimensions (Alemohammad et al. 2024).

    A refit multiplies det Σ by λᵈ Π χ²(n − i)/(n − ddof), i = 1 … d (Bartlett's decomposition of a Wishart matrix).
    """
    t = np.asarray(t, dtype=np.float64)
    step = special.digamma((n - np.arange(1, d + 1)) / 2).sum() + d * math.log(2 / (n - ddof))
    return t * step + d * special.xlogy(t - 1, bias)


def replace_log_det_variance(n: int, d: int, t: ArrayLike) -> np.ndarray:
    """Variance of log det Σ_t, for any λ and ddof: t Σ ψ₁((n − i)/2), i = 1 … d (Alemohammad et al. 2024)."""
    return np.asarray(t, dtype=np.float64) * special.polygamma(1, (n - np.arange(1, d + 1)) / 2).sum()


def replace_mean_error(n: int, t: ArrayLike, bias: float = 1.0, *, ddof: int = 1) -> np.ndarray:
    """E μ_t² in one dimension: (1 − λᵗ)/(n(1 − λ)); ddof = 0 multiplies λ by 1 − 1/n (Alemohammad et al. 2024)."""
    t, bias = np.asarray(t, dtype=np.float64), bias * (1 - 1 / n) ** (1 - ddof)
    return t / n if bias == 1 else (1 - bias**t) / (n * (1 - bias))


def replace_wasserstein(n: int, t: ArrayLike, bias: float = 1.0, *, ddof: int = 1) -> np.ndarray:
    """E W₂², squared, to the real N(0, 1) of the one-dimensional loop (Alemohammad et al. 2024); ≈ 1.5 t/n early on."""
    spread = 1 + replace_variance(n, t, bias, ddof=ddof) - 2 * replace_standard_deviation(n, t, bias, ddof=ddof)
    return replace_mean_error(n, t, bias, ddof=ddof) + spread


def fresh_variance(n_real: int, n_synthetic: int, bias: float = 1.0) -> float:
    """The limit of E Σ_t of a fresh data loop, unbiased covariance; about r/(1 − λs).

    Derived: (E Σ_t, E μ_t²) is linear in its value at t − 1, by the sums of squares about 0 and the pooled mean; this
    is the fixed point. Here and below r = n_r/n and s = n_s/n are the shares of real and synthetic items, with
    n = n_r + n_s.
    """
    n, r, s = _shares(n_real, n_synthetic)
    return (n_real - r / (1 + s)) / (n - 1 - bias * (n_synthetic - s / (1 + s)))


def fresh_mean_error(n_real: int, n_synthetic: int, bias: float = 1.0) -> float:
    """The limit of E μ_t² of a fresh data loop, per dimension (derived as above); errors shrink by s each time."""
    n, r, s = _shares(n_real, n_synthetic)
    return (r + s * bias * fresh_variance(n_real, n_synthetic, bias)) / (n * r * (1 + s))


def effective_size_ratio(n_real: int, n_synthetic: int, memory: int = 1) -> float:
    """n_e/n_r of a fresh data loop at λ = 1 for large n_r and n_s: 1 + ρK/(K + ρ), ρ = n_s/n_r; at K = 1 it is 1 + s.

    Derived: errors are an AR(K) process with coefficients s/K; one autocorrelation solves its Yule–Walker equations.
    """
    return 1 + n_synthetic * memory / (n_real * memory + n_synthetic)


def effective_size(distance: float, *, variance: float = 1.0) -> float:
    """n_e, the number of real items that alone give a 1-d Gaussian with E W₂² = `distance`; nan outside 2 … 10¹².

    E W₂² for n items is variance · (1/n + 2(1 − α(n))): the definition of Alemohammad et al. 2024, unbiased variances.
    """
    low, high = (1 / n + 2 * (1 - alpha(n)) for n in (1e12, 2.0))
    if not low <= distance / variance <= high:
        return math.nan
    return float(optimize.brentq(lambda n: 1 / n + 2 * (1 - alpha(n)) - distance / variance, 2.0, 1e12, maxiter=500))


def admissible_synthetic(bias: float, d: int = 1) -> float:
    """The most synthetic items a fresh data loop can use without being worse than its real items alone, as n_r → ∞.

    Derived: at this n_s the terms of E W₂² in 1/n_r² cancel. These terms are the reduced noise of mean and covariance,
    the squared shrinkage s²(1 − λ)²/4, and the third-order product of shrinkage and noise.
    """
    gained = 4 * (2 - bias) + (d + 1) * (2 * bias - bias**2 + (1 - bias) / 2)
    return math.inf if bias == 1 else gained / (1 - bias) ** 2


def augment_error_ratio(n_real: int, n_synthetic: int) -> float:
    """The limit of E W₂² with a fixed real set over E W₂² of the real set alone, λ = 1, large n: (1 + 2s)/(1 + s).

    A Gaussian loop with fixed real data therefore does not go MAD. Derived: the deviation from the real set's estimate
    is an AR(1) process with coefficient s and noise s/n.
    """
    return (n_real + 3 * n_synthetic) / (n_real + 2 * n_synthetic)


def regression_replace(t: ArrayLike, n: int, d: int, *, noise_variance: float = 1.0) -> np.ndarray:
    """E |ŵ_t − w|² of least squares, n > d + 1 standard normal inputs with new labels (Gerstgrasser et al. 2024)."""
    return np.asarray(t, dtype=np.float64) * noise_variance * d / (n - d - 1)


def regression_accumulate(t: ArrayLike, n: int, d: int, *, noise_variance: float = 1.0) -> np.ndarray:
    """As `regression_replace` with all labels kept: factor Σ 1/i², i ≤ t, below π²/6 (Gerstgrasser et al. 2024)."""
    return (math.pi**2 / 6 - special.zeta(2, np.asarray(t, dtype=np.float64) + 1)) * noise_variance * d / (n - d - 1)


def subsample_ratio(t: ArrayLike) -> np.ndarray:
    """Error of generation t, trained on n of the t·n existing items, over that of generation 1; → π²/2 − 2, large n.

    Derived: drawing without replacement adds (1 − 1/t)/n to the error of the whole pool. The pool's error grows by
    (1 + 1 − 1/(t − 1))/(n t²), from the noise of the labels of generation t − 1 and of its own draw.
    """
    t = np.asarray(t, dtype=np.float64)
    i = np.arange(2, int(t.max()) + 1)
    pool = 1 + np.concatenate([[0.0], np.cumsum((2 - 1 / (i - 1)) / i**2)])
    return pool[t.astype(int) - 1] + 1 - 1 / t


def accumulate_variance(n: int, t: ArrayLike, *, ddof: int = 0) -> np.ndarray:
    """E Σ_t if every generation adds n items to the pool, λ = 1: Π (1 − 1/(n i²)), i ≤ t (Kazdan et al. 2024).

    The limit is sin(π/√n)/(π/√n). For ddof = 1 (derived the same way) the factors are 1 − 1/(i(n i − 1)) from i = 2 on.
    """
    t = np.asarray(t, dtype=np.float64)
    i = np.arange(1, int(t.max()) + 1)
    factors = 1 - 1 / (n * i**2) if ddof == 0 else 1 - (i > 1) / (i * (n * i - 1))
    return np.cumprod(factors)[t.astype(int) - 1]


def collision(n: int, t: ArrayLike, p0: np.ndarray) -> np.ndarray:
    """E Σp² of frequencies re-estimated each generation from n draws; p₀: real probabilities (Seddik et al. 2024)."""
    return 1 - (1 - 1 / n) ** np.asarray(t, dtype=np.float64) * (1 - (p0**2).sum())


def fresh_probability_variance(n_real: int, n_synthetic: int, p: float, *, mixing: str = "fixed") -> float:
    """The limit of Var p_t of a token in a fresh data loop (Seddik et al. 2024; derived: law of total variance)."""
    noise, kept = _probability_step(n_real, n_synthetic, mixing)
    return p * (1 - p) * noise / (1 - kept)


def contraction(synthetic_to_real: float) -> float:
    """Factor per generation by which the first error of a well-specified model shrinks with fixed real data.

    The factor is λ_B/(1 + λ_B), where λ_B is the ratio of synthetic to real items and not the sampling bias. A model of
    error ε stays near the real data if λ_B(1 + Lε/α) < 1/2, a sufficient but not necessary condition (Bertrand et al.
    2024).
    """
    return synthetic_to_real / (1 + synthetic_to_real)


def weighted_error_ratio(real_weight: ArrayLike) -> np.ndarray:
    """Limit of E W₂² over E W₂² of only real data, n_r = n_s large, w the weight of fresh real data in the loss.

    (w² + (1 − w)²)/(1 − (1 − w)²), the fixed point of E μ_t² = w²/n + (1 − w)²(E μ_(t−1)² + 1/n) (He et al. 2025).
    """
    w = np.asarray(real_weight, dtype=np.float64)
    return (w**2 + (1 - w) ** 2) / (w * (2 - w))


def best_real_weight() -> float:
    """The weight (√5 − 1)/2 that minimises `weighted_error_ratio`; the minimum has the same value (He et al. 2025)."""
    return (math.sqrt(5) - 1) / 2


def zipf_test_error(n: ArrayLike, exponent: float) -> np.ndarray:
    """Expected mass of tokens missed by n draws, for large n; probabilities are proportional to rank^−β.

    C^(1/β) Γ(1 − 1/β)/β · n^−(1 − 1/β), C = 1/ζ(β): the integral approximation of Σ p(1 − p)ⁿ (Dohmatob et al. 2024).
    """
    decay = 1 - 1 / exponent
    scale = special.zeta(exponent) ** (-1 / exponent) * special.gamma(decay) / exponent
    return scale * np.asarray(n, dtype=np.float64) ** -decay


def predicted(config: LoopConfig, *, width: int) -> dict[str, np.ndarray]:
    """Curves (generations,) of the measures whose expectation is known exactly for this loop; empty if none is known.

    `config` must have its counts filled in; `width` is the width of the items. Limits and large-n forms are left out.
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
    """Whether the largest variance stays below e³³ times the least, the limit of rounding, in almost all chains."""
    if d == 1 or n <= d:
        return n > d
    most, least = (n - 1) / 2, (n - d) / 2  # their logarithms drift by ψ of these values per generation
    drift = t * (special.digamma(most) - special.digamma(least))
    return bool(drift + 5 * math.sqrt(2 * t * special.polygamma(1, least)) < 33)


def _beside_real(config: LoopConfig, ddof: int) -> tuple[np.ndarray, np.ndarray]:
    """E Σ_t and E μ_t² of one dimension, with fresh or fixed real items in every training set.

    Exact: the total sum of squares about the mean is the sum within the real items, the sum within the synthetic items,
    and n_r s times the squared gap between their means; all three expectations are linear in those of generation t − 1.
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
    """1 − Σp² shrinks by a factor per generation towards its limit; E p is constant, so E Σ(p − p₀)² = E Σp² − Σp₀²."""
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
    """The coefficients (a, b) in Var p_t = p(1 − p)·a + b·Var p_(t−1)."""
    n, _, s = _shares(n_real, n_synthetic)
    return 1 / n, s**2 - s / n if mixing == "fixed" else s**2 * (1 - 1 / n)


def _shares(n_real: int, n_synthetic: int) -> tuple[int, float, float]:
    n = n_real + n_synthetic
    return n, n_real / n, n_synthetic / n
