"""The interface of an encoder; the rest of madaudit may use encoders only through this interface."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

from indexes.records import Kind

__all__ = ["Encoder", "Sees"]

Sees = Literal["traces", "content"]


class Encoder(Protocol):
    """An encoder, which turns decoded items into vectors.

    `prepare` runs in decoding threads, ahead of the encoding; `__call__` runs in the main thread on fixed batches.
    """

    spec: str  # what a user writes to get this encoder again, in any working directory
    kind: Kind  # the kind of item it reads
    sees: Sees  # whether the vectors describe processing traces or the content of the item
    dim: int
    fingerprint: str  # name, weights digest, preprocessing version; vectors with different fingerprints are never mixed

    def prepare(self, data: Any) -> Any:
        """Prepare one decoded image (h, w, 3) uint8, text or vector; raises Unusable with a short skip reason."""

    def __call__(self, batch: Sequence[Any]) -> np.ndarray:
        """Encode a batch of prepared items as vectors (n, dim) float32."""
