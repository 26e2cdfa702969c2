"""Build the training set of a generation, and record the origin of every item."""

import hashlib
from dataclasses import dataclass

import numpy as np

from auditor.workflows import workflow_named
from indexes.errors import InputError
from loops.config import LoopConfig
from loops.data.population import Supply
from loops.data.supply import is_contaminant
from loops.random_streams import Purpose, Streams
from loops.samples import Samples, concatenate

__all__ = ["CONTAMINANT", "REAL", "Batch", "TrainingSet", "batch_sizes", "initial_set", "later_set", "real_set"]

REAL, CONTAMINANT = 0, -1  # origins that are not a generation


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of synthetic items, the generation that sampled it, and the generation that uses it (None: all later)."""

    origin: int
    use: int | None
    samples: Samples


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The training items (chains, n, width) of one generation, with the origin of each item."""

    samples: Samples
    origins: np.ndarray  # (n,), or (chains, n) if chains differ: REAL, CONTAMINANT or a generation
    weights: np.ndarray | None  # (n,)
    real_digest: str  # digest of the items called real; digest of "" if there are none

    @property
    def counts(self) -> dict[int, float]:
        """Number of training items by origin, averaged over chains."""
        chains = 1 if self.origins.ndim == 1 else len(self.origins)
        found, counts = np.unique(self.origins, return_counts=True)
        return {int(o): float(c / chains) for o, c in zip(found, counts, strict=True)}


def real_set(supply: Supply, config: LoopConfig, streams: Streams) -> Samples:
    """The real items that a loop draws once, for generation 1 and for workflows that keep a fixed real set.

    If later generations draw real items with replacement, generation 1 does so too; otherwise quality would seem to
    fall even when training only on real data.
    """
    kind = workflow_named(config.workflow).real
    n = max(config.n_initial or 0, (config.n_real or 0) if kind == "fixed" else 0)
    samples = supply.draw(n, chains=config.chains or 1, fresh=kind == "fresh", rng=streams.rng(Purpose.real, 0))
    samples.values.setflags(write=False)
    return samples


def initial_set(fixed: Samples, config: LoopConfig) -> TrainingSet:
    """The training set of generation 1, which contains only real items."""
    real = fixed.take(slice(config.n_initial))
    return TrainingSet(real, _real_origins(real.n, config), None, _digest(real))


def later_set(
    generation: int,
    fixed: Samples,
    batches: list[Batch],
    *,
    supply: Supply,
    config: LoopConfig,
    streams: Streams,
) -> TrainingSet:
    """The training set of generation 2 or later: real items as the workflow requires, and earlier synthetic items."""
    workflow = workflow_named(config.workflow)
    real = _real_part(generation, fixed, supply=supply, config=config, streams=streams)
    used = [batch for batch in batches if batch.use in (None, generation) and batch.samples.n]
    origins = np.concatenate(
        [_real_origins(0 if real is None else real.n, config), *(np.full(b.samples.n, b.origin) for b in used)]
    )
    parts = ([] if real is None else [real]) + [batch.samples for batch in used]
    if not parts:
        raise InputError(f"generation {generation} has nothing to train on: set n_real or n_synthetic above 0")
    samples, n_real = concatenate(parts), 0 if real is None else real.n
    digest = _digest(real)
    selecting = streams.rng(Purpose.selection, generation)
    if workflow.subsampled:
        rows = _subsets(samples, config.budget or n_real, selecting)
        return TrainingSet(samples.pick(rows), origins[rows], None, digest)
    if config.mixing == "binomial" and real is not None:
        rows = _binomial_rows(samples, n_real, config, selecting)
        return TrainingSet(samples.pick(rows), origins[rows], None, digest)
    weights = _weights(n_real, samples.n, config.real_weight) if workflow.weighted else None
    return TrainingSet(samples, origins, weights, digest)


def batch_sizes(generation: int, config: LoopConfig) -> dict[int | None, int]:
    """Number of items that a model samples for each later generation; key None: one batch for all later generations.

    With a memory of K, the synthetic items of a training set come in equal parts from the last K models, or from all
    models if there are fewer than K. Each part of the synthetic items is sampled for one generation only.
    """
    n = config.n_synthetic or 0
    if generation >= config.generations:
        return {}
    if workflow_named(config.workflow).synthetic == "pool":
        return {None: n}
    if config.mixing == "binomial":
        n += config.n_real or 0  # every item may be synthetic
    sizes: dict[int | None, int] = {}
    for later in range(generation + 1, min(generation + config.memory, config.generations) + 1):
        models, age = min(later - 1, config.memory), later - generation - 1
        sizes[later] = n // models + (age < n % models)
    return sizes


def _real_part(
    generation: int, fixed: Samples, *, supply: Supply, config: LoopConfig, streams: Streams
) -> Samples | None:
    kind = workflow_named(config.workflow).real
    if kind == "none" or (kind != "initial" and not config.n_real):
        return None
    if kind == "initial":
        return fixed.take(slice(config.n_initial))
    if kind == "fixed":
        return fixed.take(slice(config.n_real))
    n = (config.n_real or 0) + (config.n_synthetic or 0) * (config.mixing == "binomial")
    return supply.draw(n, chains=config.chains or 1, fresh=True, rng=streams.rng(Purpose.real, generation))


def _real_origins(n: int, config: LoopConfig) -> np.ndarray:
    return np.where(is_contaminant(n, config.contamination), CONTAMINANT, REAL)


def _weights(n_real: int, n: int, real_weight: float) -> np.ndarray:
    if not 0 < n_real < n:
        raise InputError("a weighted loss needs real and synthetic items: set n_real and n_synthetic above 0")
    shares = [np.full(n_real, real_weight / n_real), np.full(n - n_real, (1 - real_weight) / (n - n_real))]
    return n * np.concatenate(shares)  # mean 1, so that a family may treat weights as numbers of copies


def _subsets(samples: Samples, budget: int, rng: np.random.Generator) -> np.ndarray:
    """Row numbers (chains, budget) drawn without replacement; all row numbers if there are at most `budget` rows."""
    chains, n = samples.values.shape[:2]
    if n <= budget:
        return np.tile(np.arange(n), (chains, 1))
    return np.argpartition(rng.random((chains, n), dtype=np.float32), budget - 1, axis=1)[:, :budget]


def _binomial_rows(samples: Samples, n_real: int, config: LoopConfig, rng: np.random.Generator) -> np.ndarray:
    """Row numbers (chains, n) for n = n_r + n_s items; each item is synthetic with probability n_s/n, else real."""
    n = (config.n_real or 0) + (config.n_synthetic or 0)
    chance = (config.n_synthetic or 0) / n
    is_synthetic = rng.random((len(samples.values), n)) < chance
    return np.where(is_synthetic, n_real + np.arange(n), np.arange(n))


def _digest(samples: Samples | None) -> str:
    made = hashlib.blake2b(digest_size=16)
    for array in () if samples is None else (samples.values, samples.labels):
        if array is not None:
            made.update(np.ascontiguousarray(array))
    return made.hexdigest()
