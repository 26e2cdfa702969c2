"""The bytes of an image file without the parts that carry no pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from indexes.records import Unusable

__all__ = ["Bare", "bounded"]

_MOST_PARTS = 100_000
_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Bare:
    """Bytes of an image file that decode to a picture's pixels, and the orientation of the pixels."""

    data: bytes
    orientation: int | None = None  # EXIF value 1 … 8; None: use the orientation that the decoder reports


def bounded(parts: Iterator[_Part]) -> Iterator[_Part]:
    """The parts of a file; raises Unusable if there are more parts than in normal files, to bound memory and time."""
    for number, part in enumerate(parts):
        if number == _MOST_PARTS:
            raise Unusable(f"image file of over {_MOST_PARTS} parts")
        yield part
