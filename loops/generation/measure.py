"""Measure the samples of each generation with the auditor's functions, with confidence intervals over chains."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from auditor.measures.frechet import frechet_of
from auditor.measures.prdc import neighbour_radii
from auditor.measures.vendi import vendi
from auditor.statistics.intervals import Measure
from auditor.statistics.moments import Moments, moments_of
from indexes.errors import InputError
from indexes.search import ball_counts, knn
from loops.data.population import Population
from loops.samples import Truth

__all__ = ["Evaluator", "Modes", "gauge_for", "modes_of", "over_chains"]

_OTHERS = 8  # real samples whose measures serve as the comparison for a model's measures
_SURVIVES = 0.1  # a mode is alive if it has at least this fraction of its real share


@dataclass(frozen=True, slots=True)
class Modes:
    """Assigns vectors to the modes of the real distribution."""

    landmarks: np.ndarray  # (m, d) float32: centres, or labelled real items
    labels: np.ndarray  # (m,)
    shares: np.ndarray  # (modes,) real share of each mode

    def assign(self, vectors: np.ndarray) -> np.ndarray:
        """The mode number (n,) of each vector, taken from the nearest mode centre or labelled real item."""
        nearest = knn(np.ascontiguousarray(vectors, dtype=np.float32), self.landmarks, 1)[1][:, 0]
        assigned: np.ndarray = self.labels[nearest]
        return assigned


def modes_of(population: Population, vectors: np.ndarray, labels: np.ndarray | None) -> Modes | None:
    """The modes of the real data: centres of a formula, else classes of labelled real items; None without either."""
    centres = population.centres
    if centres is not None:
        count = len(centres)
        return Modes(centres.astype(np.float32), np.arange(count), np.full(count, 1 / count))
    if labels is None or population.space.classes < 2:
        return None
    counts = np.bincount(labels, minlength=population.space.classes)
    return Modes(np.ascontiguousarray(vectors, dtype=np.float32), labels, counts / counts.sum())


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Compares items with a real sample; quantities that depend only on the real sample are computed once."""

    population: Population
    items: np.ndarray  # (m, width), the real sample
    real: np.ndarray  # (m, d) float32, the real sample as vectors
    radii: np.ndarray  # (m,) squared distance to the k-th neighbour
    truth: Moments  # moments of the whole real distribution; the n has no meaning
    basis: np.ndarray  # (d, r), the span of the real covariance
    modes: Modes | None
    k: int

    def measure(self, values: np.ndarray) -> dict[str, float]:
        """Quality measures of items (n, width); the values are comparable only between sets of equal size n."""
        vectors = np.asarray(self.population.embed(values), dtype=np.float64)
        single = np.ascontiguousarray(vectors, dtype=np.float32)
        moments = moments_of(vectors)
        counts, covered = ball_counts(single, self.real, self.radii)
        recalled, _ = ball_counts(self.real, single, neighbour_radii(single, self.k))
        found = {
            "frechet": frechet_of(self.truth, moments),
            "precision": float((counts > 0).mean()),
            "recall": float((recalled > 0).mean()),
            "density": float(counts.mean() / self.k),
            "coverage": float(covered.mean()),
            "vendi": vendi(vectors).estimate,
            "variance": float(np.trace(moments.covariance)) / len(moments.mean),
            "log_det": self._log_determinant(moments.covariance),
        }
        return found if self.modes is None else {**found, **self._of_modes(vectors, self.modes)}

    def frechet(self, values: np.ndarray) -> float:
        """Fréchet distance between items (n, width) and the real distribution."""
        return frechet_of(self.truth, moments_of(np.asarray(self.population.embed(values), dtype=np.float64)))

    def mode_shares(self, values: np.ndarray) -> np.ndarray | None:
        """Share (modes,) of the items in each mode; None for data without modes."""
        if self.modes is None:
            return None
        assigned = self.modes.assign(self.population.embed(values))
        return np.bincount(assigned, minlength=len(self.modes.shares)) / len(assigned)

    def _log_determinant(self, covariance: np.ndarray) -> float:
        """Log determinant of a covariance within the span of the real data; −∞ if some direction has no variance."""
        if self.basis.shape[1] == 0:
            return math.nan
        values = np.linalg.eigvalsh(self.basis.T @ covariance @ self.basis)
        return float(np.log(values).sum()) if values[0] > 1e-12 * values[-1] else -math.inf

    def _of_modes(self, vectors: np.ndarray, modes: Modes) -> dict[str, float]:
        assigned = modes.assign(vectors)
        counts = np.bincount(assigned, minlength=len(modes.shares))
        alive = counts >= _SURVIVES * modes.shares * len(assigned)
        living = [vectors[assigned == mode] for mode in np.flatnonzero(alive & (counts > 1))]
        freedom = sum(len(rows) - 1 for rows in living)
        squares = sum(float(((rows - rows.mean(0)) ** 2).sum()) for rows in living)
        return {
            "mode_survival": float(alive[modes.shares > 0].mean()),
            "modal_variance": squares / freedom / vectors.shape[1] if freedom else math.nan,
        }


def gauge_for(
    population: Population, *, n: int, k: int = 5, rng: np.random.Generator
) -> tuple[Evaluator, dict[str, Measure]]:
    """An evaluator with a real sample of n items, and the measures of other real samples of n items.

    If the real data come from a formula, eight other real samples are measured. For finite data with at least 2 n
    items, one other real sample is measured, which shares no item with the evaluator's sample. The Fréchet distance
    compares a sample with all of the data, so for finite data it is measured on eight samples drawn with replacement.
    Drawing without replacement would multiply the Fréchet distance by about the share of the data that is not drawn.
    """
    size = population.size
    if n <= k and size is not None and size <= 2 * k + 1:
        raise InputError(f"{population.name} holds {size} items, expected at least {2 * (k + 1)} to compute measures")
    if n <= k:
        raise InputError(f"n_measure is {n}, expected more than {k}")
    if size is not None and size < n:
        raise InputError(f"{population.name} holds {size} items, fewer than n_measure = {n}: lower n_measure")
    drawn = population.draw(n if size is None else min(size, 2 * n), chains=1, fresh=False, rng=rng).chain(0)
    real = drawn.take(slice(n))
    vectors = np.ascontiguousarray(population.embed(real.values), dtype=np.float32)
    truth = population.truth
    gauge = Evaluator(
        population, real.values, vectors, neighbour_radii(vectors, k), _as_moments(truth), _span(truth.covariance),
        modes_of(population, vectors, real.labels), k,
    )  # fmt: skip
    independent = population.draw(n, chains=_OTHERS, fresh=True, rng=rng).values
    if size is None:
        return gauge, _means([gauge.measure(values) for values in independent])
    readings = _means([gauge.measure(drawn.values[-n:])])
    if drawn.n < 2 * n:
        reason = f"the data hold {size} items, fewer than two samples of {n}"
        readings = {name: Measure(math.nan, reason=reason) for name in readings}
    return gauge, {**readings, "frechet": over_chains(np.array([gauge.frechet(values) for values in independent]))}


def _means(readings: list[dict[str, float]]) -> dict[str, Measure]:
    return {name: over_chains(np.array([reading[name] for reading in readings])) for name in readings[0]}


def over_chains(values: np.ndarray, *, level: float = 0.95) -> Measure:
    """Mean over the chains that have a value, with a t confidence interval (no interval for a single chain)."""
    found = values[~np.isnan(values)]
    n = len(found)
    if n == 0:
        return Measure(math.nan, reason="no chain has a value")
    mean = float(found.mean())
    if not math.isfinite(mean):
        return Measure(mean, n=n, reason="the value is infinite in some chains")
    if n == 1:
        return Measure(mean, n=n)
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * found.std(ddof=1) / math.sqrt(n))
    return Measure(mean, low=mean - half, high=mean + half, n=n)


def _as_moments(truth: Truth) -> Moments:
    """Convert a mean and a covariance to the `Moments` type that the auditor's functions use."""
    n = 2
    return Moments(n, n * truth.mean, (n - 1) * truth.covariance + n * np.outer(truth.mean, truth.mean))


def _span(covariance: np.ndarray) -> np.ndarray:
    values, directions = np.linalg.eigh(covariance)
    return directions[:, values > 1e-10 * values[-1]]
