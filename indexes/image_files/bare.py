"""A picture's bytes without whatever carries no pixels."""

from dataclasses import dataclass

__all__ = ["Bare"]


@dataclass(frozen=True, slots=True)
class Bare:
    """Bytes that decode to a picture's pixels, and how those are to be turned."""

    data: bytes
    orientation: int | None = None  # as EXIF counts; None: as the decoder says
