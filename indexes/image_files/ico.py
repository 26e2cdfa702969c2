"""ICO: the icons that are PNG files, without what carries no pixels."""

import struct

from indexes.image_files import png
from indexes.image_files.bare import Bare
from indexes.image_files.orientation import UPRIGHT

__all__ = ["stripped"]

_HEAD, _ENTRY = 6, 16  # bytes
_PNG = b"\x89PNG\r\n\x1a\n"


def stripped(data: bytes) -> Bare | None:
    """The same icons, those that are PNG files put at the end without their metadata; None where there are none."""
    count = int.from_bytes(data[4:6], "little")
    found, added = bytearray(data), False
    for at in range(_HEAD, min(_HEAD + count * _ENTRY, len(data) - _ENTRY + 1), _ENTRY):
        (offset,) = struct.unpack_from("<I", data, at + 12)
        icon = data[offset:] if data.startswith(_PNG, offset) else b""  # it tells its end itself
        if icon and (bare := png.stripped(icon) or png.salvaged(icon)) is not None:
            struct.pack_into("<II", found, at + 8, len(bare.data), len(found))
            found += bare.data
            added = True
    return Bare(bytes(found), UPRIGHT) if added else None
