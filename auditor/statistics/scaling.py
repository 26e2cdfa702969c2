"""Columns brought to one scale, so that distances and penalties mean the same in each."""

import numpy as np

__all__ = ["column_scale", "standardise"]


def column_scale(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (d,) of each column; infinite for a constant column, which holds no information."""
    mean, scale = vectors.mean(0, dtype=np.float64), vectors.std(0, dtype=np.float64)
    return mean, np.where(scale > 1e-6 * (np.abs(mean) + 1e-6), scale, np.inf)


def standardise(vectors: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(vectors − mean) / scale as float32, clipped at ten standard deviations so that no extreme value decides."""
    return np.clip((vectors - mean) / scale, -10, 10).astype(np.float32)
