"""Statistics of a model's samples, or of any other set, compared with a real sample; forecasts use these statistics."""

import math

import numpy as np

from auditor.answers import SampleStatistics
from auditor.measures.effective_rank import effective_rank
from auditor.measures.frechet import frechet_of
from auditor.measures.prdc import neighbour_radii
from auditor.measures.vendi import vendi
from auditor.statistics.frame import frame_of
from auditor.statistics.moments import moments_of
from indexes.errors import InputError
from indexes.search import ball_counts, knn

__all__ = ["FEWEST_ROWS", "statistics_of"]

FEWEST_ROWS = 20  # fewest rows of each side
_NEIGHBOURS = 5
_RIDGE = 1e-3  # of the mean real variance, added to every variance before logarithms are taken


def statistics_of(vectors: np.ndarray, real: np.ndarray, training: np.ndarray | None = None) -> SampleStatistics:
    """Statistics of vectors (n, d) compared with real vectors (m, d), from the first min(n, m) rows of each.

    `training` (k, d) are the items that the samples' model was trained on. Except for the Vendi score, no statistic
    changes if all vectors are scaled or moved together. Raises InputError for too few rows and for different widths.
    """
    n = min(len(vectors), len(real))
    if n < FEWEST_ROWS or vectors.shape[1] != real.shape[1]:
        raise InputError(
            f"got vectors {vectors.shape} and {real.shape}, expected {FEWEST_ROWS} or more rows of equal width"
        )
    scores = [vendi(rows[:n]).estimate for rows in (vectors, real)]
    place = frame_of(real[:n]).place
    ours, theirs = (place(rows[:n]).astype(np.float32) for rows in (vectors, real))
    here, there = moments_of(ours), moments_of(theirs)
    total = max(float(np.trace(there.covariance)), 1e-12)
    counts, covered = ball_counts(ours, theirs, neighbour_radii(theirs, _NEIGHBOURS))
    recalled, _ = ball_counts(theirs, ours, neighbour_radii(ours, _NEIGHBOURS))
    to_training = math.nan
    if training is not None:
        judges = place(training).astype(np.float32)
        to_training = _ratio(*(float(np.median(knn(rows, judges, 1)[0])) for rows in (ours, theirs)))
    return SampleStatistics(
        n=n,
        frechet=frechet_of(there, here) / total,
        precision=float((counts > 0).mean()),
        recall=float((recalled > 0).mean()),
        density=float(counts.mean() / _NEIGHBOURS),
        coverage=float(covered.mean()),
        vendi=scores[0] / scores[1],
        effective_rank=effective_rank(here) / effective_rank(there),
        variance=float(np.trace(here.covariance)) / total,
        log_det=_log_variance(here.covariance, there.covariance),
        spacing=_ratio(*(float(np.median(knn(rows, rows, 2)[0][:, 1])) for rows in (ours, theirs))),
        to_training=to_training,
    )


def _ratio(ours: float, theirs: float) -> float:
    return ours / theirs if theirs > 0 else math.nan


def _log_variance(covariance: np.ndarray, real: np.ndarray) -> float:
    """Mean log variance in the span of the real covariance's eigenvectors, minus the real mean log variance."""
    values, directions = np.linalg.eigh(real)
    kept = values > 1e-10 * values[-1]
    basis, ridge = directions[:, kept], _RIDGE * float(values[kept].mean())
    ours = np.linalg.slogdet(basis.T @ covariance @ basis + ridge * np.eye(kept.sum()))[1]
    return float((ours - np.log(values[kept] + ridge).sum()) / kept.sum())
