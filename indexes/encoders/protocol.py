"""The interface of an encoder, which is all that the rest of madaudit may rely on."""

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
    kind: Kind  # the kind of item it reads
    sees: Sees  # whether the vectors describe processing traces or the content of the item
    dim: int
    fingerprint: str  # name, weights digest, preprocessing version; vectors with different fingerprints are never mixed

    def prepare(self, data: Any) -> Any:
        """Prepare one decoded image (h, w, 3) uint8, text or vector; raises Unusable with a short reason to count."""

    def __call__(self, batch: Sequence[Any]) -> np.ndarray:
        """Prepared items → (n, dim) float32."""
