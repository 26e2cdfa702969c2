"""Check the vectors of a real and a candidate set, and centre both at the real mean in float64."""

from dataclasses import dataclass

import numpy as np

from indexes.errors import InputError

__all__ = ["FEWEST", "CentredPair", "centred", "centred_pair", "checked_rows", "outlier"]

FEWEST = 10  # items a side from which the intervals hold
_LARGEST = 1e70  # the fourth power of values up to here is within the range of float64
_SMALLEST = 1e-70  # spread of values, for the same reason
_FARTHEST = 1e12  # longest distance in units of the median one, at which float64 still shows the others
_ROUNDING = 1e-13  # spread relative to the largest value, below which rows are equal but for rounding


@dataclass(frozen=True, slots=True)
class CentredPair:
    """Two sets of vectors, centred at the real mean; `reason` says why the sets cannot be compared."""

    real: np.ndarray  # (m, d) float64
    candidate: np.ndarray  # (n, d) float64
    centre: np.ndarray  # (d,) float64, the real mean
    reason: str | None


def centred_pair(real: np.ndarray, candidate: np.ndarray) -> CentredPair:
    """Both sets of vectors, centred at the real mean.

    `reason` is set if a side has fewer than 2 rows, if all real rows are equal, or if a row is an `outlier`. Raises
    InputError for arrays that are not finite and of equal width.
    """
    real, candidate = checked_rows(real, "real vectors"), checked_rows(candidate, "candidate vectors")
    if real.shape[1] != candidate.shape[1]:
        raise InputError(f"got real vectors of width {real.shape[1]} and candidate vectors of width {len(candidate.T)}")
    if min(len(real), len(candidate)) < 2:
        few = f"a comparison needs at least 2 items on each side, got {len(real)} real and {len(candidate)} items"
        return CentredPair(real, candidate, np.zeros(real.shape[1]), few)
    rows, centre = centred(real)
    # the first row goes first, so that a large common offset costs no more digits than the input has lost already
    moved = (candidate - real[0]) - (centre - real[0])
    equal = bool(np.abs(rows).max() <= max(_SMALLEST, _ROUNDING * np.abs(real).max()))
    reason = "all real vectors are equal" if equal else outlier(rows, "real") or outlier(moved, "candidate")
    return CentredPair(rows, moved, centre, reason)


def centred(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, d) minus their mean, and that mean (d,); equal rows become exactly 0."""
    moved = rows - rows[0]
    centre = moved.mean(0)
    return moved - centre, rows[0] + centre


def outlier(rows: np.ndarray, name: str) -> str | None:
    """Reason why rows (n, d) cannot be used: a row is too far away for float64 to resolve the others; else None."""
    lengths = np.linalg.norm(rows - np.median(rows, axis=0), axis=1)
    if not lengths.max() > _FARTHEST * np.median(lengths) > 0:
        return None
    return f"a {name} vector is more than {_FARTHEST:g} times as far from the median as half of the others"


def checked_rows(vectors: np.ndarray, name: str) -> np.ndarray:
    """The vectors as float64 (n, d); raises InputError for another shape and for values beyond ±1e70."""
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise InputError(f"got {name} of shape {rows.shape}, expected (n, d) with d ≥ 1")
    if not (np.abs(rows) <= _LARGEST).all():
        raise InputError(f"the {name} hold nan or values beyond ±{_LARGEST:g}: drop or rescale these rows first")
    return rows
