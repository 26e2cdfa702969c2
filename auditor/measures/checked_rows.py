"""Check the vectors of a real and a candidate set, and centre both at the real median in float64."""

import math
from dataclasses import dataclass

import numpy as np

from auditor.statistics.frame import Frame
from auditor.statistics.moments import lengths_of
from indexes.errors import InputError

__all__ = [
    "DOMINANT", "FEWEST", "CentredPair", "are_equal", "centred_pair", "checked_pair", "checked_rows", "frame_around",
    "outlier", "unmasked",
]  # fmt: skip

FEWEST = 10  # items a side from which the intervals hold
DOMINANT = 0.7  # share of a variance that a single row may hold, if the variance is to give an interval
_LARGEST = 1e300  # sums of values up to here are within the range of float64
_NARROWEST = 1e-70  # real spread in units of the largest value, whose fourth power is within the range of float64
_FARTHEST = 1e12  # longest distance in units of the median one, at which float64 still shows the others
_ROUNDING = 4e-15  # spread of a column relative to its largest value, below which only rounding is left


@dataclass(frozen=True, slots=True)
class CentredPair:
    """Two sets of vectors relative to a common origin; `reason` says why the sets cannot be compared."""

    real: np.ndarray  # (m, d) float64, in units of `unit`
    candidate: np.ndarray  # (n, d)
    origin: np.ndarray  # (d,) the median of the real rows, not in units of `unit`
    unit: float  # a power of two near the largest value of the moved rows
    reason: str | None


def centred_pair(real: np.ndarray, candidate: np.ndarray, *, needs_spread: bool = True) -> CentredPair:
    """Both sets of vectors minus the median of the real rows, divided by a common unit.

    `reason` is set if a side has fewer than 2 rows or if a row is an `outlier`, and, if `needs_spread`, also if all
    real rows are equal. Raises InputError for arrays that are not finite and of equal width.
    """
    real, candidate = checked_pair(real, candidate)
    origin = frame_around(real).origin
    ours, theirs = real - origin, candidate - origin
    exponent = int(np.frexp(max(np.abs(ours).max(), np.abs(theirs).max()))[1])
    ours, theirs = np.ldexp(ours, -exponent), np.ldexp(theirs, -exponent)
    reason = outlier(ours, "real") or outlier(theirs, "candidate")
    if needs_spread and np.abs(ours).max() < _NARROWEST:
        reason = f"the candidate vectors lie more than {1 / _NARROWEST:g} times as far away as the real vectors spread"
    if needs_spread and are_equal(real):
        reason = "all real vectors are equal"
    if min(len(real), len(candidate)) < 2:
        reason = f"a comparison needs at least 2 items on each side, got {len(real)} real and {len(candidate)} items"
    return CentredPair(ours, theirs, origin, math.ldexp(1.0, exponent), reason)


def frame_around(rows: np.ndarray) -> Frame:
    """Frame of rows (n ≥ 1, d) that a few far rows do not change: the origin and the unit of length are medians."""
    # the origin has values of the rows, and the unit is a power of two, so that placed integers are exact
    origin, _, middle = _from_median(rows)
    return Frame(origin, float(2.0 ** np.round(np.log2(middle))) if middle > 0 else 1.0)


def are_equal(rows: np.ndarray) -> bool:
    """Whether the rows (n ≥ 1, d) are all equal but for rounding."""
    return bool((np.abs(rows - rows[0]).max(0) <= _ROUNDING * np.abs(rows).max(0)).all())


def outlier(rows: np.ndarray, name: str, *, farthest: float = _FARTHEST) -> str | None:
    """Reason why rows (n, d) cannot be used: a row is too far away for the others to be resolved; else None."""
    _, lengths, middle = _from_median(rows)
    if lengths.max() / farthest <= middle:
        return None
    return f"a {name} vector is more than {farthest:g} times as far from the median as half of the others"


def checked_pair(real: np.ndarray, candidate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of both sides, each checked by `checked_rows`; raises InputError if their widths differ."""
    real, candidate = checked_rows(real, "real vectors"), checked_rows(candidate, "candidate vectors")
    if real.shape[1] != candidate.shape[1]:
        raise InputError(
            f"got real vectors of width {real.shape[1]} and candidate vectors of width {candidate.shape[1]}, expected "
            "equal widths: embed both sets with the same encoder"
        )
    return real, candidate


def checked_rows(vectors: np.ndarray, name: str) -> np.ndarray:
    """The vectors as float64 (n ≥ 1, d ≥ 1); raises InputError for other shapes and for values beyond ±1e300."""
    with np.errstate(over="ignore"):  # of types with more range than float64: the values are refused below
        rows = np.asarray(unmasked(vectors, name), dtype=np.float64, order="C")
    if rows.ndim != 2 or 0 in rows.shape:
        raise InputError(f"got {name} of shape {rows.shape}, expected (n ≥ 1, d ≥ 1): pass one row for each item")
    if not (np.abs(rows) <= _LARGEST).all():
        raise InputError(f"the {name} hold nan or values beyond ±{_LARGEST:g}: drop or rescale these rows first")
    return rows


def unmasked(vectors: np.ndarray, name: str) -> np.ndarray:
    """The vectors as an array of numbers; raises InputError for masked entries and for anything but real numbers."""
    if any(np.ma.is_masked(part) for part in (vectors if isinstance(vectors, list | tuple) else [vectors])):
        raise InputError(f"the {name} hold masked entries, expected a number in each: drop or fill these rows first")
    try:
        array = np.asarray(vectors)
        array = array.astype(np.float64) if array.dtype == object else array
    except (TypeError, ValueError, OverflowError) as error:  # rows of unequal lengths, or no numbers
        raise InputError(f"got {name} that are not an array of numbers ({error}), expected (n, d) numbers") from error
    if array.dtype.kind not in "buif":
        raise InputError(
            f"got {name} of type {array.dtype}, expected real numbers: convert the vectors to float32 first"
        )
    return array


def _from_median(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The lower median of each column (d,), each row's distance from it (n,), and the median distance above 0 or 0."""
    half = (len(rows) - 1) // 2
    origin = np.partition(rows, half, axis=0)[half]
    lengths = lengths_of(rows - origin)
    return origin, lengths, float(np.median(lengths[lengths > 0])) if lengths.any() else 0.0
