"""Parse encoder specs: split `A+B` into encoders, find the weights that a spec names, and make paths absolute."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NAMES", "EncoderPart", "absolute_path", "join_parts", "spec_of_path", "split_spec"]

NAMES = ("embeddings", "forensic", "lexical", "onnx", "open_clip", "pixels", "sentence")
_NAME_FOLLOWS = rf"(?=(?:{'|'.join(NAMES)})(?:[:+]|$))"
_CHECKPOINTS = (".bin", ".onnx", ".pt", ".pth", ".safetensors")


@dataclass(frozen=True, slots=True)
class EncoderPart:
    """One encoder of a spec: the text before the weights, and the weights (a path or a published name)."""

    head: str  # `onnx`, `open_clip:ARCH`; the whole spec of an encoder without weights
    weights: str | None = None  # None: the encoder has none

    @property
    def name(self) -> str:
        """The encoder's name; it is one of `NAMES` if the encoder exists."""
        return self.head.partition(":")[0]

    @property
    def arguments(self) -> str:
        """The encoder's arguments: the text after its name and a colon."""
        return self._plain.partition(":")[2]

    @property
    def spec(self) -> str:
        """The encoder as written in a spec, with each ambiguous `+` escaped."""
        return re.sub(rf"\+{_NAME_FOLLOWS}", r"\\+", self._plain)

    @property
    def is_stored_as_path(self) -> bool:
        """Whether the weights are certainly a file or a folder and not a published name."""
        text = self.weights or ""
        return self.name == "onnx" or text.startswith((os.sep, "~", ".")) or text.endswith(_CHECKPOINTS)

    @property
    def is_here(self) -> bool:
        """Whether a file or a folder exists at the path of the weights."""
        return bool(self.weights) and os.path.exists(os.path.expanduser(self.weights or ""))

    @property
    def _plain(self) -> str:
        return self.head if self.weights is None else f"{self.head}:{self.weights}"


def split_spec(spec: str) -> tuple[EncoderPart, ...]:
    """The encoders that a spec `A+B` joins.

    A `+` joins encoders only if the name of an encoder follows it. A `+` before an encoder name belongs to a path if
    the path exists, or if the `+` is written `\\+`, as in stored specs.
    """
    pieces = [_unescaped(piece) for piece in re.split(rf"(?<!\\)\+{_NAME_FOLLOWS}", spec)]
    parts: list[EncoderPart] = []
    while pieces:
        taken, part = _longest(pieces)
        parts.append(part)
        del pieces[:taken]
    return tuple(parts)


def _longest(pieces: Sequence[str]) -> tuple[int, EncoderPart]:
    """Number of pieces of the first encoder, and the encoder; pieces are joined only if they form an existing path."""
    for taken in range(len(pieces), 1, -1):
        part = _part("+".join(pieces[:taken]))
        if part.is_here:
            return taken, part
    return 1, _part(pieces[0])


def _part(text: str) -> EncoderPart:
    name, _, arguments = text.partition(":")
    if name in ("onnx", "sentence"):
        return EncoderPart(name, arguments)
    if name == "open_clip":
        architecture, _, weights = arguments.partition(":")
        return EncoderPart(f"{name}:{architecture}", weights)
    return EncoderPart(text)


def _unescaped(piece: str) -> str:
    return re.sub(rf"\\(\+{_NAME_FOLLOWS})", r"\1", piece)


def join_parts(parts: Sequence[EncoderPart]) -> str:
    """One spec for several encoders joined by `+`; the inverse of `split_spec`."""
    return "+".join(part.spec for part in parts)


def spec_of_path(head: str, path: str | Path) -> str:
    """The encoder spec `head:PATH` with the weights' absolute path, which is valid in any working directory."""
    return EncoderPart(head, absolute_path(path)).spec


def absolute_path(path: str | Path) -> str:
    """The absolute path of a file or folder, without `~`, `..` and symbolic links in its parent folders.

    A symbolic link as the last component is kept, because loaders use its suffix and the files beside it.
    """
    plain = Path(os.path.expanduser(path))
    last = plain.name if plain.name != ".." else ""
    return str(plain.parent.resolve() / last if last else plain.resolve())
