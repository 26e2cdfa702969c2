"""Remove the parts of an image file that carry no pixels, with one module per file format."""

from collections.abc import Callable, Iterator

from indexes.image_files import boxes, gif, ico, jpeg, png, tiff, webp
from indexes.image_files.bare import Bare
from indexes.sources.signatures import HEAD_BYTES, content_of

__all__ = ["Bare", "readings"]

_STRIPPED: dict[str, Callable[[bytes], Bare | None]] = {
    "avif": boxes.stripped_avif,
    "gif": gif.stripped,
    "ico": ico.stripped,
    "jpeg": jpeg.stripped,
    "jpeg2000": boxes.stripped_jpeg2000,
    "png": png.stripped,
    "tiff": tiff.stripped,
    "webp": webp.stripped,
}
_SALVAGED: dict[str, Callable[[bytes], Bare | None]] = {
    "gif": gif.salvaged,
    "jpeg": jpeg.salvaged,
    "jpeg2000": boxes.salvaged_jpeg2000,
    "png": png.salvaged,
    "webp": webp.salvaged,
}


_MISLEADING = {"jpeg": jpeg.holds_another, "webp": webp.holds_several}  # may decode to the wrong picture


def readings(data: bytes) -> Iterator[Bare]:
    """Versions of an image file to decode, in order; decode a later version only if all earlier versions fail.

    The first version to decode is the picture without its metadata, if metadata and pixels can be separated. The second
    version leaves out damaged metadata, and the last version is the unchanged file. Raises Unusable if the metadata are
    larger than a limit.
    """
    content = _content(data)
    if content == "avif":  # its decoder also rotates by other boxes than metadata, and metadata seldom make it fail
        yield Bare(data)
    stripped = _STRIPPED[content](data) if content in _STRIPPED else None
    if stripped is not None:
        yield stripped
    salvaged = _SALVAGED[content](data) if content in _SALVAGED else None
    if salvaged is not None:
        yield salvaged
    if stripped is None and content != "avif" and not (content in _MISLEADING and _MISLEADING[content](data)):
        yield Bare(data)


def _content(data: bytes) -> str:
    return "jpeg" if data.startswith(jpeg.START) else content_of(data[:HEAD_BYTES])
