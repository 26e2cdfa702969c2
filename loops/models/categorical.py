"""A categorical distribution of single tokens, fitted to many chains at once."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from indexes.errors import InputError
from loops.models.bias import tempered
from loops.samples import Samples, Space, Truth

__all__ = ["Categorical", "CategoricalModel"]


@dataclass(frozen=True, slots=True)
class CategoricalModel:
    """Fitted token probabilities (chains, vocabulary) of all chains."""

    probabilities: np.ndarray
    width: int  # tokens per item, drawn independently

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        """Draw tokens (chains, n, width), with the sampling bias λ as temperature."""
        with np.errstate(divide="ignore"):
            chances = self.probabilities if bias == 1 else tempered(np.log(self.probabilities), bias)
        counts = rng.multinomial(n * self.width, chances / chances.sum(1, keepdims=True))  # (chains, vocabulary)
        chains, vocabulary = counts.shape
        tokens = np.repeat(np.tile(np.arange(vocabulary), chains), counts.ravel()).reshape(chains, n * self.width)
        rng.permuted(tokens, axis=1, out=tokens)  # shuffled, because parts of a draw go to different generations
        return Samples(tokens.reshape(chains, n, self.width))

    def exact(self, truth: Truth) -> dict[str, np.ndarray]:
        """Exact measures of the fitted probabilities p, compared with the real probabilities p₀.

        The measures of p are Σp², the number of tokens with p > 0, the lost mass Σ p₀[p = 0], the total variation
        distance and Σ(p − p₀)².
        """
        if truth.probabilities is None:
            return {}
        p, real = self.probabilities, truth.probabilities
        return {
            "collision": (p**2).sum(1),
            "support": (p > 0).sum(1).astype(float),
            "lost_mass": np.where(p > 0, 0.0, real).sum(1),
            "total_variation": np.abs(p - real).sum(1) / 2,
            "squared_error": ((p - real) ** 2).sum(1),
        }

    def first(self, chains: int) -> "CategoricalModel":
        """The models of only the first `chains` chains."""
        return CategoricalModel(self.probabilities[:chains], self.width)


@dataclass(frozen=True)
class Categorical:
    """A categorical distribution of single tokens, fitted as token frequencies (maximum likelihood)."""

    reads: ClassVar[str] = "tokens"
    vectorised: ClassVar[bool] = True
    conditional: ClassVar[bool] = False
    bias_means: ClassVar[str] = "temperature λ: probabilities in proportion to p^(1/λ)"

    def fit(
        self, data: Samples, *, space: Space, weights: np.ndarray | None, rng: np.random.Generator
    ) -> CategoricalModel:
        """Fit probabilities as weighted token counts; InputError for a token outside the vocabulary."""
        values = data.values  # (chains, n, width)
        if values.size == 0 or values.min() < 0 or values.max() >= space.vocabulary:
            raise InputError(
                f"got tokens of shape {values.shape}, expected at least one, and all from 0 to {space.vocabulary - 1}"
            )
        chains, _, width = values.shape
        codes = (values + space.vocabulary * np.arange(chains)[:, None, None]).ravel()
        shares = None if weights is None else np.tile(np.repeat(weights, width), chains)
        counts = np.bincount(codes, shares, minlength=chains * space.vocabulary).reshape(chains, space.vocabulary)
        return CategoricalModel(counts / counts.sum(1, keepdims=True), width)
