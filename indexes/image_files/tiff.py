"""Reduce the first directory of a TIFF file to the tags that define how pixels are stored."""

import struct

from indexes.image_files.bare import Bare
from indexes.image_files.directory import Directory, read_directory
from indexes.image_files.orientation import UPRIGHT, of_exif

__all__ = ["is_camera_raw", "stripped"]

_PIXELS = frozenset({
    256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293,  # size, samples, strips, fax options
    317, 320, 322, 323, 324, 325, 332, 338, 339, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521,  # tiles, JPEG
    529, 530, 531, 532, 50674,  # YCbCr, LERC
})  # fmt: skip
_SUBFILE_TYPE, _PHOTOMETRIC, _SUB_DIRECTORIES, _DNG_VERSION = 254, 262, 330, 50706
_RAW_LAYOUTS = (32803, 34892)  # colour filter array, linear raw


def stripped(data: bytes) -> Bare | None:
    """The first picture of a TIFF file, without tags that carry no pixels; None if no directory can be read."""
    view = memoryview(data)
    directory = read_directory(view)
    if directory is None or (directory.is_big and view[2] != 43):
        return None
    return Bare(_with_directory(data, directory), of_exif(view) or UPRIGHT)


def _with_directory(data: bytes, directory: Directory) -> bytes:
    """The TIFF file with a reduced directory appended at its end, so that no data in the file have to move."""
    entries = [entry.stored for tag, entry in sorted(directory.entries.items()) if tag in _PIXELS]
    padding = -len(data) % 8
    count, offset = ("Q", "Q") if directory.is_big else ("H", "L")
    at = struct.pack(directory.order + offset, len(data) + padding)
    head = data[:8] + at if directory.is_big else data[:4] + at
    end = bytes(struct.calcsize(offset))
    number = struct.pack(directory.order + count, len(entries))
    return b"".join([head, memoryview(data)[len(head) :], bytes(padding), number, *entries, end])


def is_camera_raw(data: bytes) -> bool:
    """Whether a TIFF file is a camera raw file, whose first directory holds a preview or sensor samples."""
    if data[8:11] == b"CR\x02":
        return True
    directory = read_directory(memoryview(data))
    if directory is None:
        return False
    is_preview = int(_whole(directory, _SUBFILE_TYPE)) & 1 == 1
    return _whole(directory, _PHOTOMETRIC) in _RAW_LAYOUTS or (is_preview and _SUB_DIRECTORIES in directory.entries)


def _whole(directory: Directory, tag: int) -> int:
    number = directory.number(tag)
    return int(number) if number is not None and number == number else 0
