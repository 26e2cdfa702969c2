"""Fit and sample independent chains (repetitions): all at once for vectorised model families, else one by one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from loops.models.protocol import Family, Likelihood, Model, VectorisedModel
from loops.models.user_family import blamed, checked
from loops.random_streams import Purpose, Streams
from loops.samples import Samples, Space, Truth, concatenate

__all__ = ["Chains", "fit_chains", "streams_of"]


@dataclass(frozen=True, slots=True)
class Chains:
    """The fitted models of one generation: one vectorised model for all chains, or one model per chain."""

    models: tuple[Model, ...]
    count: int
    width: int  # numbers or tokens per item

    def sample(self, n: int, *, bias: float, rngs: list[np.random.Generator]) -> Samples:
        """Draw n items from the model of every chain, with values (chains, n, width)."""
        with blamed(self.models[0]):
            if self.vectorised is not None:
                made = self.vectorised.sample(n, bias=bias, rng=rngs[0])
                return checked(made, (self.count, n, self.width), self.vectorised)
            pairs = zip(self.models, rngs, strict=True)
            drawn = [checked(m.sample(n, bias=bias, rng=rng), (n, self.width), m) for m, rng in pairs]
        return concatenate(
            [Samples(d.values[None], None if d.labels is None else d.labels[None]) for d in drawn], axis=0
        )

    def first(self, count: int) -> "Chains":
        """The models of only the first `count` chains."""
        if self.vectorised is not None:
            return Chains((self.vectorised.first(count),), count, self.width)
        return Chains(self.models[:count], count, self.width)

    def cross_entropy(self, values: np.ndarray) -> np.ndarray | None:
        """Cross-entropy (chains,) of items (n, width), in nats per item; None if the models have no likelihood."""
        able = [model for model in self.models if isinstance(model, Likelihood)]
        return np.array([-model.log_likelihood(values).mean() for model in able]) if able else None

    def exact(self, truth: Truth) -> dict[str, np.ndarray]:
        """Measures (chains,) computed from model parameters without samples; empty for most families."""
        return {} if self.vectorised is None else self.vectorised.exact(truth)

    @property
    def vectorised(self) -> VectorisedModel | None:
        """The single model of all chains if the family is vectorised, else None."""
        found = self.models[0]
        return found if isinstance(found, VectorisedModel) else None


def streams_of(
    streams: Streams, purpose: Purpose, generation: int, *, family: Family, chains: int
) -> list[np.random.Generator]:
    """Random generators for the chains of a loop: a single one if the family is vectorised, else one per chain."""
    if family.vectorised:
        return [streams.rng(purpose, generation)]
    return [streams.rng(purpose, generation, chain) for chain in range(chains)]


def fit_chains(
    family: Family,
    data: Samples,
    *,
    space: Space,
    weights: np.ndarray | None,
    rngs: list[np.random.Generator],
    on_progress: Callable[[int], None] = lambda done: None,
) -> Chains:
    """Train models from scratch on data (chains, n, width); `on_progress` receives the number of finished chains."""
    count = len(data.values)
    models = []
    with blamed(family):
        if family.vectorised:
            model = family.fit(data, space=space, weights=weights, rng=rngs[0])
            on_progress(count)
            return Chains((model,), count, space.width)
        for chain, rng in enumerate(rngs):
            models.append(family.fit(data.chain(chain), space=space, weights=weights, rng=rng))
            on_progress(chain + 1)
    return Chains(tuple(models), count, space.width)
