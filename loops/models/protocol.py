"""What a family of generative models is: the only thing a loop relies on."""

from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from loops.samples import Samples, Space, Truth

__all__ = ["Family", "Likelihood", "Model", "VectorisedModel"]


class Model(Protocol):
    """A fitted model, or one a chain."""

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        """n items (of every chain) drawn with sampling bias λ = `bias`: 1 is unbiased, 0 yields modes only.

        Raises InputError for a λ outside what the family can do, (0, 1] or [0, 1].
        """


class Family(Protocol):
    """How models are fitted: a frozen dataclass whose fields, all with defaults, are the settings a user may change.

    A family that is `vectorised` gets all chains at once, values (chains, n, width), and its models return samples of
    that shape; every other gets one chain at a time, values (n, width). A `conditional` family needs labels and returns
    them. A family with a field `device` is given the one the user chose.
    """

    reads: ClassVar[str]  # "vectors" or "tokens"
    vectorised: ClassVar[bool]
    conditional: ClassVar[bool]
    bias_means: ClassVar[str]  # what the sampling bias λ does, in a phrase

    def fit(self, data: Samples, *, space: Space, weights: np.ndarray | None, rng: np.random.Generator) -> Model:
        """A model trained from scratch on `data`, never changing it.

        `weights` (n,) of mean 1, if any, say how much each item counts in the loss, the same for every chain.
        """


@runtime_checkable
class Likelihood(Protocol):
    """A model of one chain that can say how likely items are."""

    def log_likelihood(self, values: np.ndarray) -> np.ndarray:
        """Natural logarithm (n,) of the probability, or density, of items (n, width)."""


@runtime_checkable
class VectorisedModel(Protocol):
    """What the models of a vectorised family offer beside samples."""

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        """As of any model, for all chains."""

    def exact(self, truth: Truth) -> dict[str, np.ndarray]:
        """Measures (chains,) that follow from the parameters without sampling error; they replace sampled ones."""

    def first(self, chains: int) -> "VectorisedModel":
        """The models of the first chains."""
