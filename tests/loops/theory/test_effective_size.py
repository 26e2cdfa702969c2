import math
from pathlib import Path

import numpy as np
import pytest

from auditor.statistics.intervals import Measure
from loops.config import LoopConfig
from loops.generation.record import Generation
from loops.run import prepare_loop, run_loop
from loops.samples import Samples
from loops.theory.effective_size import RealOnly, effective_ratio, real_only_curve

SIZES = np.array([10, 20, 40, 80])
HYPERBOLA = RealOnly(SIZES, 3 / SIZES)  # the distance of n items is 3/n


def record(value: float, low: float = math.nan, high: float = math.nan) -> Generation:
    frechet = Measure(value, low=low, high=high, n=9)
    return Generation(3, 20, 20, {"frechet": frechet}, {}, {}, "", Samples(np.zeros((1, 1))), None)


@pytest.mark.parametrize("items", [10, 17.3, 40, 80])
def test_a_power_law_is_read_off_exactly(items: float) -> None:
    assert effective_ratio(record(3 / items), HYPERBOLA, 20).estimate == pytest.approx(items / 20)


def test_the_interval_turns_round_with_the_distance() -> None:
    found = effective_ratio(record(3 / 40, 3 / 60, 3 / 20), HYPERBOLA, 20)
    assert (found.low, found.estimate, found.high) == pytest.approx((1.0, 2.0, 3.0))


@pytest.mark.parametrize("distance", [0.31, 0.03, 0.0, math.nan])
def test_a_distance_outside_the_curve_is_not_determined(distance: float) -> None:
    found = effective_ratio(record(distance), HYPERBOLA, 20)
    assert math.isnan(found.estimate)
    assert found.reason is not None
    assert "outside" in found.reason


def test_an_end_outside_the_curve_is_not_determined_either() -> None:
    found = effective_ratio(record(3 / 40, 0.01, 3 / 20), HYPERBOLA, 20)
    assert math.isnan(found.high)
    assert found.low == pytest.approx(1.0)


def test_a_curve_that_rises_is_made_to_fall() -> None:
    bumpy = RealOnly(SIZES, np.array([0.3, 0.1, 0.2, 0.05]))
    level = math.sqrt(0.1 * 0.2)  # what rises is levelled at its geometric mean
    assert effective_ratio(record(level), bumpy, 20).estimate == pytest.approx(1.0)
    assert effective_ratio(record(0.05), bumpy, 20).estimate == pytest.approx(4.0)


def config(**fields: object) -> LoopConfig:
    given = {"n_initial": 40, "n_real": 40, "chains": 400, "n_measure": 20, "measured_chains": 1, **fields}
    return LoopConfig(workflow="fresh", **given)


def test_the_curve_is_the_distance_of_a_gaussian_fitted_to_n_items() -> None:
    """E W₂² = 1/n + 2(1 − α(n)) in one dimension."""
    curve = real_only_curve(config())
    alpha = np.array([math.sqrt(2 / (n - 1)) * math.exp(math.lgamma(n / 2) - math.lgamma((n - 1) / 2))
                      for n in curve.sizes])  # fmt: skip
    np.testing.assert_array_equal(curve.sizes, [5, 10, 20, 40, 80, 160, 320])
    np.testing.assert_allclose(curve.distances, 1 / curve.sizes + 2 * (1 - alpha), rtol=0.25)


def test_the_curve_goes_no_further_than_the_data(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((100, 1)).astype(np.float32))
    curve = real_only_curve(config(data=str(tmp_path / "x.npy"), chains=2))
    assert curve.sizes.max() == 80


def test_models_kept_in_a_folder_are_not_trained_again(tmp_path: Path) -> None:
    first = real_only_curve(config(chains=3), folder=tmp_path)
    mark = tmp_path / "40" / "generations" / "0001.json"
    before = mark.stat().st_mtime_ns
    again = real_only_curve(config(chains=3), folder=tmp_path)
    assert mark.stat().st_mtime_ns == before
    np.testing.assert_array_equal(first.distances, again.distances)


def test_models_of_another_loop_are_trained_anew(tmp_path: Path) -> None:
    real_only_curve(config(chains=3), folder=tmp_path)
    found = real_only_curve(config(chains=3, seed=1), folder=tmp_path)
    np.testing.assert_array_equal(found.distances, real_only_curve(config(chains=3, seed=1)).distances)


@pytest.mark.parametrize("workflow", ["augment", "fresh", "replace"])
def test_the_first_generation_on_data_is_worth_its_own_items(workflow: str) -> None:
    """Whether real items are drawn with replacement or without, real data alone have the ratio 1."""
    sizes = {"data": "digits", "n_initial": 400, "n_synthetic": 400, "generations": 1, "chains": 4, "n_measure": 50}
    asked = LoopConfig(workflow=workflow, measured_chains=1, **sizes)
    loop = prepare_loop(asked)
    (first,) = run_loop(loop)
    assert effective_ratio(first, real_only_curve(loop.config), 400).estimate == pytest.approx(1, abs=0.02)
