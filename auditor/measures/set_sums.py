"""Sums over an audited set from which Fréchet distance, precision, density and coverage are computed."""

from dataclasses import dataclass

import numpy as np

from auditor.measures.prdc import Balls, density_of, proportion
from auditor.measures.real_part import RealPart
from auditor.statistics.intervals import Measure
from auditor.statistics.moments import Moments, moments_of
from indexes.search import membership

__all__ = ["SetSums", "sums_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSums:
    """Sums over a set's items, which can be added over its parts. Each anchor, an item of the real part, has a ball."""

    raw: Moments
    precise: int  # items inside at least one ball
    ball_squares: int  # Σ over the items of the squared number of balls around an item
    totals: np.ndarray  # (m,) int64, items in each ball
    sole_items: np.ndarray  # (m,) int64, items that are in this ball and in no other
    only_items: np.ndarray  # (m,) uint64, sum of the keys of a ball's items, in parts of the set with one such item

    def __add__(self, other: "SetSums") -> "SetSums":
        return SetSums(
            raw=self.raw + other.raw,
            precise=self.precise + other.precise,
            ball_squares=self.ball_squares + other.ball_squares,
            totals=self.totals + other.totals,
            sole_items=self.sole_items + other.sole_items,
            only_items=self.only_items + other.only_items,
        )

    @property
    def n(self) -> int:
        """The number of items."""
        return self.raw.n

    def precision(self, *, copies: float, level: float) -> Measure:
        """Share of the items inside at least one ball (Kynkäänniemi et al. 2019)."""
        return proportion(self.precise, self.n, self.sole_items / self.n, copies=copies, level=level)

    def density(self, balls: Balls, growth: float, *, copies: float, level: float) -> Measure:
        """Density (Naeem et al. 2020) over all items, with the anchors' balls; `density_of` explains `growth`."""
        return density_of(self.totals, self.ball_squares, self.n, balls.neighbours, growth, copies=copies, level=level)

    def coverage(self, *, copies: float, level: float) -> Measure:
        """Coverage: the share of balls around real items that contain an item of the set (Naeem et al. 2020)."""
        m = len(self.totals)
        _, alone = np.unique(self.only_items[self.totals == 1], return_counts=True)  # balls that an item alone covers
        found = proportion(int((self.totals > 0).sum()), m, np.sqrt(copies) * alone / m, level=level)
        return Measure(found.estimate, low=found.low, high=found.high, n=self.n)


def sums_of(vectors: np.ndarray, keys: np.ndarray, real: RealPart) -> SetSums:
    """The sums over items with these vectors (n, d) and content keys (n,) uint64."""
    found = membership(real.place(vectors), real.anchors, real.balls.radii, device=real.device)
    only = np.zeros(len(real.anchors), dtype=np.uint64)
    has_one = found.only_queries >= 0
    only[has_one] = keys[found.only_queries[has_one]]
    return SetSums(
        raw=moments_of(vectors),
        precise=int((found.counts > 0).sum()),
        ball_squares=int((found.counts.astype(np.int64) ** 2).sum()),
        totals=found.totals,
        sole_items=found.sole_queries,
        only_items=only,
    )
