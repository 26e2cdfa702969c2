"""The three kinds of error, by who can act on them."""

import unicodedata

__all__ = ["ArtifactError", "AuditError", "InputError", "ResourceError", "one_line", "without_controls"]

_MOST = 2000  # characters of a line
_DIRECTIONS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # marks that reorder a line


class AuditError(Exception):
    """Base of every error for users; its text says what was found, what was expected and what to do.

    The text is one line and safe to show, whatever names and contents it quotes.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


def one_line(text: str) -> str:
    """The text as one line that is safe in a terminal; the middle of a very long line is left out."""
    line = without_controls(" ".join(text.split()))
    return line if len(line) <= _MOST else f"{line[: _MOST // 2]} … {line[-_MOST // 2 :]}"


def without_controls(text: str) -> str:
    """The text with characters escaped that control a terminal or hide text; line ends and tabs stay."""
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
    """The caller can fix it: a wrong argument, an unusable source, an unknown name."""


class ArtifactError(AuditError):
    """A stored reference, index or state is missing, damaged, or was made by another encoder or version."""


class ResourceError(AuditError):
    """This machine lacks something that is needed: a device, library, weights file or lock."""
