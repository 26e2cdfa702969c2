"""Load encoders by the name after `--encoder`; an encoder's libraries are imported only when the encoder is loaded."""

from importlib import import_module
from typing import Protocol

from indexes.encoders.concat import Concat
from indexes.encoders.protocol import Encoder
from indexes.encoders.weights import NAMES, EncoderPart, split_spec
from indexes.errors import InputError

__all__ = ["ENCODERS", "Encoder", "Loader", "load_encoder"]


class Loader(Protocol):
    """A function that makes an encoder from the text after `NAME:` in the encoder's spec; the text may be empty."""

    def __call__(self, args: str, *, device: str) -> Encoder: ...


def _lazily(name: str) -> Loader:
    """The function `indexes.encoders.NAME.load_NAME`, imported at the first call because importing torch is slow."""

    def load(args: str, *, device: str) -> Encoder:
        loader: Loader = getattr(import_module(f"indexes.encoders.{name}"), f"load_{name}")
        return loader(args, device=device)

    return load


ENCODERS: dict[str, Loader] = {name: _lazily(name) for name in NAMES}


def load_encoder(spec: str, *, device: str = "cpu") -> Encoder:
    """The encoder for a spec `NAME[:ARGS]`, or for several joined as `A+B`; raises InputError for an unknown name.

    A `+` joins encoders only if an encoder name follows and the `+` is not part of an existing path (`split_spec`).
    """
    encoders = tuple(_load_one(part, device) for part in split_spec(spec))
    return encoders[0] if len(encoders) == 1 else Concat(encoders)


def _load_one(part: EncoderPart, device: str) -> Encoder:
    if part.name not in ENCODERS:
        known = ", ".join(ENCODERS)
        raise InputError(f"no encoder is called {part.name!r}: choose one of {known}, or join several with '+'")
    return ENCODERS[part.name](part.arguments, device=device)
