"""Definition of model autophagy, the event whose probability is forecast."""

import math
from dataclasses import dataclass

import numpy as np

from indexes.errors import InputError

__all__ = ["Event", "margins"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Model autophagy (MAD): a training loop exceeds a limit of its Fréchet ratio or falls below one of diversity."""

    frechet_ratio: float = 2.0  # limit of F divided by the F of generation 1
    diversity_ratio: float = 0.8  # limit of recall divided by the recall of generation 1
    when: str = "at"  # "at": at the last generation; "ever": at any generation up to the last

    def __post_init__(self) -> None:
        if not (1 < self.frechet_ratio < math.inf and 0 < self.diversity_ratio < 1 and self.when in ("at", "ever")):
            raise InputError(
                f"the event has frechet_ratio {self.frechet_ratio}, diversity_ratio {self.diversity_ratio} and when "
                f"{self.when}; expected a frechet_ratio above 1, a diversity_ratio between 0 and 1, and when at or ever"
            )

    @property
    def sentence(self) -> str:
        """Definition of the autophagy event in words."""
        when = "at the last generation" if self.when == "at" else "at any generation"
        return f"{when}, frechet_ratio > {self.frechet_ratio:g} or diversity_ratio < {self.diversity_ratio:g}"


def margins(log_ratio: np.ndarray, log_diversity: np.ndarray, event: Event) -> np.ndarray:
    """Log margins (n, 2) by which n training loops of T generations, (n, T), violate the event's two limits.

    The first column of `log_ratio` and of `log_diversity` is generation 1. A negative margin means that the loop stays
    within the limit.
    """
    beyond = np.stack(
        [log_ratio - math.log(event.frechet_ratio), math.log(event.diversity_ratio) - log_diversity], axis=-1
    )[:, 1:]
    return np.asarray(beyond[:, -1] if event.when == "at" else beyond.max(1))
