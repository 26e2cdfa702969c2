"""The event whose probability is forecast: what counts as model autophagy."""

import math
from dataclasses import dataclass

import numpy as np

from indexes.errors import InputError

__all__ = ["Event", "margins"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A loop counts as MAD if its Fréchet ratio is above, or its diversity ratio below, the limit given here."""

    frechet_ratio: float = 2.0  # limit of F divided by the F of generation 1
    diversity_ratio: float = 0.8  # limit of recall divided by the recall of generation 1
    when: str = "at"  # "at": at the last generation; "ever": at any generation up to the last

    def __post_init__(self) -> None:
        if not (1 < self.frechet_ratio < math.inf and 0 < self.diversity_ratio < 1 and self.when in ("at", "ever")):
            raise InputError(
                f"an event has frechet_ratio {self.frechet_ratio}, diversity_ratio {self.diversity_ratio} and when "
                f"{self.when}, expected a frechet_ratio above 1, a diversity_ratio between 0 and 1, and at or ever"
            )

    @property
    def sentence(self) -> str:
        """The event in words."""
        when = "at the last generation" if self.when == "at" else "at any generation"
        return f"{when}, frechet_ratio > {self.frechet_ratio:g} or diversity_ratio < {self.diversity_ratio:g}"


def margins(log_ratio: np.ndarray, log_diversity: np.ndarray, event: Event) -> np.ndarray:
    """How far each trajectory (n, T) is beyond each of the two limits, in logarithms, (n, 2).

    The first column of a trajectory is generation 1. Negative numbers are within a limit.
    """
    beyond = np.stack(
        [log_ratio - math.log(event.frechet_ratio), math.log(event.diversity_ratio) - log_diversity], axis=-1
    )[:, 1:]
    return np.asarray(beyond[:, -1] if event.when == "at" else beyond.max(1))
