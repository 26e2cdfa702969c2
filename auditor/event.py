"""The event whose probability is forecast: what counts as model autophagy."""

import math
from dataclasses import dataclass

import numpy as np

from indexes.errors import InputError

__all__ = ["Event", "margins"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """When a loop counts as gone MAD: the Fréchet ratio above, or the diversity ratio below, its limit."""

    frechet_ratio: float = 2.0  # F over that of generation 1
    diversity_ratio: float = 0.8  # recall over that of generation 1
    when: str = "at"  # the last generation, or "ever" up to it

    def __post_init__(self) -> None:
        if not (1 < self.frechet_ratio < math.inf and 0 < self.diversity_ratio < 1 and self.when in ("at", "ever")):
            raise InputError(
                f"an event of a Fréchet ratio above {self.frechet_ratio} or a diversity ratio below "
                f"{self.diversity_ratio}, {self.when}, expected one above 1, one between 0 and 1, and at or ever"
            )

    @property
    def sentence(self) -> str:
        """In words."""
        when = "at the last generation" if self.when == "at" else "at any generation"
        return f"{when}, frechet_ratio > {self.frechet_ratio:g} or diversity_ratio < {self.diversity_ratio:g}"


def margins(log_ratio: np.ndarray, log_diversity: np.ndarray, event: Event) -> np.ndarray:
    """How far each trajectory (n, T), generation 1 first, is beyond either limit in logarithms, (n, 2)."""
    beyond = np.stack(
        [log_ratio - math.log(event.frechet_ratio), math.log(event.diversity_ratio) - log_diversity], axis=-1
    )[:, 1:]
    return np.asarray(beyond[:, -1] if event.when == "at" else beyond.max(1))
