"""Forecast a planned loop without a fitted risk model, by simulating the loop on the audited vectors."""

import dataclasses
import math

import numpy as np

from auditor.answers import GenerationForecast, Simulation
from auditor.event import Event
from auditor.plan import Plan
from auditor.risk.tier import OUTPUTS
from auditor.statistics.intervals import Measure
from indexes.errors import InputError
from loops.calibration.rows import MEASURED, Exact, outputs_of
from loops.calibration.tier_fit import happened_in
from loops.config import LoopConfig
from loops.data.open import LoopData
from loops.data.population import Empirical
from loops.data.supply import clustered
from loops.models import make_family
from loops.random_streams import Purpose, Streams
from loops.run import Loop, run_loop
from loops.samples import Space

__all__ = ["simulate_forecast"]

_CHAINS = 4
_FEWEST = 50  # items in each of the real and training sets
_MEASURED = 1000  # items measured per chain at most


def simulate_forecast(
    family: str, plan: Plan, real: np.ndarray, training: np.ndarray, *, event: Event, seed: int
) -> Simulation:
    """Trajectory of a planned loop, simulated in four chains with a model family, for the field `mad_risk.simulation`.

    Measures compare model samples with the real vectors `real` (m, d). Generation 1 is trained on the audited vectors
    `training` (n, d). Real items of later generations are also drawn from the audited vectors, so they include any
    contamination of the audited set. If `training` has fewer items than the plan's generation 1, all item counts are
    scaled down by the same factor. The interval limits `low` and `high` are the minimum and maximum over the four
    chains. Raises InputError if the family does not read vectors or if there are too few items.
    """
    made = make_family(family, {})
    if made.reads != "vectors":
        raise InputError(
            f"the simulation needs a family that reads vectors, but {family} reads {made.reads}: choose another"
        )
    if min(len(real), len(training)) < _FEWEST:
        raise InputError(
            f"the simulation needs at least {_FEWEST} training and {_FEWEST} real items, "
            f"got {len(training)} and {len(real)}: give more items"
        )
    n_initial, n_real, n_synthetic = plan.sizes
    scale = min(1.0, len(training) / n_initial)
    config = LoopConfig(
        family=family, workflow=plan.workflow, data="reference", generations=plan.generations,
        n_initial=round(n_initial * scale), n_synthetic=math.ceil(n_synthetic * scale),
        n_real=math.ceil(n_real * scale), bias=plan.bias, seed=seed, chains=_CHAINS, measured_chains=_CHAINS,
        n_measure=min(len(real) // 2, _MEASURED),
    )  # fmt: skip
    clean, drawn = (
        Empirical(name, Space(rows.shape[1]), np.ascontiguousarray(rows, dtype=np.float32))
        for name, rows in (("reference", real), ("audited", training))
    )
    supply = clustered(drawn, drawn, rng=Streams(seed).rng(Purpose.labels, 0)) if made.conditional else drawn
    loop = Loop(config, made, LoopData(supply, clean, {}))
    courses = _courses(loop)
    return Simulation(
        family=family,
        chains=_CHAINS,
        n_initial=round(n_initial * scale),
        n_real=math.ceil(n_real * scale),
        n_synthetic=math.ceil(n_synthetic * scale),
        event_in=int(happened_in(courses, event).sum()),
        trajectory=_trajectory(courses),
    )


def _courses(loop: Loop) -> np.ndarray:
    """Run the loop, and return the four forecast outputs of each chain (chains, 4, generations)."""
    truth = loop.world.clean.truth
    exact = Exact(loop.config.bias, len(truth.mean), float(np.trace(truth.covariance)))
    records = [dataclasses.replace(record, training=None, models=None) for record in run_loop(loop)]
    first = records[0].chains
    return np.stack([
        outputs_of(
            {name: np.array([r.chains[name][chain] for r in records]) for name in MEASURED if name in first},
            floor=loop.readings["frechet"].estimate, n=len(loop.gauge.items),
            exact=exact if "frechet" not in loop.real else None,
        )
        for chain in range(_CHAINS)
    ])  # fmt: skip


def _trajectory(courses: np.ndarray) -> tuple[GenerationForecast, ...]:
    stated = np.concatenate([np.exp(courses[:, :3]), courses[:, 3:]], axis=1)
    return tuple(
        GenerationForecast(generation=t + 1, **{name: _range(stated[:, i, t]) for i, name in enumerate(OUTPUTS)})
        for t in range(courses.shape[2])
    )


def _range(values: np.ndarray) -> Measure:
    return Measure(float(values.mean()), low=float(values.min()), high=float(values.max()))
