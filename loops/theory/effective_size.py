"""Effective sample size: the number of real items that alone give a model as close to real data as the loop's model."""

import dataclasses
import math
from pathlib import Path

import numpy as np
from sklearn.isotonic import IsotonicRegression

from auditor.statistics.intervals import Measure
from auditor.workflows import workflow_named
from loops.config import LoopConfig
from loops.generation.record import Generation
from loops.run import prepare_loop, run_loop

__all__ = ["RealOnly", "effective_ratio", "real_only_curve"]

_FACTORS = (0.125, 0.25, 0.5, 1, 2, 4, 8)


@dataclasses.dataclass(frozen=True, slots=True)
class RealOnly:
    """Fréchet distances of models trained only on real items, by number of training items."""

    sizes: np.ndarray  # (m,) increasing
    distances: np.ndarray  # (m,)


def real_only_curve(config: LoopConfig, *, folder: Path | None = None) -> RealOnly:
    """Fréchet distances of models trained on real items only: ⅛ to 8 times the loop's n_real, if the data suffice.

    `config` must be resolved. Real items are drawn as in the loop, with or without replacement. If `folder` is given,
    the results of the models are stored in the folder and reused.
    """
    workflow = "fresh" if workflow_named(config.workflow).real == "fresh" else "replace"
    around = config.n_real or config.n_initial or 1
    largest = prepare_loop(config).world.clean.size or math.inf
    sizes = sorted({round(around * f) for f in _FACTORS if 2 <= round(around * f) <= largest})
    distances = []
    for size in sizes:
        alone = dataclasses.replace(config, n_initial=size, n_real=0, n_synthetic=0, generations=1, workflow=workflow,
                                    mixing="fixed", memory=1, budget=None)  # fmt: skip
        record = next(iter(run_loop(alone, folder=None if folder is None else folder / str(size), overwrite=True)))
        distances.append(record.measures["frechet"].estimate)
    return RealOnly(np.array(sizes), np.array(distances))


def effective_ratio(record: Generation, curve: RealOnly, n_real: int) -> Measure:
    """Effective / real sample size n_e / n_r of a generation; undetermined if its distance is beyond the curve's range.

    The effective size n_e is read from the curve of distance by number of real items, which isotonic regression makes
    decreasing. The interval of n_e / n_r includes the uncertainty of the distance, but not the error of the curve.
    Synthetic items are called admissible if the effective size n_e is at least the number n_r of real items
    (Alemohammad et al. 2024).
    """
    frechet = record.measures["frechet"]
    logs = IsotonicRegression(increasing=False).fit_transform(np.log(curve.sizes), np.log(curve.distances))
    falling = np.exp(logs)
    value, high, low = (
        _read_off(d, curve.sizes, falling) / n_real for d in (frechet.estimate, frechet.low, frechet.high)
    )
    if math.isnan(value):
        return Measure(
            math.nan, reason=f"the distance {frechet.estimate:.4g} is outside the range of models trained on real items"
        )
    return Measure(value, low=low, high=high, n=frechet.n)


def _read_off(distance: float, sizes: np.ndarray, falling: np.ndarray) -> float:
    """The number of real items that gives a distance, by log–log interpolation; nan outside the curve."""
    rounding = 1e-9
    if not falling[-1] * (1 - rounding) <= distance <= falling[0] * (1 + rounding) or distance <= 0:
        return math.nan
    keep = np.append(True, np.diff(falling) < 0)
    return float(np.exp(np.interp(-np.log(distance), -np.log(falling[keep]), np.log(sizes[keep]))))
