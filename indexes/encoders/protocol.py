"""What an encoder is: the only thing the rest of madaudit may rely on."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

from indexes.records import Kind

__all__ = ["Encoder", "Sees"]

Sees = Literal["traces", "content"]


class Encoder(Protocol):
    """Turns decoded items into vectors.

    `prepare` runs in decoding threads, ahead of the encoder; `__call__` runs in the main thread on fixed batches.
    """

    spec: str  # what a user writes to get this encoder again, in any working directory
    kind: Kind  # what it reads
    sees: Sees  # processing traces, or what the item is about
    dim: int
    fingerprint: str  # name, weights digest, preprocessing version: vectors of different fingerprints never meet

    def prepare(self, data: Any) -> Any:
        """One decoded image (h, w, 3) uint8, text, or vector made ready; raises Unusable with a countable reason."""

    def __call__(self, batch: Sequence[Any]) -> np.ndarray:
        """Prepared items → (n, dim) float32."""
