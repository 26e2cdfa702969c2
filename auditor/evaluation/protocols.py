"""Simulate sets of known synthetic fraction: split labelled items into a reference and pools, and mix the pools."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np

from auditor.evidence.detector import FEWEST
from indexes.errors import InputError

__all__ = ["PREVALENCES", "Draw", "Items", "Pair", "Scenario", "draws_of", "references_of"]

PREVALENCES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.25, 0.4, 0.7)
_LEAST_OF_SIZE = 0.6  # sets with less than this share of the requested items are left out


@dataclass(frozen=True, slots=True)
class Items:
    """Vectors of labelled items; `names` gives the real source or the generator of each item."""

    vectors: np.ndarray  # (n, d)
    digests: np.ndarray  # (n, 16) uint8, of the contents
    names: np.ndarray  # (n,) str

    def __post_init__(self) -> None:
        sizes = [len(self.vectors), len(self.digests), len(self.names)]
        if len(set(sizes)) > 1:
            raise InputError(f"got {sizes} vectors, digests and names, expected one of each for every item")

    def rows(self, name: str) -> np.ndarray:
        """Row numbers of the items of a source or generator; raises InputError if there are none."""
        found = np.flatnonzero(self.names == name)
        if len(found) == 0:
            raise InputError(f"no item is called {name}, expected some of {', '.join(np.unique(self.names))}")
        return found


@dataclass(frozen=True, slots=True)
class Pair:
    """The real sources and generators of a reference and of a simulated set."""

    real: str  # real source of the reference and of the set
    known: tuple[str, ...]  # generators of the reference
    incoming: str | None  # generator of the set's synthetic items; None: all items of the set are real
    _: KW_ONLY
    foreign: str | None = None  # a second real source
    foreign_share: float = 0.0  # share of the set's real items that come from the second source
    taught: bool = False  # whether the reference contains the second source too

    def __post_init__(self) -> None:
        if not 0 <= self.foreign_share <= 1:
            raise InputError(f"foreign_share is {self.foreign_share}, expected a share between 0 and 1")
        if self.foreign is None and (self.foreign_share > 0 or self.taught):
            raise InputError("foreign_share or taught is set, but there is no foreign source: set foreign")
        if {self.real, self.foreign} & {*self.known, self.incoming} - {None}:
            raise InputError(f"the pair {self.title} names a real source as a generator: use different names")

    @property
    def title(self) -> str:
        """Short title of the pair: the reference's labels ← the set's labels."""
        known = " + ".join(self.known) or "real only"
        if self.taught:
            return f"{self.real} + {self.foreign}, {known} ← {self.foreign_share:.0%} {self.foreign}, {self.incoming}"
        if self.foreign is not None:
            return f"{self.real}, {known} ← {self.foreign_share:.0%} {self.foreign}"
        return f"{known} ← {self.incoming or 'real'}"

    @property
    def real_sources(self) -> tuple[str, ...]:
        """The real sources of the reference."""
        return (self.real, self.foreign) if self.taught and self.foreign is not None else (self.real,)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Pairs of reference and set to simulate, each at every set size and every synthetic fraction."""

    summary: str  # one sentence or two
    pairs: tuple[Pair, ...]
    _: KW_ONLY
    reference: int  # items of each component of the reference; fewer if there are too few
    sizes: tuple[int, ...]  # items of a set
    prevalences: tuple[float, ...] = PREVALENCES  # synthetic fractions of a set
    complete: bool = False  # whether the reference is declared to know every generator

    def __post_init__(self) -> None:
        if wrong := [share for share in self.prevalences if not 0 <= share <= 1]:
            raise InputError(f"the prevalence is {wrong[0]}, expected a share between 0 and 1")
        if any(self.prevalences) and any(pair.incoming is None for pair in self.pairs):
            raise InputError("a set without a generator has the prevalence 0: use prevalences=(0.0,)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A reference, and a simulated set whose synthetic fraction is known."""

    pair: Pair
    n: int  # requested number of items in the set; the set has fewer if the pools are too small
    prevalence: float  # requested synthetic fraction
    is_synthetic: np.ndarray  # (n,) bool
    components: tuple[np.ndarray, ...]  # vectors (n_k, d) of each component of the reference, the real sources first
    component_digests: tuple[np.ndarray, ...]  # (n_k, 16)
    incoming: np.ndarray  # (n, d)
    incoming_digests: np.ndarray  # (n, 16)
    seed: int  # seed of the folds and of other random choices

    @property
    def truth(self) -> float:
        """The synthetic fraction of the set."""
        return float(self.is_synthetic.mean())

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the reference's components."""
        return (*self.pair.real_sources, *self.pair.known)

    @property
    def n_real(self) -> int:
        """Number of the reference's components that are real sources."""
        return len(self.pair.real_sources)


def references_of(scenario: Scenario) -> list[tuple[Pair, ...]]:
    """The pairs of the scenario, grouped so that all pairs of a group use the same reference."""
    groups: dict[tuple[object, ...], list[Pair]] = defaultdict(list)
    for pair in scenario.pairs:
        groups[pair.real, pair.known, pair.foreign, pair.taught].append(pair)
    return [tuple(pairs) for pairs in groups.values()]


def draws_of(scenario: Scenario, items: Items, number: int, *, name: str) -> list[Draw]:
    """Simulated sets that use one reference: one set for each combination of its pairs, sizes and prevalences.

    `number`, modulo the number of groups, selects a group of `references_of`. `number` and `name` together determine
    every random choice. Each number gives a new random split of the items into reference and pools. If the pools are
    too small for a set, the set has up to two fifths fewer items; a set that would have to be even smaller is left out.
    """
    groups = references_of(scenario)
    pairs = groups[number % len(groups)]
    rng = np.random.default_rng([number, *name.encode()])
    parts, pools = _parts_and_pools(pairs, items, scenario.reference, rng)
    cells = itertools.product(pairs, scenario.sizes, scenario.prevalences)
    drawn = [(*cell, *_composed(cell[0], pools, cell[1], cell[2], rng)) for cell in cells]
    return [
        Draw(
            pair=pair,
            n=size,
            prevalence=prevalence,
            is_synthetic=is_synthetic,
            components=tuple(items.vectors[part] for part in parts),
            component_digests=tuple(items.digests[part] for part in parts),
            incoming=items.vectors[rows],
            incoming_digests=items.digests[rows],
            seed=number,
        )
        for pair, size, prevalence, rows, is_synthetic in drawn
        if len(rows)
    ]


_Pools = dict[str | None, np.ndarray]  # row numbers for the sets, by source or generator


def _parts_and_pools(
    pairs: Sequence[Pair], items: Items, reference: int, rng: np.random.Generator
) -> tuple[list[np.ndarray], _Pools]:
    """Row numbers of the items in each component of the reference, and of the items left for the sets."""
    asked = pairs[0]
    parts: list[np.ndarray] = []
    pools: _Pools = {}
    for source in (asked.real, *([asked.foreign] if asked.foreign is not None else [])):
        size = reference if source in asked.real_sources else 0
        part, pools[source] = _split(items.rows(source), size, rng)
        parts += [part] if size else []
    incoming = {pair.incoming for pair in pairs if pair.incoming is not None}
    for generator in (*asked.known, *sorted(incoming - set(asked.known))):
        rows = items.rows(generator)
        # a generator that occurs in sets keeps a fifth of its items for them, unless the reference needs FEWEST
        size = min(reference, max(FEWEST, len(rows) * 4 // 5)) if generator in incoming else reference
        part, pools[generator] = _split(rows, size if generator in asked.known else 0, rng)
        parts += [part] if generator in asked.known else []
    return parts, pools


def _composed(
    pair: Pair, pools: _Pools, size: int, prevalence: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of a set in random order, and which rows are synthetic; both are empty if the pools are too small."""
    real_share = (1 - prevalence) * (1 - pair.foreign_share)
    needs = {pair.real: real_share, pair.foreign: (1 - prevalence) * pair.foreign_share, pair.incoming: prevalence}
    reach = min([size, *(int(len(pools[name]) / share + 1e-9) for name, share in needs.items() if share > 0)])
    if reach < _LEAST_OF_SIZE * size:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=bool)
    n_synthetic, n_foreign = round(prevalence * reach), round(needs[pair.foreign] * reach)
    counts = {pair.incoming: n_synthetic, pair.foreign: n_foreign, pair.real: reach - n_synthetic - n_foreign}
    names = [name for name, n in counts.items() if n > 0]
    chosen = [rng.choice(pools[name], min(counts[name], len(pools[name])), replace=False) for name in names]
    is_synthetic = np.repeat([name == pair.incoming for name in names], [len(rows) for rows in chosen])
    order = rng.permutation(len(is_synthetic))
    return np.concatenate(chosen)[order], is_synthetic[order]


def _split(rows: np.ndarray, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    order = rng.permutation(rows)
    return order[:size], order[size:]
