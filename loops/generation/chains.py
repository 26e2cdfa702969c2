"""Independent chains, side by side for families that can and one after the other for all others."""

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
    """The models of one generation: a single vectorised one, or one a chain."""

    models: tuple[Model, ...]
    count: int
    width: int  # of an item

    def sample(self, n: int, *, bias: float, rngs: list[np.random.Generator]) -> Samples:
        """n items of every chain, values (chains, n, width)."""
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
        """The first chains."""
        if self.vectorised is not None:
            return Chains((self.vectorised.first(count),), count, self.width)
        return Chains(self.models[:count], count, self.width)

    def cross_entropy(self, values: np.ndarray) -> np.ndarray | None:
        """Minus the mean log likelihood (chains,) of items (n, width), in nats an item, if the models know it."""
        able = [model for model in self.models if isinstance(model, Likelihood)]
        return np.array([-model.log_likelihood(values).mean() for model in able]) if able else None

    def exact(self, truth: Truth) -> dict[str, np.ndarray]:
        """Measures (chains,) that need no samples; none for most families."""
        return {} if self.vectorised is None else self.vectorised.exact(truth)

    @property
    def vectorised(self) -> VectorisedModel | None:
        """The one model of all chains, if there is one."""
        found = self.models[0]
        return found if isinstance(found, VectorisedModel) else None


def streams_of(
    streams: Streams, purpose: Purpose, generation: int, *, family: Family, chains: int
) -> list[np.random.Generator]:
    """One stream for all chains of a vectorised family, else one a chain."""
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
    report: Callable[[int], None] = lambda done: None,
) -> Chains:
    """Models trained from scratch on data (chains, n, width); `report` is told how many chains are done."""
    count = len(data.values)
    models = []
    with blamed(family):
        if family.vectorised:
            model = family.fit(data, space=space, weights=weights, rng=rngs[0])
            report(count)
            return Chains((model,), count, space.width)
        for chain, rng in enumerate(rngs):
            models.append(family.fit(data.chain(chain), space=space, weights=weights, rng=rng))
            report(chain + 1)
    return Chains(tuple(models), count, space.width)
