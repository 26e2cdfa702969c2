"""Run a loop, generation by generation (start reading the package with this module)."""

import dataclasses
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from auditor.records import record_document
from auditor.statistics.intervals import Measure
from auditor.workflows import workflow_named
from indexes.device import compute_threads
from indexes.errors import ArtifactError, InputError
from loops.config import LoopConfig
from loops.data.open import LoopData, open_world
from loops.generation.chains import Chains, fit_chains, streams_of
from loops.generation.folder import LoopFolder
from loops.generation.measure import Evaluator, gauge_for, over_chains
from loops.generation.record import Generation
from loops.generation.selection import draw_selected
from loops.generation.training_set import Batch, TrainingSet, batch_sizes, initial_set, later_set, real_set
from loops.models import make_family
from loops.models.protocol import Family
from loops.random_streams import Purpose, Streams
from loops.samples import Samples

__all__ = ["Loop", "prepare_loop", "run_loop"]

_TYPICAL = 0.1  # a sample is good if it is at least as typical as all but this share of the real items
_SHEET = 64  # samples of every generation that are stored for display


class Loop:
    """The parts of a loop that stay the same from generation to generation."""

    def __init__(self, config: LoopConfig, family: Family, world: LoopData, *, like: "Loop | None" = None) -> None:
        """Prepare a loop; `config` may lack counts, and `self.config` has all counts filled in.

        If another loop on the same data is given as `like`, the real items and the evaluator of that loop are reused.
        """
        clean = world.clean
        named = dataclasses.replace(config, data=clean.name)
        self.config = named.resolved(size=clean.size, width=clean.space.width, vectorised=family.vectorised)
        self.family, self.world, self.streams = family, world, Streams(config.seed)
        n_measure = self.config.n_measure
        assert n_measure is not None
        self.fixed: Samples
        self.gauge: Evaluator
        self.readings: dict[str, Measure]  # measures of real samples of the same size
        if like is not None:
            self.fixed, self.gauge, self.readings = like.fixed, like.gauge, like.readings
        else:
            self.fixed = real_set(world.drawn, self.config, self.streams)
            rng = self.streams.rng(Purpose.measuring, 0)
            self.gauge, self.readings = gauge_for(world.clean, n=n_measure, rng=rng)
        # measures of real samples, only those that models are sampled for too
        self.real = {name: reading for name, reading in self.readings.items() if name not in self._exact_names()}

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that identify this loop; a folder on disk with other values belongs to another loop."""
        real = {name: record_document(measure) for name, measure in self.real.items()}
        clean, space = self.world.clean, self.world.clean.space
        return {
            "schema": "madaudit/loop/1",
            "config": self.config.as_json(),
            "data": {"name": clean.name, "digest": clean.digest, "skipped": dict(clean.skipped)},
            "sources": dict(self.world.digests),
            "space": {
                "width": space.width,
                "image": space.image and list(space.image),
                "bounds": space.bounds and list(space.bounds),
                "vocabulary": space.vocabulary,
                "classes": space.classes,
            },
            "real": real,
        }

    def training_set(self, generation: int, batches: list[Batch]) -> TrainingSet:
        """The training set of a generation, built from real items and the batches that earlier generations sampled."""
        if generation == 1:
            return initial_set(self.fixed, self.config)
        return later_set(
            generation, self.fixed, batches, supply=self.world.drawn, config=self.config, streams=self.streams
        )

    def fit(self, training: TrainingSet, generation: int, on_progress: Callable[[int], None]) -> Chains:
        """Train the models of every chain of a generation from scratch."""
        return fit_chains(
            self.family,
            training.samples,
            space=self.world.drawn.space,
            weights=training.weights,
            rngs=self._rngs(Purpose.training, generation),
            on_progress=on_progress,
        )

    def sample(self, models: Chains, generation: int) -> list[Batch]:
        """Sample the batches of synthetic items that later generations need, from the models of a generation."""
        sizes = batch_sizes(generation, self.config)
        if not sum(sizes.values()):
            return []
        drawn = draw_selected(
            models,
            sum(sizes.values()),
            config=self.config,
            clean=self.world.clean,
            rngs=self._rngs(Purpose.synthetic, generation),
            floor=self._floor,
            selecting=self.streams.rng(Purpose.verifying, generation),
        )
        ends = np.cumsum([0, *sizes.values()])
        return [
            Batch(generation, use, drawn.take(slice(start, end)))
            for use, start, end in zip(sizes, ends[:-1], ends[1:], strict=True)
        ]

    def measure(self, models: Chains, training: TrainingSet, generation: int) -> Generation:
        """Measure a generation; sampled measures use only the first few chains, exact measures use all chains."""
        count = min(self.config.measured_chains, models.count)
        measured = self.draw_measured(models.first(count), generation)
        if not np.isfinite(measured.values).all():
            raise InputError(
                f"samples of generation {generation} contain values that are not finite: the models have diverged"
            )
        readings = [self.gauge.measure(values) for values in measured.values]
        chains = {name: _padded([r[name] for r in readings], models.count) for name in readings[0]}
        chains |= models.exact(self.world.clean.truth)
        if (entropy := models.first(count).cross_entropy(self.gauge.items)) is not None:
            chains["cross_entropy"] = _padded(entropy.tolist(), models.count)
        shares = [self.gauge.mode_shares(values) for values in measured.values]
        sheet = measured.chain(0).take(slice(_SHEET))
        n_real = round(sum(count for origin, count in training.counts.items() if origin <= 0))
        return Generation(
            generation=generation,
            n_real=n_real,
            n_synthetic=training.samples.n - n_real,
            measures={name: over_chains(values) for name, values in chains.items()},
            chains=chains,
            origins=training.counts,
            real_digest=training.real_digest,
            sheet=sheet,
            texts=self.world.clean.spell(sheet.values),
            mode_shares=None if shares[0] is None else np.mean([s for s in shares if s is not None], axis=0),
            training=training,
            models=models,
        )

    def draw_measured(self, models: Chains, generation: int) -> Samples:
        """Draw the samples on which the models of a generation are measured."""
        n = self.config.n_measure
        assert n is not None
        rngs = self._rngs(Purpose.measuring, generation)
        return models.sample(n, bias=self.config.bias, rngs=rngs[: models.count])

    @cached_property
    def _floor(self) -> float:
        """The lowest typicality score (similarity to real data) that a verifier should accept."""
        return self.world.clean.typical_floor(_TYPICAL, rng=self.streams.rng(Purpose.verifying, 0))

    def _exact_names(self) -> set[str]:
        """Names of measures computed from model parameters, which cannot be compared with measures of real samples."""
        if not self.family.vectorised:
            return set()
        first = Samples(self.fixed.values[:1, : self.config.n_initial])
        models = self.fit(TrainingSet(first, np.zeros(first.n), None, ""), 1, lambda done: None)
        return set(models.exact(self.world.clean.truth))

    def _rngs(self, purpose: Purpose, generation: int) -> list[np.random.Generator]:
        chains = self.config.chains
        assert chains is not None
        return streams_of(self.streams, purpose, generation, family=self.family, chains=chains)


def prepare_loop(config: LoopConfig) -> Loop:
    """Prepare a loop to run: create its model family, open its data, and draw its real items."""
    with compute_threads(config.threads):
        family = make_family(config.family, config.settings, device=config.device)
        return Loop(config, family, open_world(config, family))


def run_loop(
    config: LoopConfig | Loop,
    *,
    folder: Path | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda generation, chains: None,
) -> Iterator[Generation]:
    """Run a loop, and yield the record of each finished generation.

    If `folder` is given, finished generations are stored in it. An interrupted loop continues after the last finished
    generation, with the same results as an uninterrupted loop. Generations read from disk have no `training` and no
    `models`. The callback `on_progress` receives the current generation and the number of trained chains. Raises
    InputError if the folder belongs to another loop.
    """
    loop = config if isinstance(config, Loop) else prepare_loop(config)
    store = None if folder is None else LoopFolder(folder)
    done: list[Generation] = []
    batches: list[Batch] = []
    if store is not None:
        store.claim(loop.identity, overwrite=overwrite)
        done = store.finished()
        if len(done) < loop.config.generations:
            batches = _complete(store.batches(len(done), needed_from=len(done) + 1), len(done), loop.config, store)
    yield from done
    keeps_real = workflow_named(loop.config.workflow).real in ("initial", "fixed")
    kept_digest = done[1].real_digest if len(done) > 1 else None
    for generation in range(len(done) + 1, loop.config.generations + 1):
        with compute_threads(loop.config.threads):
            training = loop.training_set(generation, batches)
            models = loop.fit(training, generation, partial(on_progress, generation))
            record = loop.measure(models, training, generation)
            new = loop.sample(models, generation)
        if keeps_real and generation > 1:
            kept_digest = kept_digest or training.real_digest
            if training.real_digest != kept_digest:
                raise ArtifactError(
                    f"the real items of generation {generation} differ from the real items of earlier generations"
                )
        batches = [batch for batch in batches if batch.use is None or batch.use > generation] + new
        if store is not None:
            store.save(record, new)
        yield record
        del training, models, record  # free memory before the next training set is made


def _complete(batches: list[Batch], done: int, config: LoopConfig, store: LoopFolder) -> list[Batch]:
    """Return `batches`; raises ArtifactError if a batch is missing that a generation after number `done` needs."""
    expected = {
        (origin, use)
        for origin in range(1, done + 1)
        for use, n in batch_sizes(origin, config).items()
        if n and (use is None or use > done)
    }
    if missing := sorted(origin for origin, _ in expected - {(batch.origin, batch.use) for batch in batches}):
        raise ArtifactError(
            f"{store.path} lacks the samples of generation {missing[0]} that later generations need: "
            "delete the folder, then run again"
        )
    return batches


def _padded(values: list[float], count: int) -> np.ndarray:
    return np.concatenate([values, np.full(count - len(values), np.nan)])
