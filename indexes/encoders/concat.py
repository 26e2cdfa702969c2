"""The encoder `A+B`, which puts the vectors of several encoders side by side."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from indexes.encoders.protocol import Encoder, Sees
from indexes.errors import InputError
from indexes.records import Kind

__all__ = ["Concat"]


@final
class Concat:
    """Joins the vectors of several encoders; `sees` is "content" only if all these encoders see content.

    Raises InputError if the encoders read different kinds of item.
    """

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        kinds = {encoder.kind for encoder in encoders}
        self.spec = "+".join(encoder.spec for encoder in encoders)
        if len(kinds) != 1:
            raise InputError(
                f"cannot join {self.spec}: the encoders read {', '.join(sorted(kinds))}, expected one kind of item"
            )
        self.kind: Kind = encoders[0].kind
        self.sees: Sees = "content" if all(encoder.sees == "content" for encoder in encoders) else "traces"
        self.dim = sum(encoder.dim for encoder in encoders)
        self.fingerprint = "+".join(encoder.fingerprint for encoder in encoders)
        self._encoders = tuple(encoders)

    def prepare(self, data: Any) -> tuple[Any, ...]:
        return tuple(encoder.prepare(data) for encoder in self._encoders)

    def __call__(self, batch: Sequence[tuple[Any, ...]]) -> np.ndarray:
        parts = [encoder([item[i] for item in batch]) for i, encoder in enumerate(self._encoders)]
        return np.concatenate(parts, axis=1)
