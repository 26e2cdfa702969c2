"""Separate random streams for real draws, synthetic draws, selection, training and measuring."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

__all__ = ["Purpose", "Streams"]


class Purpose(IntEnum):
    """The purpose of a random stream; two purposes never share random numbers."""

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
    """Random streams, each of which depends only on the seed, the purpose, the generation and the chain.

    An interrupted loop can therefore continue from any generation, and loops with equal seeds draw equal real data.
    """

    seed: int

    def rng(self, purpose: Purpose, generation: int, chain: int | None = None) -> np.random.Generator:
        """A new random number generator for a purpose, a generation and a chain (without `chain`: for all chains)."""
        key = (int(purpose), generation, 0 if chain is None else chain + 1)
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
