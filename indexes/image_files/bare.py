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
    """Yield the parts of an image file; raises Unusable beyond 100,000 parts, which bounds memory and time."""
    for number, part in enumerate(parts):
        if number == _MOST_PARTS:
            raise Unusable(f"image file has over {_MOST_PARTS} parts")
        yield part
