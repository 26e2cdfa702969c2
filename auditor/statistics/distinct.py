"""Distinct rows of an array, so that copies count once."""

import numpy as np

__all__ = ["distinct_rows", "duplicates", "first_of_each"]


def first_of_each(keys: np.ndarray) -> np.ndarray:
    """Ascending positions of the first occurrence of each distinct row, in an array (n, k) of any type."""
    rows = np.ascontiguousarray(keys)
    if rows.size == 0:
        return np.arange(min(len(rows), 1))
    as_bytes = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    return np.sort(np.unique(as_bytes, return_index=True)[1])


def distinct_rows(vectors: np.ndarray) -> np.ndarray:
    """Distinct rows of an array (n, d), in their original order."""
    rows = np.asarray(vectors) + 0.0  # −0 and 0 are one value
    kept = first_of_each(rows)
    return np.asarray(vectors) if len(kept) == len(rows) else np.asarray(vectors)[kept]


def duplicates(digests: np.ndarray) -> np.ndarray:
    """For each item the row of the first item with the same digest (n, 16) uint8; its own row if it is the first."""
    keys = np.ascontiguousarray(digests).view("V16").ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return first[inverse]
