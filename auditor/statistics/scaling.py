"""Standardisation of columns, so that distances and penalties treat all columns alike."""

import numpy as np

__all__ = ["column_scale", "standardise"]


def column_scale(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (d,) of each column; a constant, uninformative column gets an infinite deviation."""
    mean, scale = vectors.mean(0, dtype=np.float64), vectors.std(0, dtype=np.float64)
    return mean, np.where(scale > 1e-6 * (np.abs(mean) + 1e-6), scale, np.inf)


def standardise(vectors: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Standardised vectors (vectors − mean) / scale, float32, clipped to ±10 so that no extreme value dominates."""
    return np.clip((vectors - mean) / scale, -10, 10).astype(np.float32)
