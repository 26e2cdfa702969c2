"""Separate random streams for real draws, synthetic draws, selection, training and measuring."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

__all__ = ["Purpose", "Streams"]


class Purpose(IntEnum):
    """The purpose of random numbers; two purposes never share a stream."""

    real = 0
    synthetic = 1
    selection = 2
    training = 3
    measuring = 4
    contaminant = 5
    labels = 6
    limit = 7
    verifying = 8
    reference = 9


@dataclass(frozen=True, slots=True)
class Streams:
    """A stream for each purpose, generation and chain, which depends only on these and the seed.

    A loop can therefore continue from any generation, and two loops with the same seed see the same real data.
    """

    seed: int

    def rng(self, purpose: Purpose, generation: int, chain: int | None = None) -> np.random.Generator:
        """A new generator at the start of the stream; `chain` None means one stream for all chains."""
        key = (int(purpose), generation, 0 if chain is None else chain + 1)
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
