"""The interface of a family of generative models, which is all that a loop relies on."""

from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from loops.samples import Samples, Space, Truth

__all__ = ["Family", "Likelihood", "Model", "VectorisedModel"]


class Model(Protocol):
    """A fitted model of one chain, or of all chains if its family is vectorised."""

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        """n items (of every chain) drawn with sampling bias λ = `bias`: 1 is unbiased, 0 yields modes only.

        Raises InputError for a λ outside the range that the family supports, (0, 1] or [0, 1].
        """


class Family(Protocol):
    """Fits models: a frozen dataclass whose fields, all with defaults, are the settings that a user may change.

    A `vectorised` family gets all chains at once, values (chains, n, width), and its models return samples of that
    shape; any other family gets one chain at a time, values (n, width). A `conditional` family needs labels and returns
    labels. A family with a field `device` receives the device that the user chose.
    """

    reads: ClassVar[str]  # "vectors" or "tokens"
    vectorised: ClassVar[bool]
    conditional: ClassVar[bool]
    bias_means: ClassVar[str]  # effect of the sampling bias λ, as a phrase

    def fit(self, data: Samples, *, space: Space, weights: np.ndarray | None, rng: np.random.Generator) -> Model:
        """A model trained from scratch on `data`, which must not be changed.

        `weights` (n,) with mean 1 are the weights of the items in the loss, the same for every chain; None: all equal.
        """


@runtime_checkable
class Likelihood(Protocol):
    """A model of one chain that can compute the likelihood of items."""

    def log_likelihood(self, values: np.ndarray) -> np.ndarray:
        """Natural logarithm (n,) of the probability, or density, of items (n, width)."""


@runtime_checkable
class VectorisedModel(Protocol):
    """The additional methods of a model of a vectorised family."""

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        """As `Model.sample`, for all chains: values (chains, n, width)."""

    def exact(self, truth: Truth) -> dict[str, np.ndarray]:
        """Measures (chains,) that follow from the parameters without sampling error; they replace sampled ones."""

    def first(self, chains: int) -> "VectorisedModel":
        """The models of the first chains."""
