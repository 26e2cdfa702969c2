"""Differences in file format, compression, size and resizing that the scores could mistake for evidence of origin."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from auditor.answers import Confound
from indexes.records import Kind

__all__ = [
    "LEAK",
    "NOTABLE",
    "Traits",
    "confounds_between",
    "distance",
    "leak_between",
    "stored_otherwise",
    "total",
    "traits_of",
]

Traits = Mapping[str, Mapping[str, int]]  # trait → class → count

NOTABLE = 0.10  # total variation between two tables of shares above which a difference is reported
LEAK = 0.90  # total variation from which a trait alone separates two sets
_RARE, _FOREIGN = 0.01, 0.25  # a class under 1 % of the reference is rare; 25 % of a set in rare classes is too much
_MEANING = {"detail": "detail (finest over next finer, which resizing and blur lower)"}
_REMEDY = {
    "image": "store and size both alike; --match-storage stores lossless synthetic images as the real JPEGs",
    "text": "cut both to the same lengths",
}


def traits_of(shapes: np.ndarray, compressions: Sequence[str], details: Sequence[str], kind: Kind) -> Traits:
    """Item counts by size class (powers of two of the shorter image side or text length), compression and detail."""
    if kind == "vector":
        return {}
    sizes = _size_classes(shapes.min(axis=1), "px") if kind == "image" else _size_classes(shapes[:, 0], "characters")
    tables = {"size": sizes, "compression": Counter(compressions), "detail": Counter(details)}
    return {name: dict(sorted(table.items())) for name, table in tables.items() if kind == "image" or name == "size"}


def _size_classes(lengths: np.ndarray, unit: str) -> Counter[str]:
    lowest = 2 ** np.floor(np.log2(np.maximum(lengths, 1))).astype(int)
    return Counter(f"{low}–{2 * low - 1} {unit}" for low in lowest.tolist())


def distance(first: Mapping[str, int], second: Mapping[str, int]) -> float:
    """Total variation between two tables of counts; 0 when either is empty."""
    n, m = sum(first.values()), sum(second.values())
    if not n or not m:
        return 0.0
    return sum(abs(first.get(k, 0) / n - second.get(k, 0) / m) for k in {*first, *second}) / 2


def total(tables: Sequence[Traits]) -> dict[str, dict[str, int]]:
    """Sum of the count tables of several sets."""
    names = sorted({name for table in tables for name in table})
    return {name: dict(sum((Counter(table.get(name, {})) for table in tables), Counter())) for name in names}


def confounds_between(name: str, first: Traits, second: Traits, titles: tuple[str, str]) -> list[Confound]:
    """Storage traits that differ between two sets by a total variation above NOTABLE."""
    found = []
    for what, here in first.items():
        there = second.get(what, {})
        if (apart := distance(here, there)) > NOTABLE:
            detail = (
                f"{_MEANING.get(what, what)} differs between {titles[0]} ({_shares(here)}) and {titles[1]} "
                f"({_shares(there)}), total variation {apart:.2f}: the evidence may reflect this and not the origin"
            )
            found.append(Confound(name=f"{name}-{what}", detail=detail))
    return found


def stored_otherwise(incoming: Traits, reference: Traits, kind: Kind, named: str = "the reference") -> str | None:
    """Why an encoder of traces cannot judge a set: at least a quarter of it has storage traits rare in the reference.

    `named` is the name of the reference, or of its compared part, in the text. Returns None if no trait differs that
    much, or if the reference has no counts of the trait.
    """
    found = []
    for what, here in incoming.items():
        there = reference.get(what, {})
        whole, items = sum(there.values()), sum(here.values())
        if whole and items:
            foreign = sum(n for name, n in here.items() if there.get(name, 0) < _RARE * whole) / items
            if foreign >= _FOREIGN:
                found.append(
                    f"{100 * foreign:.0f} % of the items by {what}: {_shares(here)}, expected {_shares(there)}"
                )
    if not found:
        return None
    return (
        f"much of the set is stored in ways that are rare in {named} ({'; '.join(found)}); the scores may "
        f"reflect how items were stored instead of what made them: {_REMEDY.get(kind, 'store both alike')}"
    )


def leak_between(real: Traits, synthetic: Traits, kind: Kind) -> str | None:
    """Description of storage traits that alone separate a reference's real from its synthetic items; None without any.

    Image detail counts as a storage trait: photographs and the images of six generators, processed alike, differ in
    detail by at most .45.
    """
    leaks = [what for what in real if distance(real[what], synthetic.get(what, {})) >= LEAK]
    if not leaks:
        return None
    shares = "; ".join(f"{what}: {_shares(real[what])} against {_shares(synthetic[what])}" for what in leaks)
    return (
        f"the reference's real and synthetic parts can be told apart by {' and '.join(leaks)} alone ({shares}), so the "
        f"scores may reflect how items were stored and not what made them: {_REMEDY.get(kind, 'store both alike')}"
    )


def _shares(counts: Mapping[str, int]) -> str:
    whole = sum(counts.values())
    top = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:3]
    return ", ".join(f"{name} {100 * count / whole:.0f} %" for name, count in top)
