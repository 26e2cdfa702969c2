"""Tells whether a set lies outside the real items, so that its kinds cannot be compared with theirs."""

import math

import numpy as np
from scipy import stats

from auditor.evidence.near_duplicates import groups_within
from indexes.search import knn

__all__ = ["foreign"]

_MOST = 1000  # items of each side that are compared
_FURTHER = 1.3  # median squared distance to the nearest real item, in units of the same distance between real items
_TOGETHER = 0.8  # median squared distance to the nearest item of the set, in units of that to the nearest real item
_CERTAIN = 0.001  # p-value
_FEWEST = 3  # items without near copies
_COPY = 0.25  # squared distance of near copies, in units of the median squared distance to the nearest real item


def foreign(real: np.ndarray, other_real: np.ndarray, candidate: np.ndarray) -> str | None:
    """Why items (n, d) cannot be compared with two parts (m, d) of the real items; None if they can be compared.

    A set lies outside if two conditions hold. First, its items are further from the nearest real item than other real
    items are. Second, they are nearer to each other than to real items; noise does not do this. Only one item of a
    group of near copies is used. At most as many items as real items are used, because nearest distances shrink with
    their number. Both thresholds were measured on photographs of other collections and on simulated sets.
    """
    real, others, items = real[:_MOST], other_real[:_MOST], candidate[: min(len(real), _MOST) + 1]
    near = _nearest(others, real)
    groups = groups_within(items, math.sqrt(_COPY * float(np.median(near))))
    items = items[np.unique(groups, return_index=True)[1]]
    if len(items) < _FEWEST or not np.median(near) > 0:
        return None
    far, together = _nearest(items, real), _among(items)
    further = float(np.median(far) / np.median(near))
    apart = np.median(together) <= _TOGETHER * np.median(far)
    if further < _FURTHER or not apart or stats.mannwhitneyu(far, near, alternative="greater").pvalue > _CERTAIN:
        return None
    return (
        f"the set lies outside the reference: its items are {math.sqrt(further):.2g} times as far from the nearest "
        "real items as other real items are, so that its kinds cannot be compared; use a reference of the same kind of "
        "data"
    )


def _nearest(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.asarray(knn(rows, others, 1)[0][:, 0])


def _among(rows: np.ndarray) -> np.ndarray:
    """Squared distance (n,) of each row to the nearest other row."""
    return np.asarray(knn(rows, rows, 2)[0][:, 1])
