"""Differences of container and size that could pass for evidence of origin."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from indexes.records import Kind

__all__ = ["NOTABLE", "confounds_between", "distance", "size_classes"]

NOTABLE = 0.10  # total variation between two tables of shares from which a difference is named


def size_classes(shapes: np.ndarray, kind: Kind) -> dict[str, int]:
    """Counts by size class: doublings of an image's shorter side or of a text's length."""
    if kind == "image":
        lengths, unit = shapes.min(axis=1), "px"
    elif kind == "text":
        lengths, unit = shapes[:, 0], "characters"
    else:
        return {}
    lowest = 2 ** np.floor(np.log2(np.maximum(lengths, 1))).astype(int)
    return dict(sorted(Counter(f"{low}–{2 * low - 1} {unit}" for low in lowest.tolist()).items()))


def distance(first: Mapping[str, int], second: Mapping[str, int]) -> float:
    """Total variation between two tables of counts; 0 when either is empty."""
    n, m = sum(first.values()), sum(second.values())
    if not n or not m:
        return 0.0
    return sum(abs(first.get(k, 0) / n - second.get(k, 0) / m) for k in {*first, *second}) / 2


def confounds_between(
    name: str, first: Sequence[Mapping[str, int]], second: Sequence[Mapping[str, int]], titles: tuple[str, str]
) -> list[dict[str, str]]:
    """Formats and sizes, in this order in both tables, that differ by more than NOTABLE."""
    found = []
    for what, here, there in zip(("format", "size"), first, second, strict=True):
        if (apart := distance(here, there)) > NOTABLE:
            detail = (
                f"{what}s differ between {titles[0]} ({_shares(here)}) and {titles[1]} ({_shares(there)}), total "
                f"variation {apart:.2f}: the evidence may rest on the {what} and not on the origin"
            )
            found.append({"name": f"{name}-{what}", "detail": detail})
    return found


def _shares(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    top = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:3]
    return ", ".join(f"{name} {100 * count / total:.0f} %" for name, count in top)
