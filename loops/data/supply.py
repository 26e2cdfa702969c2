"""Supplies that modify the drawn items: contamination, samples of a model, and labels from clustering."""

from dataclasses import dataclass, replace

import numpy as np

from indexes.errors import InputError
from indexes.search import knn
from loops.data.population import Population, Supply
from loops.models.protocol import Family, Model
from loops.samples import Samples, Space, concatenate

__all__ = ["Clustered", "Contaminated", "Sampled", "clustered", "is_contaminant", "sampled"]

_FITTED_TO = 2000  # clean items, at most


@dataclass(frozen=True, slots=True)
class Contaminated:
    """A supply in which a share of every draw comes from another supply."""

    clean: Supply
    contaminant: Supply
    share: float

    def __post_init__(self) -> None:
        found, expected = self.contaminant.space, self.clean.space
        if (found.width, found.vocabulary) != (expected.width, expected.vocabulary):
            kinds = [
                f"{s.width} columns" + (f" of {s.vocabulary} tokens" if s.vocabulary else "") for s in (found, expected)
            ]
            raise InputError(f"the contaminant's items have {kinds[0]}, the real ones {kinds[1]}: choose data alike")
        if found.bounds and expected.bounds and found.bounds != expected.bounds:
            ranges = f"the contaminant's values lie in {found.bounds}, the real ones in {expected.bounds}"
            raise InputError(f"{ranges}: store both alike")

    @property
    def space(self) -> Space:
        """The space of the clean items, without classes if the clean and the mixed-in supply differ in their number."""
        same = self.clean.space.classes == self.contaminant.space.classes
        return self.clean.space if same else replace(self.clean.space, classes=0)

    def draw(self, n: int, *, chains: int, fresh: bool, rng: np.random.Generator) -> Samples:
        """n items per chain; contaminants are at the positions of `is_contaminant`, so every part has its share."""
        which = is_contaminant(n, self.share)
        foreign = int(which.sum())
        parts = [
            supply.draw(count, chains=chains, fresh=fresh, rng=rng)
            for supply, count in ((self.clean, n - foreign), (self.contaminant, foreign))
            if count
        ]
        order = np.empty(n, dtype=np.int64)
        order[~which], order[which] = np.arange(n - foreign), np.arange(n - foreign, n)
        drawn = concatenate(parts).take(order) if parts else self.clean.draw(0, chains=chains, fresh=fresh, rng=rng)
        return drawn if self.space.classes else Samples(drawn.values)


def is_contaminant(n: int, share: float) -> np.ndarray:
    """Mask (n,) of the contaminants: any first k positions hold k·share contaminants, rounded."""
    steps = np.floor(np.arange(n + 1) * share + 0.5 + 1e-9)
    return np.diff(steps) > 0


@dataclass(frozen=True, slots=True)
class Sampled:
    """The samples of a model."""

    model: Model
    space: Space
    is_vectorised: bool
    digest: str = ""  # digest of the family's file, if the user wrote the family

    def draw(self, n: int, *, chains: int, fresh: bool, rng: np.random.Generator) -> Samples:
        """Independent samples, `fresh` or not."""
        drawn = self.model.sample(n * chains, bias=1.0, rng=rng)
        drawn = drawn.chain(0) if self.is_vectorised else drawn
        labels = None if drawn.labels is None else drawn.labels.reshape(chains, n)
        return Samples(drawn.values.reshape(chains, n, self.space.width), labels)


def sampled(family: Family, clean: Population, *, rng: np.random.Generator) -> Sampled:
    """Samples of a family fitted to at most 2,000 clean items."""
    supply: Supply = clustered(clean, clean, rng=rng) if family.conditional else clean
    drawn = supply.draw(min(clean.size or _FITTED_TO, _FITTED_TO), chains=1, fresh=False, rng=rng)
    data = drawn if family.vectorised else drawn.chain(0)
    model = family.fit(data, space=supply.space, weights=None, rng=rng)
    space = supply.space if family.conditional else replace(supply.space, classes=0)  # other families return no labels
    return Sampled(model, space, family.vectorised)


_CLUSTERS = 10


@dataclass(frozen=True, slots=True)
class Clustered:
    """A supply whose items are labelled by their nearest centre."""

    supply: Supply
    centres: np.ndarray  # (classes, width) float32

    @property
    def space(self) -> Space:
        return replace(self.supply.space, classes=len(self.centres))

    def draw(self, n: int, *, chains: int, fresh: bool, rng: np.random.Generator) -> Samples:
        """The items of the underlying supply, with labels."""
        values = self.supply.draw(n, chains=chains, fresh=fresh, rng=rng).values
        flat = np.ascontiguousarray(values.reshape(chains * n, -1), dtype=np.float32)
        return Samples(values, knn(flat, self.centres, 1)[1].reshape(chains, n))


def clustered(supply: Supply, clean: Population, *, rng: np.random.Generator) -> Supply:
    """The supply itself if its items have labels, else with labels from ten k-means clusters of clean data."""
    if supply.space.classes:
        return supply
    from sklearn.cluster import KMeans

    probe = clean.draw(min(clean.size or _FITTED_TO, _FITTED_TO), chains=1, fresh=False, rng=rng).values[0]
    fitted = KMeans(min(_CLUSTERS, len(probe)), n_init=1, random_state=int(rng.integers(2**31))).fit(
        probe.astype(np.float64)
    )
    return Clustered(supply, fitted.cluster_centers_.astype(np.float32))
