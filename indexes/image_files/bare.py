"""A picture's bytes without whatever carries no pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from indexes.records import Unusable

__all__ = ["Bare", "bounded"]

_MOST_PARTS = 100_000
_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Bare:
    """Bytes that decode to a picture's pixels, and how those are to be turned."""

    data: bytes
    orientation: int | None = None  # as EXIF counts; None: as the decoder says


def bounded(parts: Iterator[_Part]) -> Iterator[_Part]:
    """The parts of a file; raises Unusable for more than any program writes, which would take memory and time."""
    for number, part in enumerate(parts):
        if number == _MOST_PARTS:
            raise Unusable(f"image file of over {_MOST_PARTS} parts")
        yield part
