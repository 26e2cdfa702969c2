"""Reduce a JPEG file to the segments that carry pixels, and read the orientation from the other segments."""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from indexes.image_files.bare import Bare, bounded
from indexes.image_files.orientation import UPRIGHT, of_exif, of_xmp

__all__ = ["START", "frame_of", "holds_another", "salvaged", "stripped"]

START = b"\xff\xd8"
_SCAN, _END, _COMMENT = 0xDA, 0xD9, 0xFE
_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF})
_NOTES = frozenset({*range(0xE0, 0xF0), _COMMENT})  # application segments and comments
_AFTER_SCAN = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # the first marker that ends coded pixels
_CANDIDATE = re.compile(rb"\xff[\xc0-\xc7\xc9-\xcf\xda-\xdf\xe0-\xef\xf7\xfe]")
_MOST_CANDIDATES = 1 << 16  # markers checked before the pixels; about the number in 100 MB of random bytes
_MOST_TABLES = 64  # in one segment
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


@dataclass(frozen=True, slots=True)
class _Segment:
    marker: int
    start: int  # of the marker
    end: int
    content: memoryview  # after the length

    @property
    def carries_pixels(self) -> bool:
        """Whether a JPEG decoder needs the segment; two application segments define how channels become colours."""
        if self.marker == 0xE0:
            return bytes(self.content[:5]) == b"JFIF\0" and len(self.content) >= 14
        if self.marker == 0xEE:
            return bytes(self.content[:5]) == b"Adobe" and len(self.content) >= 12
        return self.marker not in _NOTES


def stripped(data: bytes) -> Bare | None:
    """A JPEG picture without the parts that carry no pixels; None if the sequence of segments is damaged."""
    view = memoryview(data)
    head = list(bounded(_head(view)))
    if not head or head[-1].marker != _SCAN or not any(s.marker in _FRAMES for s in head):
        return None
    return _assembled(view, head, head)


def salvaged(data: bytes) -> Bare | None:
    """A JPEG picture with damaged segments before the pixels; bytes that cannot be a segment are skipped."""
    view = memoryview(data)
    before = [s for s in bounded(_head(view)) if _is_sound(s)]
    has_frame = any(s.marker in _FRAMES for s in before)
    after = _last_run(view, before[-1].start if has_frame else len(START), has_frame)
    if not after:
        return None
    before = [s for s in before if s.start < after[0].start]
    head = [*(s for s in before if s.end <= after[0].start), *after]
    return _assembled(view, head, [*before, *after]) if _has_its_tables(head) else None


def holds_another(data: bytes) -> bool:
    """Whether a decoder could wrongly decode a preview or second picture, because a JPEG's main frame is not found."""
    return frame_of(data) is None and data.find(START + b"\xff", len(START)) > 0


def frame_of(data: bytes) -> tuple[int, int] | None:
    """Marker and bit depth of a JPEG frame, which define the coding of the pixels; None if no frame is found."""
    for segment in bounded(_head(memoryview(data))):
        if segment.marker in _FRAMES and len(segment.content):
            return segment.marker, segment.content[0]
    return None


def _assembled(view: memoryview, head: list[_Segment], notes: list[_Segment]) -> Bare:
    parts = [view[s.start : s.end] for s in head if s.carries_pixels]
    return Bare(b"".join([START, *parts, *bounded(_scans(view, head[-1].end))]), _orientation(notes))


def _head(view: memoryview) -> Iterator[_Segment]:
    """The JPEG segments up to the first scan, or up to the first position where no segment begins."""
    at = len(START)
    while (segment := _segment(view, at)) is not None:
        yield segment
        if segment.marker == _SCAN:
            return
        at = segment.end


def _segment(view: memoryview, at: int) -> _Segment | None:
    while at + 4 <= len(view) and view[at] == 0xFF and view[at + 1] == 0xFF:  # padding
        at += 1
    if at + 4 > len(view) or view[at] != 0xFF or view[at + 1] not in _FRAMES | _TABLES | _NOTES | {_SCAN}:
        return None
    (length,) = struct.unpack_from(">H", view, at + 2)
    end = at + 2 + length
    return _Segment(view[at + 1], at, end, view[at + 4 : end]) if length >= 2 and end <= len(view) else None


def _scans(view: memoryview, at: int) -> Iterator[memoryview]:
    """The coded pixels of a JPEG and the segments between its scans, up to the end of the picture."""
    while (found := _AFTER_SCAN.search(view, at)) is not None:
        start = found.start()
        yield view[at:start]
        if view[start + 1] == _END:
            yield view[start : start + 2]
            return
        segment = _segment(view, start)
        if segment is None:
            yield view[start:]
            return
        if segment.marker not in _NOTES:
            yield view[start : segment.end]
        at = segment.end
    yield view[at:]


def _is_sound(segment: _Segment) -> bool:
    """Whether the content of a JPEG segment matches its marker."""
    content = segment.content
    if segment.marker == 0xDB:
        return _is_table(content, _steps_length, 1)
    if segment.marker == 0xC4:
        return _is_table(content, _codes_length, 17)
    if segment.marker == 0xDD:
        return len(content) == 2
    if segment.marker in _FRAMES:
        return len(content) >= 9 and len(content) == 6 + 3 * content[5] and any(content[3:5])
    if segment.marker == _SCAN:
        return len(content) >= 6 and len(content) == 4 + 2 * content[0]
    return True


def _is_table(content: memoryview, length_of: Callable[[memoryview], int], least: int) -> bool:
    """Whether a segment is a sequence of complete tables, each with a class of 0 or 1 and a number of 0 to 3."""
    for _ in range(_MOST_TABLES):
        if not len(content):
            return True
        if len(content) < least or content[0] & 0xEC or length_of(content) > len(content):
            return False
        content = content[length_of(content) :]
    return False


def _last_run(view: memoryview, first: int, has_frame: bool) -> list[_Segment]:
    """The gapless run of JPEG segments that leads to the scan of the largest frame; empty if there is no such run.

    A run of segments that begins right after a start-of-image marker belongs to another picture in the file: a preview
    or a second picture.
    """
    candidates = [match.start() for match in islice(_CANDIDATE.finditer(view, first), _MOST_CANDIDATES + 1)]
    if len(candidates) > _MOST_CANDIDATES:
        return []
    following: dict[int, int] = {}  # where the next segment begins; the scan leads to itself
    longest: dict[int, int] = {}  # the first segment of the longest run to each scan
    scans: dict[int, int] = {}
    for start in reversed(candidates):
        segment = _segment(view, start)
        if segment is None or not _is_sound(segment):
            continue
        after = segment if segment.marker == _SCAN else _segment(view, segment.end)
        if after is not None and (segment.marker == _SCAN or after.start in scans):
            following[start] = after.start
            scans[start] = start if segment.marker == _SCAN else scans[after.start]
            longest[scans[start]] = start
    runs = [_run(view, start, following) for start in longest.values() if _begins_the_picture(view, start)]
    complete = [run for run in runs if has_frame or _area(run)]
    return max(complete, key=lambda run: (_area(run), -run[0].start), default=[])


def _run(view: memoryview, start: int, following: dict[int, int]) -> list[_Segment]:
    run: list[_Segment] = []
    while not run or run[-1].start != start:
        segment = _segment(view, start)
        if segment is None:
            break
        run.append(segment)
        start = following[start]
    return run


def _begins_the_picture(view: memoryview, start: int) -> bool:
    return start == len(START) or bytes(view[start - 2 : start]) != START


def _has_its_tables(head: list[_Segment]) -> bool:
    """Whether all coding tables that a JPEG frame and its first scan refer to are present."""
    frame = next((s for s in head if s.marker in _FRAMES), None)
    if frame is None:
        return False
    steps = {number for s in head if s.marker == 0xDB for number in _numbers(s.content, _steps_length)}
    if not {byte & 15 for byte in frame.content[8::3]} <= {number & 15 for number in steps}:
        return False
    if frame.marker not in (0xC0, 0xC1, 0xC2):  # Huffman tables are checked for these frames only
        return True
    codes = {number for s in head if s.marker == 0xC4 for number in _numbers(s.content, _codes_length)}
    named = head[-1].content[2 : 1 + 2 * head[-1].content[0] : 2]
    if frame.marker == 0xC2:  # the first scan of a progressive frame needs only the DC tables
        return all(byte >> 4 in codes for byte in named)
    return all({byte >> 4, 0x10 | (byte & 15)} <= codes for byte in named)


def _numbers(content: memoryview, length_of: Callable[[memoryview], int]) -> Iterator[int]:
    """Class and number of each coding table in a JPEG segment, as one byte."""
    while len(content):
        yield content[0]
        content = content[length_of(content) :]


def _steps_length(table: memoryview) -> int:
    return 65 + 64 * (table[0] >> 4)


def _codes_length(table: memoryview) -> int:
    return 17 + sum(table[1:17])


def _area(run: list[_Segment]) -> int:
    for segment in run:
        if segment.marker in _FRAMES:
            height, width = struct.unpack_from(">HH", segment.content, 1)
            return int(max(height, 1) * width)
    return 0


def _orientation(segments: list[_Segment]) -> int:
    """The picture's orientation from the EXIF block, else from the last XMP text, else upright."""
    notes = [s.content for s in segments if s.marker == 0xE1]
    blocks = [note for note in notes if bytes(note[:6]) == _EXIF]
    if blocks:
        found = of_exif(blocks[0] if len(blocks) == 1 else b"".join([blocks[0], *(block[6:] for block in blocks[1:])]))
        if found is not None:
            return found
    texts = [note for note in notes if bytes(note[: len(_XMP)]) == _XMP]
    return of_xmp(texts[-1:]) or UPRIGHT
