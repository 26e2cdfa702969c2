"""Decide for one member of a folder or archive whether it is wanted and safe, and turn its bytes into an item."""

import posixpath
import re

from indexes.records import Item, Kind, Skip
from indexes.sources.signatures import ARCHIVES, HEAD_BYTES, IMAGES, OTHER_IMAGES, TABLES, content_of

__all__ = [
    "JUNK",
    "NESTED",
    "UNSUPPORTED",
    "clean",
    "is_companion",
    "is_junk",
    "is_unsafe",
    "is_wanted",
    "junk_record",
    "key",
    "member_record",
    "suffix",
    "unwanted_record",
]

UNSUPPORTED = "unsupported file type"
NESTED = "archive or table inside, not opened"
JUNK = "hidden system file"

_IMAGES = frozenset(
    {
        ".avif", ".bmp", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx", ".pgm", ".png",
        ".pnm", ".ppm", ".tif", ".tiff", ".webp",
    }
)  # fmt: skip
_WANTED: dict[Kind, frozenset[str]] = {"image": _IMAGES, "text": frozenset({".txt"}), "vector": frozenset()}
_COMPANIONS = _IMAGES | {".caption", ".cls", ".id", ".index", ".json", ".npy", ".npz", ".txt"}
_LISTS = frozenset({".csv", ".json", ".jsonl", ".ndjson", ".tsv"})  # texts that hold many items
_DESCRIPTIONS = re.compile(
    r"(readme|licen[cs]e|citation|changelog|notice|authors|contributing)(\.(md|rst|html|cff))?|\.git(attributes|ignore)",
    re.I,
)
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
_JUNK_FOLDERS = frozenset({"__MACOSX", ".ipynb_checkpoints", "@eaDir", ".git", ".Trashes", ".Spotlight-V100"})
_JUNK_FILES = frozenset({".DS_Store", ".directory", "Thumbs.db", "ehthumbs.db", "desktop.ini"})


def suffix(name: str) -> str:
    """The last extension of a file name, in lower case."""
    return posixpath.splitext(name)[1].lower()


def key(name: str) -> str:
    """The WebDataset key of a file: its path up to the first dot of the file name."""
    folder, base = posixpath.split(name)
    return posixpath.join(folder, base[0:1] + base[1:].partition(".")[0])


def is_wanted(name: str, kind: Kind) -> bool:
    """Whether a file of this name is itself an item of the kind."""
    return suffix(name) in _WANTED[kind] and not is_junk(name)


def is_companion(name: str, kind: Kind) -> bool:
    """Whether a file of this name describes a wanted file with the same key rather than being an item."""
    return suffix(name) in _COMPANIONS and suffix(name) not in _WANTED[kind]


def is_junk(name: str) -> bool:
    """Whether an operating system or editor left this file beside the data: `._*`, `__MACOSX/`, `.DS_Store`, …"""
    *folders, base = name.split("/")
    return base.startswith("._") or base in _JUNK_FILES or not _JUNK_FOLDERS.isdisjoint(folders)


def is_unsafe(name: str) -> bool:
    """Whether an archive member's name points outside the archive."""
    return name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or bool(_DRIVE.match(name))


def clean(name: str) -> str:
    """An archive member's name without `./`; an unsafe name is returned unchanged."""
    return name if is_unsafe(name) else posixpath.normpath(name)


def junk_record(path: str, size: int) -> Skip:
    """The skip record for a junk file (see `is_junk`): its reason is counted, and its number of items is 0."""
    return Skip(path, JUNK, items=0, bytes=size)


def unwanted_record(path: str, head: bytes, size: int, kind: Kind) -> Skip | None:
    """The skip record for a file without a wanted suffix, by its first bytes; None if the file is a wanted item.

    A text file beside images or vectors only describes these files, so it counts as no item, like a README or licence.
    Archives, tables and lists of texts count as an unknown number of items.
    """
    content = content_of(head)
    if kind == "image" and content in IMAGES:
        return None
    if kind == "image" and content in OTHER_IMAGES:
        return Skip(path, f"image format not supported ({content})", bytes=size)
    if content in ARCHIVES or content in TABLES:
        return Skip(path, NESTED, items=None, bytes=size)
    is_list = content == "text" and suffix(path) in _LISTS
    is_description = content == "text" and (kind != "text" or _DESCRIPTIONS.fullmatch(posixpath.basename(path)))
    if content == "empty" or is_description:
        return Skip(path, UNSUPPORTED, items=0, bytes=size)
    return Skip(path, UNSUPPORTED, items=None if is_list else 1, bytes=size)


def member_record(name: str, data: bytes, kind: Kind) -> Item | Skip:
    """The bytes of one wanted file as an item; an image's bytes are checked later by the decoder."""
    if not data:
        return Skip(name, "empty file")
    if kind == "image":
        return _nested(name, data) or Item(name, data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return _nested(name, data) or Skip(name, "not UTF-8 text", was_read=True)
    return Skip(name, "empty text", was_read=True) if not text or text.isspace() else Item(name, text)


def _nested(name: str, data: bytes) -> Skip | None:
    """The skip record for an archive or table that has the suffix of an item; None for other content."""
    content = content_of(data[:HEAD_BYTES])
    return Skip(name, NESTED, items=None, bytes=len(data)) if content in ARCHIVES or content in TABLES else None
