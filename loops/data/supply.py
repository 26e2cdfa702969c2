"""Supplies of training items other than clean data: contaminated data, model samples, and data with cluster labels."""

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
    """A supply of real items in which a fixed share of every draw is replaced by contaminant items."""

    clean: Supply
    contaminant: Supply
    share: float

    def __post_init__(self) -> None:
        found, expected = self.contaminant.space, self.clean.space
        if (found.width, found.vocabulary) != (expected.width, expected.vocabulary):
            kinds = [
                f"{s.width} columns" + (f" of {s.vocabulary} tokens" if s.vocabulary else "") for s in (found, expected)
            ]
            raise InputError(
                f"the contaminant's items have {kinds[0]}, but the real items have {kinds[1]}: choose matching data"
            )
        if found.bounds and expected.bounds and found.bounds != expected.bounds:
            ranges = f"the contaminant's values lie in {found.bounds}, but the real values lie in {expected.bounds}"
            raise InputError(f"{ranges}: store real items and contaminant with the same range")

    @property
    def space(self) -> Space:
        """The form of the clean items, without classes if clean items and contaminant have different class counts."""
        same = self.clean.space.classes == self.contaminant.space.classes
        return self.clean.space if same else replace(self.clean.space, classes=0)

    def draw(self, n: int, *, chains: int, fresh: bool, rng: np.random.Generator) -> Samples:
        """Draw n items per chain; the contaminants are spread evenly, so that every part of the draw has its share."""
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
    """Mask (n,) of contaminant positions: the first k positions hold k·share contaminants, rounded, for every k."""
    steps = np.floor(np.arange(n + 1) * share + 0.5 + 1e-9)
    return np.diff(steps) > 0


@dataclass(frozen=True, slots=True)
class Sampled:
    """A supply whose items are samples of a fitted model."""

    model: Model
    space: Space
    is_vectorised: bool
    digest: str = ""  # digest of the family's file, if the user wrote the family

    def draw(self, n: int, *, chains: int, fresh: bool, rng: np.random.Generator) -> Samples:
        """Draw n independent model samples per chain; `fresh` makes no difference."""
        drawn = self.model.sample(n * chains, bias=1.0, rng=rng)
        drawn = drawn.chain(0) if self.is_vectorised else drawn
        labels = None if drawn.labels is None else drawn.labels.reshape(chains, n)
        return Samples(drawn.values.reshape(chains, n, self.space.width), labels)


def sampled(family: Family, clean: Population, *, rng: np.random.Generator) -> Sampled:
    """A supply of samples from a model that is fitted to at most 2,000 clean items."""
    supply: Supply = clustered(clean, clean, rng=rng) if family.conditional else clean
    drawn = supply.draw(min(clean.size or _FITTED_TO, _FITTED_TO), chains=1, fresh=False, rng=rng)
    data = drawn if family.vectorised else drawn.chain(0)
    model = family.fit(data, space=supply.space, weights=None, rng=rng)
    space = supply.space if family.conditional else replace(supply.space, classes=0)  # other families return no labels
    return Sampled(model, space, family.vectorised)


_CLUSTERS = 10


@dataclass(frozen=True, slots=True)
class Clustered:
    """A supply whose items are labelled with the number of the nearest cluster centre."""

    supply: Supply
    centres: np.ndarray  # (classes, width) float32

    @property
    def space(self) -> Space:
        return replace(self.supply.space, classes=len(self.centres))

    def draw(self, n: int, *, chains: int, fresh: bool, rng: np.random.Generator) -> Samples:
        """Draw items from the underlying supply, with the cluster number as label."""
        values = self.supply.draw(n, chains=chains, fresh=fresh, rng=rng).values
        flat = np.ascontiguousarray(values.reshape(chains * n, -1), dtype=np.float32)
        return Samples(values, knn(flat, self.centres, 1)[1].reshape(chains, n))


def clustered(supply: Supply, clean: Population, *, rng: np.random.Generator) -> Supply:
    """The supply unchanged if its items have labels, else with labels from ten k-means clusters of clean data."""
    if supply.space.classes:
        return supply
    from sklearn.cluster import KMeans

    probe = clean.draw(min(clean.size or _FITTED_TO, _FITTED_TO), chains=1, fresh=False, rng=rng).values[0]
    fitted = KMeans(min(_CLUSTERS, len(probe)), n_init=1, random_state=int(rng.integers(2**31))).fit(
        probe.astype(np.float64)
    )
    return Clustered(supply, fitted.cluster_centers_.astype(np.float32))
