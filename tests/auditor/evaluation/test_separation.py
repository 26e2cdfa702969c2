"""Separation of two labels: closed forms for Gaussians, and coverage by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from auditor.evaluation import Separation, auroc_interval, separation_of
from auditor.reference.component import Part, encode_part
from indexes.encoders import load_encoder
from indexes.sources.memory import source_of_array


def part(label: str, vectors: np.ndarray) -> Part:
    return encode_part(label, [source_of_array(vectors)], [load_encoder("embeddings")], batch_size=256, threads=1)


def separated(shift: float, n: int) -> Separation:
    """Two normal labels in two dimensions, `shift` apart."""
    rng = np.random.default_rng(0)
    real, other = rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) + np.array([shift, 0])
    return separation_of(part("real", real), part("a", other), n, other_is_real=False, seed=0)


@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_two_gaussians_are_separated_as_far_as_they_lie_apart(shift: float) -> None:
    found = separated(shift, 400)
    auroc, variation = stats.norm.cdf(shift / math.sqrt(2)), 2 * stats.norm.cdf(shift / 2) - 1
    assert (found.real, found.other, found.auroc.n) == ("real", "a", 800)
    assert abs(found.auroc.estimate - auroc) < 0.04  # two and a half standard errors
    assert found.auroc.low < auroc < found.auroc.high
    assert abs(found.total_variation.estimate - variation) < 0.1
    assert 0 <= found.total_variation.low < found.total_variation.estimate < found.total_variation.high <= 1


def test_two_samples_of_one_distribution_are_not_separated() -> None:
    found = separated(0.0, 300)
    assert found.auroc.low < 0.5 < found.auroc.high
    assert found.total_variation.low == 0.0
    assert found.total_variation.estimate < 0.2


def test_no_more_items_are_used_than_asked_for() -> None:
    rng = np.random.default_rng(0)
    first, second = part("real", rng.normal(size=(120, 2))), part("a", rng.normal(size=(60, 2)))
    assert separation_of(first, second, 80, other_is_real=True, seed=0).auroc.n == 140


def observed(shift: float, n: int, m: int, rng: np.random.Generator) -> float:
    """The area under the curve of one sample, by counting pairs."""
    low, high = rng.normal(size=n), rng.normal(size=m) + shift
    return float((low[:, None] < high[None, :]).mean())


@pytest.mark.parametrize(("area", "n", "m"), [(0.5, 50, 50), (0.8, 60, 120), (0.95, 100, 100), (0.99, 80, 80)])
def test_nineteen_in_twenty_intervals_hold_the_area(area: float, n: int, m: int) -> None:
    rng, shift = np.random.default_rng(0), math.sqrt(2) * stats.norm.ppf(area)
    intervals = [auroc_interval(observed(shift, n, m, rng), n, m) for _ in range(400)]
    held = np.mean([low <= area <= high for low, high in intervals])
    assert 0.92 < held < 0.99  # two and a half standard errors below


def test_an_interval_is_never_a_point() -> None:
    low, high = auroc_interval(1.0, 50, 50)
    assert 0.9 < low < 0.99
    assert high == 1.0
    assert auroc_interval(0.0, 50, 50) == pytest.approx((0.0, 1 - low))


def test_the_interval_is_the_same_from_either_side() -> None:
    low, high = auroc_interval(0.8, 40, 70)
    assert auroc_interval(0.2, 70, 40) == pytest.approx((1 - high, 1 - low))
