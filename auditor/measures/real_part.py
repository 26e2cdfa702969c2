"""The real part of a reference in its semantic space, and the values to expect of a real sample of a set's size."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from auditor.answers import Scale
from auditor.measures.cells import Cells
from auditor.measures.copies import CopyScale, copy_scale
from auditor.measures.frechet import frechet_interval, frechet_of
from auditor.measures.kinds import cells_of_halves
from auditor.measures.prdc import Balls, balls_of, proportion
from auditor.statistics.frame import Frame, frame_of
from auditor.statistics.intervals import Measure
from auditor.statistics.moments import Moments, moments_of
from indexes.errors import InputError
from indexes.hashing import content_keys

__all__ = ["ANCHORS", "LEVEL_SIZE", "NEIGHBOURS", "SAMPLE_SIZE", "RealPart", "real_part_of"]

SAMPLE_SIZE = 4096  # items of a set whose vectors are kept
NEIGHBOURS = 5  # k of precision, recall, density, coverage
ANCHORS = 10_000  # real points whose balls are used
LEVEL_SIZE = 2000  # items at which a risk forecast states its Fréchet levels


@dataclass(frozen=True)
class RealPart:
    """Distinct real items in random order.

    The first items are the centres of the balls that precision, density and coverage use. A set is compared with a real
    sample that also consists of the first items. Each half of the real items is counted in the cells that were made
    from the other half.
    """

    vectors: np.ndarray  # (n, d) float32
    ids: tuple[str, ...]
    cells: tuple[Cells, ...]  # made by the first half and by the second half; none for fewer than 40 items
    left_out: int = 0  # copies of other real items
    device: str = "cpu"

    def __post_init__(self) -> None:
        if len(self.vectors) < 4 * NEIGHBOURS:
            raise InputError(
                f"the real part has {len(self.vectors)} distinct items, expected at least {4 * NEIGHBOURS}"
            )
        if len(self.ids) != len(self.vectors):
            raise InputError(f"the real part has {len(self.vectors)} vectors and {len(self.ids)} ids, expected equal")

    @property
    def held_out(self) -> np.ndarray:
        """The second half of the real items, which was not used to make the first cells."""
        return self.vectors[len(self.vectors) // 2 :]

    @cached_property
    def frame(self) -> Frame:
        return frame_of(self.vectors)

    @cached_property
    def placed(self) -> np.ndarray:
        """All real items in the coordinates of the frame, float32."""
        return self.place(self.vectors)

    @cached_property
    def anchors(self) -> np.ndarray:
        return self.placed[:ANCHORS]

    @cached_property
    def balls(self) -> Balls:
        """The balls around the anchors."""
        return balls_of(self.anchors, NEIGHBOURS, device=self.device)

    def place(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (n, d) in the coordinates of the anchors, float32."""
        return np.ascontiguousarray(self.frame.place(vectors), dtype=np.float32)

    @cached_property
    def copy_scale(self) -> CopyScale:
        """How near to each other near copies are, in the coordinates of the anchors."""
        return copy_scale(self.anchors, device=self.device)

    @cached_property
    def raw(self) -> Moments:
        return moments_of(self.vectors)

    def precision_baseline(self, *, level: float) -> Measure:
        """Share of anchors that are among the k nearest anchors of at least one other anchor."""
        nearest, m = self.balls.neighbours, len(self.anchors)
        balls = np.bincount(nearest.ravel(), minlength=m)  # balls of other anchors around each anchor
        sole = (balls[nearest] == 1).sum(1)  # anchors that lie in this ball alone
        return proportion(int((balls > 0).sum()), m, sole / m, level=level)

    def frechet_baseline(self, n: int, *, level: float | None = None) -> Measure:
        """Expected Fréchet distance between this real part and another real sample of n ≥ 2 items.

        The distance is measured between n items of the real part, but at most half of them, and the rest, and then
        scaled to the requested sizes. In simulations with 32 to 512 dimensions, the error is below 10 % if n is at most
        half the real part, and below 20 % if n is larger.
        """
        size, everything = min(n, len(self.vectors) // 2), len(self.vectors)
        some, rest = self.vectors[:size], self.vectors[size:]
        first, second = moments_of(some), moments_of(rest)
        between = frechet_of(second, first)
        smaller = ((1 / n + 1 / everything) / (1 / size + 1 / (everything - size))) ** self._frechet_rate
        if level is None:
            return Measure(between * smaller, n=size)
        low, high = frechet_interval(second, first, rest[:SAMPLE_SIZE], some[:SAMPLE_SIZE], level=level)
        return Measure(between * smaller, low=low * smaller, high=high * smaller, n=size)

    @cached_property
    def _frechet_rate(self) -> float:
        """Exponent p in E[F] ∝ (1/n₁ + 1/n₂)^p for sizes too large to be measured: 1 if n ≫ d, otherwise less.

        The exponent lies halfway between the exponent measured on quarters and halves of the real part, and the limit
        1.
        """
        half = len(self.vectors) // 2
        quarter = half // 2
        rows = self.vectors
        if quarter >= 2 * rows.shape[1]:
            return 1.0
        halves = frechet_of(moments_of(rows[:half]), moments_of(rows[half:]))
        quarters = frechet_of(moments_of(rows[:quarter]), moments_of(rows[half : half + quarter]))
        seen = np.log2(quarters / halves) if halves > 0 and quarters > 0 else 1.0
        return float((1 + np.clip(seen, 0, 1)) / 2)

    @property
    def scale(self) -> Scale:
        """Unit of the Fréchet distances in a risk forecast, and total variance of the real items.

        The unit is the Fréchet distance F expected between a real sample of `n` items and the real distribution. The
        real part is also a sample. Therefore the unit is only the share of the expected distance to the real part that
        is due to the sampling error of the n items.
        """
        own, theirs = 1 / LEVEL_SIZE, 1 / len(self.vectors)
        unit = self.frechet_baseline(LEVEL_SIZE).estimate * (own / (own + theirs)) ** self._frechet_rate
        variance = float(np.trace(self.raw.covariance))
        return Scale(n=LEVEL_SIZE, frechet=unit, total_variance=variance, width=self.vectors.shape[1])


def real_part_of(
    vectors: np.ndarray, ids: Sequence[str], digests: np.ndarray, *, seed: int, device: str = "cpu"
) -> RealPart:
    """The real part of items with these vectors (n, d), ids and content digests (n, 16); copies are left out.

    The order depends only on the contents and the seed. Of items with equal contents, one is kept.
    """
    keys = content_keys(digests, seed=seed)
    order = np.argsort(keys, kind="stable")
    order = order[np.sort(np.unique(keys[order], return_index=True)[1])]
    rows = np.ascontiguousarray(vectors[order], dtype=np.float32)
    cells = cells_of_halves(rows, seed=seed)
    return RealPart(rows, tuple(ids[i] for i in order), cells, len(vectors) - len(rows), device)
