"""Error classes for users: invalid input, unusable stored files, and missing resources of the machine."""

import unicodedata

__all__ = ["ArtifactError", "AuditError", "InputError", "ResourceError", "one_line", "without_controls"]

_MOST = 2000  # characters of a line
_DIRECTIONS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # marks that reorder a line


class AuditError(Exception):
    """Base class of all errors shown to users; the text says what was found, what was expected and what to do.

    The error text is one line and safe to print, even if it quotes hostile names or contents.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


def one_line(text: str) -> str:
    """The text as one line that is safe to print in a terminal; the middle of a very long line is left out."""
    line = without_controls(" ".join(text.split()))
    return line if len(line) <= _MOST else f"{line[: _MOST // 2]} … {line[-_MOST // 2 :]}"


def without_controls(text: str) -> str:
    """The text with escapes for characters that control a terminal or hide text; line ends and tabs stay unchanged."""
    if text.isprintable():
        return text
    return "".join(_escaped(c) if _steers(c) else c for c in text)


def _steers(character: str) -> bool:
    kind = unicodedata.category(character)
    return (kind == "Cc" and character not in "\n\t") or kind == "Cs" or character in _DIRECTIONS


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


class InputError(AuditError, ValueError):
    """An error that the caller can fix: a wrong argument, an unusable source or an unknown name."""


class ArtifactError(AuditError):
    """A stored reference, index or state is missing, damaged, or was made by another encoder or version."""


class ResourceError(AuditError):
    """This machine lacks a required resource: a device, a library, a weights file or a lock."""
