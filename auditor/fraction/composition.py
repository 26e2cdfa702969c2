"""Composition of a set: the shares of its real sources and of its generators."""

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from auditor.evidence.calibration import Calibration, ScoreCounts
from auditor.statistics.moments import Moments

__all__ = ["Composition", "composition_of"]

_DRAWS = 200


@dataclass(frozen=True, slots=True)
class Composition:
    """Shares of the sources within a set's real part and of the generators within its synthetic part."""

    real: np.ndarray  # (m,)
    synthetic: np.ndarray  # (K,)
    real_draws: np.ndarray  # (draws, m), shares drawn with their sampling error
    synthetic_draws: np.ndarray  # (draws, K)
    fraction_draws: np.ndarray  # (draws,) synthetic fraction of the set in each

    def errors(self, means: np.ndarray) -> tuple[float, float]:
        """Variance of the set's mean score due to uncertain shares within the real part and within the synthetic part.

        `means` (m + K,) are the components' mean scores. The real and the synthetic part are weighted by their shares
        of the set, so that a small part adds little variance.
        """
        m = len(self.real)
        real = (1 - self.fraction_draws) * (self.real_draws @ (means[:m] - self.real @ means[:m]))
        synthetic = self.fraction_draws * (self.synthetic_draws @ (means[m:] - self.synthetic @ means[m:]))
        return float(real.var()), float(synthetic.var())

    def shares(self, fraction: float) -> np.ndarray:
        """Shares (m + K,) of the m real sources and K generators in a set with the given synthetic fraction."""
        return np.concatenate([(1 - fraction) * self.real, fraction * self.synthetic])


def composition_of(calibration: Calibration, observed: ScoreCounts, *, rng: np.random.Generator) -> Composition:
    """Estimate the composition of a set from its posteriors.

    Multi-class adjusted count (Firat 2016): the components' mean posterior vectors, weighted by non-negative shares,
    are fitted to the set's mean posterior vector. If the real or the synthetic part has only one component, its share
    of that part is 1.
    """
    components, m = calibration.components, calibration.n_real
    k = calibration.n_generators
    if m == 1 and k <= 1:
        return Composition(np.ones(1), np.ones(k), np.ones((_DRAWS, 1)), np.ones((_DRAWS, k)), np.zeros(_DRAWS))
    means = np.stack([c.posteriors.mean for c in components])  # row = component
    spreads = [_padded_covariance(c.posteriors) for c in components]
    shares = _solve_shares(means, observed.posteriors.mean)
    within = sum(share * spread for share, spread in zip(shares, spreads, strict=True))
    draws = np.empty((_DRAWS, m + k))
    for i in range(_DRAWS):
        drawn = [_normal(mean, s / c.n, rng) for mean, s, c in zip(means, spreads, components, strict=True)]
        draws[i] = _solve_shares(np.stack(drawn), _normal(observed.posteriors.mean, within / observed.n, rng))
    real, synthetic = slice(None, m), slice(m, None)
    return Composition(
        _within(shares[None, real])[0], _within(shares[None, synthetic])[0],
        _within(draws[:, real]), _within(draws[:, synthetic]), draws[:, synthetic].sum(1),
    )  # fmt: skip


def _padded_covariance(posteriors: Moments) -> np.ndarray:
    """Covariance of posteriors, with half an item added at every corner of the probability simplex.

    If the scores separate all items, the plain covariance is zero, although n items cannot prove a zero covariance.
    """
    corners = len(posteriors.total)
    n = posteriors.n + corners / 2
    mean = (posteriors.total + 0.5) / n
    return (posteriors.outer + np.eye(corners) / 2) / n - np.outer(mean, mean)


def _solve_shares(means: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Non-negative shares that solve sharesᵀ·means ≈ mean by least squares, scaled to sum to one."""
    shares = optimize.nnls(means.T, mean)[0]
    return shares / shares.sum()


def _within(shares: np.ndarray) -> np.ndarray:
    """Shares scaled to sum to one per row; a row of zeros becomes equal shares, which do not affect the fraction."""
    total = shares.sum(1, keepdims=True)
    even = np.full_like(shares, 1 / max(1, shares.shape[1]))
    return np.where(total > 1e-9, shares / np.maximum(total, 1e-9), even)


def _normal(mean: np.ndarray, covariance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.multivariate_normal(mean, covariance, method="eigh")
