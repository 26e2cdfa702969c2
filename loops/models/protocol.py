"""Interfaces that a model family and the models of the family must implement for use in a loop."""

from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from loops.samples import Samples, Space, Truth

__all__ = ["Family", "Likelihood", "Model", "VectorisedModel"]


class Model(Protocol):
    """Interface of a fitted model, which holds one chain, or all chains if the model family is vectorised."""

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        """Draw n items (per chain) with sampling bias λ = `bias`: 1 is unbiased, 0 gives only the model's modes.

        Raises InputError if λ is outside the range that the family supports, (0, 1] or [0, 1].
        """


class Family(Protocol):
    """Interface of a model family: a frozen dataclass whose fields are the user's settings, all with defaults.

    A `vectorised` family is fitted to all chains at once, with values (chains, n, width), and its models return samples
    of that shape. A family that is not vectorised is fitted to one chain at a time, with values (n, width). A
    `conditional` family needs labelled training items and returns labelled samples. If a family has a field `device`,
    the field is set to the device that the user chose.
    """

    reads: ClassVar[str]  # "vectors" or "tokens"
    vectorised: ClassVar[bool]
    conditional: ClassVar[bool]
    bias_means: ClassVar[str]  # effect of the sampling bias λ, as a phrase

    def fit(self, data: Samples, *, space: Space, weights: np.ndarray | None, rng: np.random.Generator) -> Model:
        """Train a model from scratch on `data`, without modifying the arrays in `data`.

        `weights` (n,) are the weights of the items in the loss, with mean 1 and equal for all chains. If `weights` is
        None, all items have the same weight.
        """


@runtime_checkable
class Likelihood(Protocol):
    """Interface of a model of one chain that can compute the likelihood of items."""

    def log_likelihood(self, values: np.ndarray) -> np.ndarray:
        """Natural logarithm (n,) of the probability, or density, of items (n, width)."""


@runtime_checkable
class VectorisedModel(Protocol):
    """Interface of a model that holds all chains at once, as vectorised families return."""

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        """Draw n items for every chain like `Model.sample`, with values (chains, n, width)."""

    def exact(self, truth: Truth) -> dict[str, np.ndarray]:
        """Measures (chains,) computed from model parameters, which replace measures of the same name from samples."""

    def first(self, chains: int) -> "VectorisedModel":
        """The models of only the first `chains` chains."""
