"""Load a stored reference's encoders again: find their weights on this machine and check that they are the same."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from indexes.encoders import load_encoder
from indexes.encoders.protocol import Encoder
from indexes.encoders.weights import EncoderPart, absolute_path, join_parts, split_spec
from indexes.errors import ArtifactError, InputError, ResourceError

__all__ = ["AS_STORED", "Weights", "load_recorded", "relocated", "shortest_name", "weights_of"]


@dataclass(frozen=True, slots=True)
class Weights:
    """Paths of encoder weights on this machine, as strings `SPEC=PATH`.

    SPEC is the spec of an encoder as stored in a reference. The part of a spec before the weights (`onnx`,
    `open_clip:ARCH`) is enough if the reference has only one such encoder.
    """

    given: tuple[str, ...] = ()  # for one reference, each must name its weights; takes precedence over `usual`
    usual: tuple[str, ...] = ()  # for all references of this machine: those of other references are ignored


AS_STORED = Weights()  # all weights lie where the reference says


@dataclass(frozen=True, slots=True)
class _Place:
    """Encoder weights that a string `SPEC=PATH` names, and their path."""

    text: str
    part: EncoderPart
    path: str
    is_whole: bool  # SPEC is the whole stored spec


def weights_of(specs: Iterable[str]) -> dict[str, EncoderPart]:
    """Encoders in these specs that need weights, keyed by their own specs."""
    parts = (part for spec in specs for part in split_spec(spec))
    return {part.spec: part for part in parts if part.weights is not None}


def relocated(specs: Sequence[str], weights: Weights, *, reference: str) -> tuple[str, ...]:
    """Specs in which the paths of weights are replaced by the paths on this machine.

    Raises InputError for a string that names no weights or several weights of the reference, for two paths of the same
    weights, and for a path that does not exist.
    """
    parts = weights_of(specs)
    usual = [_place(text, parts, specs, "MADAUDIT_WEIGHTS") for text in weights.usual]
    given = [_place(text, parts, specs, "--weights") for text in weights.given]
    if None in given:
        text = weights.given[given.index(None)]
        raise InputError(f"--weights {text} names no weights of the reference {reference!r}: {_candidates(parts)}")
    places = _paths(usual, "MADAUDIT_WEIGHTS") | _paths(given, "--weights")
    if not places:
        return tuple(specs)
    return tuple(join_parts([_moved(part, places) for part in split_spec(spec)]) for spec in specs)


def _moved(part: EncoderPart, places: Mapping[str, str]) -> EncoderPart:
    return EncoderPart(part.head, places[part.spec]) if part.spec in places else part


def _paths(places: Sequence[_Place | None], option: str) -> dict[str, str]:
    """Path of each named encoder, keyed by its spec; a complete SPEC takes precedence over a partial SPEC."""
    found: dict[str, _Place] = {}
    for place in sorted((place for place in places if place is not None), key=lambda place: not place.is_whole):
        former = found.setdefault(place.part.spec, place)
        if former.is_whole == place.is_whole and former.path != place.path:
            raise InputError(
                f"{option} names two paths for {place.part.spec}, {former.path} and {place.path}: keep one"
            )
    return {spec: _existing(place, option) for spec, place in found.items()}


def _place(text: str, parts: Mapping[str, EncoderPart], specs: Sequence[str], option: str) -> _Place | None:
    """Weights that a string `SPEC=PATH` names; None if the string names no weights of the reference.

    SPEC and PATH may both contain `=`; the longest SPEC that names weights is used.
    """
    if "=" not in text:
        raise InputError(f"the value of {option} is {text!r}, expected SPEC=PATH such as onnx=/path/to/model.onnx")
    for position in (i for i in range(len(text) - 1, -1, -1) if text[i] == "="):
        key, path = text[:position].strip(), text[position + 1 :]
        whole = _named_whole(key, parts, specs)
        named = whole or [part for part in parts.values() if key in (part.head, part.name)]
        if len(named) > 1:
            raise InputError(f"{option} {key!r} matches several weights of the reference: {_candidates(parts)}")
        if named:
            return _Place(text, named[0], absolute_path(path) if path else "", bool(whole))
    return None


def _named_whole(key: str, parts: Mapping[str, EncoderPart], specs: Sequence[str]) -> list[EncoderPart]:
    """Weights that a complete stored spec names, for a single encoder or for a combination `A+B`."""
    if key in parts:
        return [parts[key]]
    plain = [part for part in parts.values() if key == f"{part.head}:{part.weights}"]
    return plain or (list(weights_of([key]).values()) if key in specs else [])


def _existing(place: _Place, option: str) -> str:
    if not EncoderPart(place.part.head, place.path).is_here:
        raise InputError(
            f"{option} {place.text}: there is no file or folder at {place.path or 'an empty path'}, expected the "
            f"weights of {place.part.spec}"
        )
    return place.path


def _candidates(parts: Mapping[str, EncoderPart]) -> str:
    if not parts:
        return "its encoders have no weights, remove this option"
    return f"write SPEC=PATH with SPEC one of {', '.join(sorted(parts))}, or its part before the path"


def load_recorded(spec: str, fingerprint: str, *, reference: str, specs: Sequence[str], device: str) -> Encoder:
    """Load an encoder that a reference was built with; `specs` are the specs of all encoders of the reference.

    Raises ResourceError if the encoder's weights are not on this machine, and ArtifactError if the weights differ.
    """
    parts = [part for part in split_spec(spec) if part.weights is not None]
    for part in parts:
        if part.is_stored_as_path and not part.is_here:
            raise ResourceError(_not_here(part, reference, specs))
    encoder = load_encoder(spec, device=device)
    if encoder.fingerprint != fingerprint:
        same = f"give the same weights with --weights {shortest_name(parts[0], specs)}=PATH, or " if parts else ""
        raise ArtifactError(
            f"the encoder {spec} has the digest {encoder.fingerprint}, but the reference {reference!r} was built with "
            f"the digest {fingerprint}: {same}rebuild the reference"
        )
    return encoder


def _not_here(part: EncoderPart, reference: str, specs: Sequence[str]) -> str:
    where = "" if os.path.isabs(os.path.expanduser(part.weights or "")) else " in the working directory"
    return (
        f"the reference {reference!r} needs the weights {part.weights}, which do not exist{where}: give their path "
        f"with --weights {shortest_name(part, specs)}=PATH (for a service: MADAUDIT_WEIGHTS)"
    )


def shortest_name(part: EncoderPart, specs: Sequence[str]) -> str:
    """Shortest SPEC that identifies this encoder's weights among all encoders of the reference."""
    return part.head if sum(other.head == part.head for other in weights_of(specs).values()) == 1 else part.spec
