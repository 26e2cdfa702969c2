"""The encoder `embeddings[:DIM]`, which returns precomputed vectors unchanged."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from indexes.encoders.protocol import Sees
from indexes.errors import InputError
from indexes.records import Kind, Unusable

__all__ = ["ReadyMade", "load_embeddings"]

_LARGEST = 1e15  # the squares of longer vectors overflow the float32 products of the search


@final
class ReadyMade:
    """Returns vectors of width `dim` unchanged; if `dim` is 0, any width is accepted that all vectors share."""

    kind: Kind = "vector"
    sees: Sees = "content"

    def __init__(self, dim: int = 0) -> None:
        self.dim = dim
        self.spec = self.fingerprint = f"embeddings:{dim}" if dim else "embeddings"

    def prepare(self, data: np.ndarray) -> np.ndarray:
        if data.ndim != 1:
            raise Unusable(f"array of {data.ndim} dimensions, expected a vector")
        if self.dim and len(data) != self.dim:
            raise Unusable(f"vector of width {len(data)}, expected {self.dim}")
        if len(data) and np.abs(data).max() > _LARGEST:
            raise Unusable(f"values beyond {_LARGEST:g}")
        return data.astype(np.float32, copy=False)

    def __call__(self, batch: Sequence[Any]) -> np.ndarray:
        widths = sorted({len(vector) for vector in batch})
        if len(widths) > 1:
            raise InputError(
                f"got vectors of widths {', '.join(map(str, widths))}, expected one width: "
                "write embeddings:DIM to keep the vectors of width DIM and skip the other vectors"
            )
        return np.stack(batch)


def load_embeddings(args: str, *, device: str) -> ReadyMade:
    """The encoder for precomputed vectors, of width DIM if given; InputError unless DIM is a positive integer."""
    if args and (not args.isdecimal() or int(args) == 0):
        raise InputError(f"got embeddings:{args}, expected a positive integer such as embeddings:512")
    return ReadyMade(int(args or 0))
