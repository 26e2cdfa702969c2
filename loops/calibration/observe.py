"""Measure what is known before a loop starts: an audit of the data, samples of a first model, and a pilot run."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from auditor.records import record_document
from auditor.reference.build import build_reference
from auditor.reference.reference import Reference
from auditor.risk.inputs import figures_of
from auditor.risk.sample_statistics import statistics_of
from auditor.run import audit
from indexes.device import compute_threads
from indexes.store import write_atomic
from loops.data.supply import Contaminated
from loops.random_streams import Purpose, Streams
from loops.run import Loop

__all__ = ["OBSERVED", "observe", "write_observed"]

OBSERVED = "observed.json"
_SCHEMA = "madaudit/observed/2"
_OTHER_SEED = 1_000_003  # added to a loop's seed, so that the team's own models differ from the loop being forecast
_FEWEST_CONTAMINANTS = 50  # least number of samples of the known generator in the reference


def write_observed(loop: Loop, folder: Path) -> None:
    """Write the result of `observe` to `observed.json` in the loop's folder, unless that file exists."""
    if not (folder / OBSERVED).exists():
        write_atomic(folder / OBSERVED, json.dumps(observe(loop), indent=1).encode())


def observe(loop: Loop) -> dict[str, Any]:
    """Audit of the generation 1 training items, and statistics of models trained on those items with another seed.

    The audit's reference holds the real items that the loop's measures use, and samples of one known generator. The
    known generator is the contaminant in contaminated loops with an even seed, else a Gaussian with the mean and
    covariance of the real data. In contaminated loops with an odd seed, the contaminating generator is therefore
    missing from the reference. The pilot run trains a second generation under the loop's workflow.
    """
    with compute_threads(loop.config.threads):
        population = loop.world.clean
        real = _single(population.embed(loop.gauge.items))
        rng = Streams(loop.config.seed).rng(Purpose.reference, 0)
        others = population.draw(len(real), chains=1, fresh=True, rng=rng).values[0]
        training = _single(population.embed(loop.fixed.values[0, : loop.config.n_initial]))
        reference = _reference(real, _generated(loop, real, rng))
        found = audit(training, reference)
        figures = figures_of(found.n_items, found.synthetic_fraction, found.diversity, found.fidelity)
        return {
            "schema": _SCHEMA,
            "n_reference": len(real),
            "width": real.shape[1],
            "total_variance": float(np.trace(population.truth.covariance)),
            "floor": loop.readings["frechet"].estimate,  # for real samples of the measured size, in the data's units
            "audit": record_document(figures),
            "real": record_document(statistics_of(_single(population.embed(others)), real)),
            "training": record_document(statistics_of(training, real)),
            **_own_models(loop, real),
        }


def _own_models(loop: Loop, real: np.ndarray) -> dict[str, Any]:
    """Statistics of samples from the first two generations of another loop, with the same data and a different seed."""
    config = dataclasses.replace(loop.config, seed=loop.config.seed + _OTHER_SEED, generations=2)
    other = Loop(config, loop.family, loop.world, like=loop)
    found: dict[str, Any] = {}
    batches: list[Any] = []
    for generation, name in ((1, "model_samples"), (2, "pilot")):
        training = other.training_set(generation, batches)
        models = other.fit(training, generation, lambda done: None)
        drawn = other.draw_measured(models.first(1), generation).values[0]
        trained_on = other.world.clean.embed(training.samples.values[0])
        measured = statistics_of(_single(other.world.clean.embed(drawn)), real, _single(trained_on))
        found[name] = record_document(measured)
        batches += other.sample(models, generation)
    return found


def _generated(loop: Loop, real: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Samples (n, d) of the one generator that is included in the audit's reference."""
    drawn = loop.world.drawn
    supply = drawn if isinstance(drawn, Contaminated) else getattr(drawn, "supply", None)
    n = max(len(real) // 2, _FEWEST_CONTAMINANTS)
    if isinstance(supply, Contaminated) and loop.config.seed % 2 == 0:
        items = supply.contaminant.draw(n, chains=1, fresh=True, rng=rng).values[0]
        return _single(loop.world.clean.embed(items))
    return _single(rng.multivariate_normal(real.mean(0), np.cov(real.T), n, method="eigh"))


def _reference(real: np.ndarray, generated: np.ndarray) -> Reference:
    return build_reference(
        name="calibration", real=real, synthetic={"generator": generated}, encoder="embeddings", batch_size=1024,
        threads=1,
    )  # fmt: skip


def _single(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows, dtype=np.float32)
