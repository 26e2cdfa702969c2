"""Encoders by the name that a user writes after `--encoder`; heavy libraries are imported only when one is loaded."""

from importlib import import_module
from typing import Protocol

from indexes.encoders.concat import Concat
from indexes.encoders.protocol import Encoder
from indexes.encoders.weights import NAMES, EncoderPart, split_spec
from indexes.errors import InputError

__all__ = ["ENCODERS", "Encoder", "Loader", "load_encoder"]


class Loader(Protocol):
    """Makes one kind of encoder from the text after `NAME:` in its spec, which may be empty."""

    def __call__(self, args: str, *, device: str) -> Encoder: ...


def _lazily(name: str) -> Loader:
    """`load_NAME` of `indexes.encoders.NAME`, imported at the first call because importing torch takes seconds."""

    def load(args: str, *, device: str) -> Encoder:
        loader: Loader = getattr(import_module(f"indexes.encoders.{name}"), f"load_{name}")
        return loader(args, device=device)

    return load


ENCODERS: dict[str, Loader] = {name: _lazily(name) for name in NAMES}


def load_encoder(spec: str, *, device: str = "cpu") -> Encoder:
    """The encoder of `NAME[:ARGS]`, or the concatenation of `A+B`; InputError lists the names if one is unknown.

    A `+` joins encoders only if a known name follows it and the `+` is not part of an existing path (`split_spec`).
    """
    encoders = tuple(_load_one(part, device) for part in split_spec(spec))
    return encoders[0] if len(encoders) == 1 else Concat(encoders)


def _load_one(part: EncoderPart, device: str) -> Encoder:
    if part.name not in ENCODERS:
        known = ", ".join(ENCODERS)
        raise InputError(f"no encoder is called {part.name!r}: choose one of {known}, or join some by '+'")
    return ENCODERS[part.name](part.arguments, device=device)
