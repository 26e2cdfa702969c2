"""One odd or hostile input: how it is made, and what an audit of it must answer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["Asked", "Input", "hostile", "inputs", "odd"]

Group = Literal["hostile", "odd"]
Codes = tuple[int, ...]


@dataclass(frozen=True)
class Asked:
    """A source as a user would write it, and what stands beside it on the command line."""

    source: object
    column: str | None = None
    limit: int | None = None
    policy: Path | None = None
    out: Path | str | None = None
    working_folder: Path | None = None
    during: Callable[[Path], None] | None = None  # runs in a thread beside the audit, which writes into this folder


@dataclass(frozen=True)
class Input:
    """What is put in, and the answer that is right."""

    name: str
    group: Group
    reference: str
    make: Callable[[Path], Any] = field(repr=False)
    offered: int  # items put in
    read: int | None  # items used; None where the audit must refuse
    codes: Codes  # exit codes that are right; none: those that the figures ask for
    upload: int | None  # status of the upload of the same file; None where it is no single file
    said: str  # in the message of a refusal


_ALL: list[Input] = []


def inputs() -> list[Input]:
    """All that were registered."""
    return list(_ALL)


def hostile(reference: str, **answer: Any) -> Callable[[Callable[[Path], Any]], Callable[[Path], Any]]:
    """Register what someone who means harm would send."""
    return _registered("hostile", reference, **answer)


def odd(reference: str, **answer: Any) -> Callable[[Callable[[Path], Any]], Callable[[Path], Any]]:
    """Register what someone who means well may have."""
    return _registered("odd", reference, **answer)


def _registered(
    group: Group,
    reference: str,
    *,
    offered: int,
    read: int | None,
    code: int | Codes | None = None,
    upload: int | None = None,
    said: str = "",
) -> Callable[[Callable[[Path], Any]], Callable[[Path], Any]]:
    codes = code if isinstance(code, tuple) else () if code is None else (code,)

    def keep(make: Callable[[Path], Any]) -> Callable[[Path], Any]:
        name = make.__name__.replace("_", " ")
        assert all(name != other.name for other in _ALL), name
        _ALL.append(Input(name, group, reference, make, offered, read, codes, upload, said))
        return make

    return keep
