"""Checks of untrusted requests: only shipped model families and encoders, and only files under an allowed root."""

from collections.abc import Mapping
from typing import Any

from indexes.encoders import ENCODERS
from indexes.encoders.weights import split_spec
from indexes.errors import InputError
from loops.data.bundled import BUNDLED
from loops.data.distributions import distribution_named
from loops.models import FAMILIES
from loops.models.catalogue import plain_name
from service.allowed_roots import AllowedRoots, Forbidden

__all__ = ["check_encoder", "check_family", "check_loop", "check_sweep"]

_WITHOUT_FILES = ("forensic", "lexical", "pixels", "embeddings")  # encoders that read nothing but the items


def check_family(name: Any) -> None:
    """Raise InputError unless madaudit ships the model family; a family from a file would run foreign code."""
    if not isinstance(name, str) or plain_name(name) not in FAMILIES:
        raise InputError(f"no family is called {name!r}, expected one of {', '.join(FAMILIES)}")


def check_encoder(roots: AllowedRoots, spec: str) -> None:
    """Raise InputError if the weights of an encoder are outside the allowed roots; weights are never downloaded."""
    for part in split_spec(spec):
        if part.name not in ENCODERS:
            known = ", ".join(ENCODERS)
            raise InputError(f"no encoder is called {part.name!r}: choose one of {known}, or join several with '+'")
        if part.name == "sentence":
            raise Forbidden(
                "the folder of a sentence encoder may contain code: build the reference with madaudit reference build"
            )
        if part.name not in _WITHOUT_FILES:
            if "://" in (part.weights or ""):
                raise Forbidden(f"the encoder {part.spec!r} must have its weights in a file under an allowed root")
            roots.check(part.weights or "")


def check_loop(roots: AllowedRoots, fields: Any) -> None:
    """Raise InputError if a loop uses a model family, data or an encoder that is not allowed."""
    if not isinstance(fields, Mapping):
        return
    if fields.get("family") is not None:
        check_family(fields["family"])
    if isinstance(fields.get("encoder"), str):  # `config_from` refuses what is no text
        check_encoder(roots, fields["encoder"])
    for name in ("data", "contaminant"):
        value = fields.get(name)
        if isinstance(value, str) and not _needs_no_file(value, name):
            roots.check(value)


def _needs_no_file(data: str, field: str) -> bool:
    if field == "contaminant" and (plain_name(data) in FAMILIES or ".py:" in data):
        check_family(data)
        return True
    return data in BUNDLED or distribution_named(data) is not None


def check_sweep(roots: AllowedRoots, sweep: Mapping[str, Any]) -> None:
    """Check every loop of a sweep: its base, its grid and its runs."""
    base, grid, runs = (sweep.get(name) for name in ("base", "grid", "runs"))
    for fields in [base, *(runs if isinstance(runs, list) else [])]:
        check_loop(roots, fields)
    for name, values in (grid if isinstance(grid, Mapping) else {}).items():
        for value in values if isinstance(values, list) else []:
            check_loop(roots, {name: value})
