"""Measures of an audited set: each beside its value for a real sample, on distinct items, with errors of both sides."""

import math

import numpy as np
import pytest

from auditor.evaluation.worlds import world
from auditor.measures.audited import DIVERSITY, FIDELITY, AuditedSpace, Beside, measured, unmeasured
from auditor.measures.prdc import growth_of, prdc
from auditor.measures.real_part import NEIGHBOURS, RealPart, real_part_of
from auditor.measures.set_sums import sums_of
from auditor.statistics.intervals import Measure
from indexes.errors import InputError
from indexes.hashing import content_keys
from indexes.search import membership


def digests_of(rows):
    return np.frombuffer(b"".join(row.tobytes()[:16] for row in np.ascontiguousarray(rows)), np.uint8).reshape(-1, 16)


def real_part(rows):
    return real_part_of(rows, [f"real-{i}" for i in range(len(rows))], digests_of(rows), seed=0)


def space_of(rows, real):
    keys = content_keys(digests_of(rows), seed=0)
    counts = tuple(np.bincount(cells.assign(rows), minlength=len(cells.centres)) for cells in real.cells)
    ids = tuple(f"set-{i}" for i in range(len(rows)))
    return AuditedSpace(sums=sums_of(rows, keys, real), vectors=rows[:4096], ids=ids, counts=counts, copies=1.0)


def measures_of(rows, real):
    fidelity, diversity = measured(space_of(rows, real), real, level=0.95)
    return {**fidelity.measures, **diversity.measures, "loss": diversity.loss}


@pytest.fixture(scope="module")
def a_world():
    return world(24, np.random.default_rng(5), cosine=0.6)


@pytest.fixture(scope="module")
def real(a_world):
    return real_part(a_world.draw(800, np.random.default_rng(6)))


@pytest.fixture(scope="module")
def second_sample(a_world, real):
    return measured(space_of(a_world.draw(500, np.random.default_rng(8)), real), real, level=0.95)


def test_every_measure_is_known_with_an_interval_beside_a_real_sample(second_sample):
    fidelity, diversity = second_sample
    assert tuple(fidelity.measures) == tuple(fidelity.comparisons) == FIDELITY
    assert tuple(diversity.measures) == tuple(diversity.comparisons) == DIVERSITY
    for answers in second_sample:
        for name, measure in answers.measures.items():
            if name == "near_duplicates":  # without a value for a real sample
                continue
            real = answers.comparisons[name].reference
            assert measure.reason is None, name
            assert measure.low <= measure.estimate <= measure.high, name
            assert real.low <= real.estimate <= real.high, name
            assert measure.reference == real.estimate


def test_a_second_real_sample_differs_in_no_measure(second_sample):
    for answers in second_sample:
        for name, comparison in answers.comparisons.items():
            assert name == "near_duplicates" or comparison.p_value > 0.001, name
    assert second_sample[1].regions == ()


def test_a_dropped_mode_is_named_with_its_real_items(a_world, real, rng):
    _, diversity = measured(space_of(a_world.draw(500, rng, modes=9), real), real, level=0.95)
    missing = [region for region in diversity.regions if region.status == "missing"]
    assert sum(region.share_reference for region in missing) == pytest.approx(0.1, abs=0.05)
    for region in missing:
        rows = real.vectors[[real.ids.index(i) for i in region.examples_reference]]
        nearest = ((rows[:, None] - a_world.offset - a_world.centres) ** 2).sum(2).argmin(1)
        assert set(nearest.tolist()) == {9}


def test_sums_of_parts_add_to_those_of_the_whole(a_world, real, rng):
    rows = a_world.draw(200, rng)
    keys = content_keys(digests_of(rows), seed=0)
    whole, parts = sums_of(rows, keys, real), sums_of(rows[:70], keys[:70], real) + sums_of(rows[70:], keys[70:], real)
    assert (whole.precise, whole.ball_squares) == (parts.precise, parts.ball_squares)
    assert np.array_equal(whole.totals, parts.totals)
    assert np.array_equal(whole.sole_items, parts.sole_items)
    for name in ("precision", "coverage"):
        assert getattr(whole, name)(copies=1.0, level=0.95) == getattr(parts, name)(copies=1.0, level=0.95)
    first, second = (sums.density(real.balls, 0.2, copies=1.0, level=0.95) for sums in (whole, parts))
    assert first == second


def test_the_sums_give_the_measures_and_intervals_of_the_arrays(a_world, real, rng):
    rows = a_world.draw(300, rng, shrink=0.8)
    sums = sums_of(rows, content_keys(digests_of(rows), seed=0), real)
    expected = prdc(real.vectors, rows, k=NEIGHBOURS, level=0.95)
    within, larger = (
        membership(real.place(rows), real.anchors, radii).totals for radii in (real.balls.radii, real.balls.next_radii)
    )
    found = {
        "precision": sums.precision(copies=1.0, level=0.95),
        "density": sums.density(real.balls, growth_of(within, larger), copies=1.0, level=0.95),
        "coverage": sums.coverage(copies=1.0, level=0.95),
    }
    for name, measure in found.items():
        for end in ("estimate", "low", "high"):
            assert getattr(measure, end) == pytest.approx(getattr(expected[name], end), rel=1e-6), name


@pytest.mark.parametrize("times", [2, 5, 12])
def test_copies_in_the_reference_change_no_measure(times, a_world):
    rows = a_world.draw(300, np.random.default_rng(1))
    plain, copied = real_part(rows), real_part(np.repeat(rows, times, axis=0))
    assert np.array_equal(plain.vectors, copied.vectors)
    assert copied.left_out == 300 * (times - 1) + plain.left_out


def test_independent_real_items_are_never_left_out(rng):
    centres = 6 * rng.normal(size=(100, 32))  # a few items in each of many modes look like copies of each other
    rows = (centres[rng.integers(0, 100, 400)] + rng.normal(size=(400, 32))).astype(np.float32)
    assert len(real_part(rows).vectors) == 400


def test_copies_in_the_set_count_once_but_for_the_measures_of_all_items(a_world, real, rng):
    rows = a_world.draw(200, rng)
    plain = measures_of(rows, real)
    for name in ("loss", "kinds", "spread", "vendi", "cmmd"):
        assert plain[name].n == 200, name


def test_a_comparison_tests_the_difference():
    ours, theirs = Measure(1.0, low=0.0, high=2.0), Measure(3.0, low=2.0, high=4.0)
    beside = Beside(ours, theirs)
    assert beside.set == Measure(1.0, low=0.0, high=2.0, reference=3.0)
    assert beside.comparison(0.95).reference == theirs
    assert beside.comparison(0.95).p_value == pytest.approx(2 * (1 - 0.9972), abs=1e-3)  # 2 over √2/1.96: z = 2.77
    assert math.isnan(Beside(Measure(math.nan), theirs).comparison(0.95).p_value)


def test_unmeasured_gives_every_measure_its_reason():
    fidelity, diversity = unmeasured("no encoder")
    for measure in (*fidelity.measures.values(), *diversity.measures.values(), diversity.loss):
        assert math.isnan(measure.estimate)
        assert measure.reason == "no encoder"


@pytest.mark.parametrize("n", [1, 2, 9, 15])
def test_a_few_items_give_values_or_reasons_and_no_warning(n, a_world, real, rng):
    for answers in measured(space_of(a_world.draw(n, rng), real), real, level=0.95):
        for name, measure in answers.measures.items():
            assert math.isfinite(measure.estimate) or measure.reason, name
            compared = answers.comparisons[name].reference
            assert math.isfinite(compared.estimate) or compared.reason, name


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_set_of_one_vector_gives_values_or_reasons_and_no_warning(value, real):
    for name, measure in measures_of(np.full((100, 24), value, dtype=np.float32), real).items():
        assert math.isfinite(measure.estimate) or measure.reason, name


@pytest.mark.parametrize(("n_real", "n", "width"), [(400, 20, 32), (400, 400, 32), (200, 1000, 8)])
def test_the_frechet_baseline_is_the_distance_of_a_real_sample_of_that_size(n_real, n, width, rng):
    from auditor.measures.frechet import frechet_of
    from auditor.statistics.moments import moments_of

    found = []
    for _ in range(20):
        rows = rng.normal(size=(n_real, width)).astype(np.float32)
        part = RealPart(rows, tuple(map(str, range(n_real))), ())
        distance = frechet_of(part.raw, moments_of(rng.normal(size=(n, width))))
        found.append((part.frechet_baseline(n).estimate, distance))
    baseline, distance = np.mean(found, axis=0)
    assert baseline == pytest.approx(distance, rel=0.06)


def test_too_small_a_real_part_is_refused(rng):
    with pytest.raises(InputError, match="19 distinct items, expected at least 20"):
        real_part(rng.normal(size=(19, 4)).astype(np.float32))
