"""One member of a folder or archive: is it wanted, is its name safe, and its bytes as an item."""

import posixpath
import re

from indexes.records import Item, Kind, Skip

__all__ = ["UNSUPPORTED", "clean", "is_companion", "is_unsafe", "is_wanted", "key", "member_record", "suffix"]

UNSUPPORTED = "unsupported file type"

_IMAGES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_WANTED: dict[Kind, frozenset[str]] = {"image": _IMAGES, "text": frozenset({".txt"}), "vector": frozenset()}
_COMPANIONS = _IMAGES | {".caption", ".cls", ".id", ".index", ".json", ".npy", ".npz", ".txt"}
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")


def suffix(name: str) -> str:
    """The last extension, in lower case."""
    return posixpath.splitext(name)[1].lower()


def key(name: str) -> str:
    """The WebDataset key: the path up to the first dot of its last part."""
    folder, base = posixpath.split(name)
    return posixpath.join(folder, base[0:1] + base[1:].partition(".")[0])


def is_wanted(name: str, kind: Kind) -> bool:
    """Whether a file of this name is itself an item of the kind."""
    return suffix(name) in _WANTED[kind]


def is_companion(name: str, kind: Kind) -> bool:
    """Whether a file of this name describes a wanted file with the same key rather than being an item."""
    return suffix(name) in _COMPANIONS and not is_wanted(name, kind)


def is_unsafe(name: str) -> bool:
    """Whether an archive member's name points outside the archive."""
    return name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or bool(_DRIVE.match(name))


def clean(name: str) -> str:
    """The member's name without `./`; an unsafe one stays as it was written."""
    return name if is_unsafe(name) else posixpath.normpath(name)


def member_record(name: str, data: bytes, kind: Kind) -> Item | Skip:
    """The bytes of one wanted file as an item; an image's bytes are judged by whoever decodes them."""
    if not data:
        return Skip(name, "empty file")
    if kind == "image":
        return Item(name, data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Skip(name, "not UTF-8 text")
    return Item(name, text) if text.strip() else Skip(name, "empty text")
