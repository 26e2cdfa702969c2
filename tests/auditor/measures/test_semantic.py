"""Measures in the semantic space: baselines are what a real sample gives, intervals hold, tiny sets say so."""

import math

import numpy as np
import pytest

from auditor.measures.fidelity import frechet_of, prdc
from auditor.measures.semantic import NEIGHBOURS, SemanticReference, diversity_measures, fidelity_measures, loss_of
from auditor.statistics.moments import moments_of
from indexes.errors import InputError


def normal(n, rng, *, width=8, scale=1.0):
    return (scale * rng.normal(size=(n, width))).astype(np.float32)


def measures_of(vectors, reference):
    sums = reference.sums(vectors)
    return {
        **fidelity_measures(sums, vectors, reference, level=0.95),
        **diversity_measures(sums, vectors, reference, level=0.95),
    }


@pytest.fixture(scope="module")
def reference():
    return SemanticReference(normal(300, np.random.default_rng(1)))


def test_sums_of_batches_add_to_those_of_the_whole(reference, rng):
    rows = normal(60, rng)
    parts, whole = reference.sums(rows[:23]) + reference.sums(rows[23:]), reference.sums(rows)
    assert (parts.precise, parts.ball_total, parts.ball_squares) == (
        whole.precise,
        whole.ball_total,
        whole.ball_squares,
    )
    assert parts.covered.tolist() == whole.covered.tolist()


def test_the_measures_are_those_of_the_pure_functions(reference, rng):
    rows = normal(80, rng, scale=0.8)
    found, expected = measures_of(rows, reference), prdc(reference.vectors, rows, k=NEIGHBOURS)
    for name in ("precision", "density", "coverage"):
        assert found[name].estimate == pytest.approx(expected[name].estimate)
    assert found["frechet"].estimate == pytest.approx(frechet_of(reference.raw, moments_of(rows)))


def test_the_references_of_all_measures_are_what_a_real_sample_gives(rng):
    real = [SemanticReference(normal(300, rng)) for _ in range(25)]
    found = [measures_of(normal(200, rng), r) for r in real]
    for name in found[0]:
        value, expected = np.array([(m[name].estimate, m[name].reference) for m in found]).T
        gap = value - expected
        assert abs(gap.mean()) < 4 * gap.std() / 5 + 0.002, name


@pytest.mark.parametrize(("n_real", "n", "width"), [(400, 20, 32), (400, 400, 32), (200, 1000, 8)])
def test_the_frechet_baseline_is_the_distance_of_a_real_sample_of_that_size(n_real, n, width, rng):
    found = []
    for _ in range(20):
        reference = SemanticReference(normal(n_real, rng, width=width))
        distance = frechet_of(reference.raw, moments_of(normal(n, rng, width=width)))
        found.append((reference.frechet_baseline(n), distance))
    baseline, distance = np.mean(found, axis=0)
    assert baseline == pytest.approx(distance, rel=0.06)


@pytest.mark.parametrize(("n_real", "n", "width", "scale"), [(300, 30, 8, 1.0), (300, 300, 8, 0.7), (400, 60, 32, 1.0)])
def test_the_intervals_hold_the_expectations_at_that_size(n_real, n, width, scale, rng):
    held: dict[str, list[bool]] = {name: [] for name in ("precision", "density", "coverage", "recall", "frechet")}
    for _ in range(4):
        reference = SemanticReference(normal(n_real, rng, width=width))
        found = [measures_of(normal(n, rng, width=width, scale=scale), reference) for _ in range(30)]
        for name, inside in held.items():
            expected = np.mean([m[name].estimate for m in found])
            inside += [m[name].low <= expected <= m[name].high for m in found]
    for name, inside in held.items():
        assert np.mean(inside) >= 0.87, name  # nominal 0.95; standard error 0.02


def test_a_second_real_sample_has_no_loss(reference, rng):
    loss = loss_of(normal(200, rng), reference, level=0.95)
    assert abs(loss.estimate) < 0.05
    assert loss.low < loss.estimate < loss.high


def test_a_set_in_fewer_dimensions_has_lost_diversity(reference, rng):
    rows = normal(200, rng)
    rows[:, 2:] *= 0.05
    assert loss_of(rows, reference, level=0.95).low > 0.6


@pytest.mark.parametrize("n", [1, 2, 9])
def test_too_few_items_have_no_loss_and_say_why(n, reference, rng):
    loss = loss_of(normal(n, rng), reference, level=0.95)
    assert math.isnan(loss.estimate)
    assert loss.reason == f"diversity needs at least 10 items, got {n}"


def test_one_item_has_no_frechet_distance_no_recall_and_no_error_of_density(reference, rng):
    found = measures_of(normal(1, rng), reference)
    assert math.isnan(found["frechet"].estimate)
    assert "at least 2 items" in found["frechet"].reason
    assert math.isnan(found["density"].low)
    assert math.isnan(found["recall"].estimate)
    assert "more than 5 items" in found["recall"].reason


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_copies_of_one_item_are_measured_without_a_warning(value, reference):
    found = measures_of(np.full((100, 8), value, dtype=np.float32), reference)
    assert found["vendi"].estimate == pytest.approx(1)
    assert found["effective_rank"].estimate == 1.0
    assert found["recall"].estimate == 0.0


def test_a_reference_of_copies_is_measured_without_a_warning():
    ones = np.ones((60, 4), dtype=np.float32)
    found = measures_of(ones[:30], SemanticReference(ones))
    assert found["frechet"].estimate == 0.0
    assert found["coverage"].estimate == found["coverage"].high == 1.0


def test_a_value_lies_inside_its_interval(reference, rng):
    for n in (2, 6, 100):
        for name, m in measures_of(normal(n, rng), reference).items():
            if math.isfinite(m.low):
                assert m.low <= m.estimate <= m.high, name


def test_too_small_a_real_part_is_refused(rng):
    with pytest.raises(InputError, match="19 items, expected at least 20"):
        SemanticReference(normal(19, rng))
