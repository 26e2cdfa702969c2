"""Kinds and spread lost on sets of known diversity: values, invariances, intervals, extremes."""

import numpy as np
import pytest

from auditor.evaluation.worlds import world
from auditor.measures.kinds import diversity_loss, kinds, spread
from indexes.errors import InputError


@pytest.fixture(scope="module")
def a_world():
    return world(64, np.random.default_rng(3))


@pytest.fixture(scope="module")
def real(a_world):
    return a_world.draw(2000, np.random.default_rng(4))


@pytest.mark.parametrize("modes", [9, 7, 5, 3, 1])
@pytest.mark.parametrize("cosine", [0.0, 0.8, 0.95])
def test_a_set_with_some_of_ten_modes_has_lost_the_others(modes, cosine, rng):
    drawn = world(64, rng, cosine=cosine)
    found = kinds(drawn.draw(2000, rng), drawn.draw(1000, rng, modes=modes), level=0.95)
    assert found.estimate == pytest.approx(1 - modes / 10, abs=0.05)
    assert found.low - 0.01 < 1 - modes / 10 < found.high + 0.01


@pytest.mark.parametrize("shrink", [0.9, 0.8, 0.5])
@pytest.mark.parametrize("cosine", [0.0, 0.95])
def test_a_set_shrunk_around_its_modes_has_lost_spread(shrink, cosine, rng):
    drawn = world(64, rng, cosine=cosine)
    real, candidate = drawn.draw(2000, rng), drawn.draw(1000, rng, shrink=shrink)
    assert spread(real, candidate).estimate == pytest.approx(1 - np.sqrt(shrink), abs=0.05)
    assert abs(kinds(real, candidate).estimate) < 0.1


def test_noise_neither_loses_nor_hides_kinds(a_world, real, rng):
    assert kinds(real, a_world.draw(1000, rng, noise=1.0)).estimate == pytest.approx(0, abs=0.05)
    noisy = a_world.draw(1000, rng, noise=1.0, modes=5)
    assert kinds(real, noisy).estimate == pytest.approx(0.5, abs=0.05)
    assert spread(real, noisy).estimate < -0.3
    assert diversity_loss(real, noisy).estimate == pytest.approx(0.5, abs=0.05)


def test_the_loss_combines_both(a_world, real, rng):
    candidate = a_world.draw(1000, rng, modes=7, shrink=0.5)
    parts = kinds(real, candidate).estimate, spread(real, candidate).estimate
    assert diversity_loss(real, candidate).estimate == pytest.approx(1 - (1 - parts[0]) * (1 - parts[1]))


def test_the_loss_grows_with_the_collapsed_share(a_world, real):
    losses = [
        diversity_loss(real, a_world.draw(1000, np.random.default_rng(7), collapsed=share)).estimate
        for share in (0.0, 0.1, 0.3, 0.5, 1.0)
    ]
    assert losses == sorted(losses)
    assert losses[-1] > 0.9


@pytest.mark.parametrize(("scale", "offset"), [(1e-30, 0.0), (1e3, 0.0), (1.0, 1e6)])
def test_scale_and_offset_change_nothing(scale, offset, a_world, real, rng):
    candidate = a_world.draw(500, rng, modes=6)
    moved = [scale * rows.astype(np.float64) + offset for rows in (real, candidate)]
    assert diversity_loss(*moved).estimate == pytest.approx(diversity_loss(real, candidate).estimate, abs=0.02)


def test_copies_count_once_on_both_sides(a_world, real, rng):
    candidate = a_world.draw(500, rng, modes=6)
    copied = diversity_loss(np.repeat(real, 5, axis=0), np.repeat(candidate, 3, axis=0))
    assert copied.estimate == diversity_loss(real, candidate).estimate


@pytest.mark.parametrize("width", [16, 128])
@pytest.mark.parametrize(("n", "changes"), [(200, {}), (400, {"modes": 5}), (400, {"shrink": 0.5})])
def test_the_intervals_hold_what_the_whole_distribution_has_lost(width, n, changes):
    rng = np.random.default_rng(width + n)
    truth = {"modes": 1 - changes.get("modes", 10) / 10, "shrink": 1 - np.sqrt(changes.get("shrink", 1.0))}
    held = []
    for _ in range(40):
        drawn = world(width, rng)
        real, candidate = drawn.draw(800, rng), drawn.draw(n, rng, **changes)
        lost, narrowed = kinds(real, candidate, level=0.95), spread(real, candidate, level=0.95)
        held.append(
            (
                "shrink" in changes or lost.low <= truth["modes"] <= lost.high,  # shrinking costs a few kinds too
                narrowed.low <= truth["shrink"] <= narrowed.high,
            )
        )
    assert np.mean(held, axis=0).min() >= 0.82  # nominal 0.95; standard error 0.035


def test_a_second_real_sample_has_lost_nothing_and_raises_no_warning():
    rng = np.random.default_rng(11)
    found = []
    for _ in range(40):
        drawn = world(64, rng)
        found.append(diversity_loss(drawn.draw(2000, rng), drawn.draw(1000, rng)))
    assert np.mean([m.low <= 0 <= m.high for m in found]) >= 0.87
    assert np.mean([m.high >= 0.1 for m in found]) <= 0.05  # the policy's default `warn`


def test_a_set_of_other_data_has_a_reason_and_no_loss(real, rng):
    found = diversity_loss(real, world(64, rng).draw(500, rng))
    assert np.isnan(found.estimate)
    assert found.reason is not None
    assert "lies outside the reference" in found.reason


def test_copies_of_a_few_items_have_lost_the_kinds_that_so_few_items_cannot_show(real):
    for items, times in ((1, 300), (5, 20)):
        found = diversity_loss(real, np.repeat(real[:items], times, axis=0))
        assert found.estimate == found.low > 0.6
        assert found.high == 1.0
        assert found.reason == f"the set has too few distinct items ({items}), expected at least 16"


def test_a_few_items_have_a_reason(real):
    found = diversity_loss(real, real[:15])
    assert np.isnan([found.estimate, found.low, found.high]).all()
    assert found.reason == "the set has too few distinct items (15), expected at least 16"


def test_a_reference_of_one_kind_has_a_reason(real):
    found = diversity_loss(np.ones((100, 64)), real)
    assert found.reason == "the real part has too few distinct items, expected at least 40"


@pytest.mark.parametrize("row", range(8))
def test_one_huge_row_gives_the_right_loss_or_a_reason(row, a_world, real, rng):
    spoilt, candidate = real.copy(), a_world.draw(500, rng, modes=5)
    spoilt[row] *= 1e6
    huge = candidate.copy()
    huge[row] *= 1e6
    reason = "a single {} holds most of {}"
    for found, expected in (
        (diversity_loss(spoilt, candidate), reason.format("real item", "the real spread")),
        (diversity_loss(real, huge), reason.format("item of the set", "its spread")),
    ):
        if found.reason is None:
            assert found.estimate == pytest.approx(0.5, abs=0.08)
        else:
            assert found.reason.startswith(expected)


def test_values_that_are_not_finite_have_a_reason(real):
    spoilt = real[:100].copy()
    spoilt[3, 4] = np.nan
    for one, other in ((real, spoilt), (spoilt, real), (spoilt, spoilt)):
        assert diversity_loss(one, other).reason == "some vectors hold infinite values or nan"


def test_a_single_column_is_enough(rng):
    real = rng.normal(size=(1000, 1))
    assert diversity_loss(real, rng.normal(size=(500, 1))).estimate == pytest.approx(0, abs=0.07)
    assert diversity_loss(real, 0.1 * rng.normal(size=(500, 1))).estimate > 0.7


def test_more_columns_than_items_are_measured(rng):
    drawn = world(4096, rng)
    assert kinds(drawn.draw(300, rng), drawn.draw(300, rng, modes=5)).estimate == pytest.approx(0.5, abs=0.1)


def test_without_a_level_there_is_no_interval_and_the_same_estimate(real, rng):
    candidate = real[rng.permutation(2000)[:400]]
    plain, measured = kinds(real, candidate), kinds(real, candidate, level=0.9)
    assert plain.estimate == measured.estimate
    assert np.isnan(plain.low)


def test_other_widths_are_refused(real):
    with pytest.raises(InputError, match=r"\(2000, 64\) and \(2000, 63\)"):
        kinds(real, real[:, :63])


def _heavy_tails(rng, n, width):
    return rng.normal(size=(n, width)) / np.sqrt(rng.chisquare(3, size=(n, 1)) / 3)


def _sparse(rng, n, width):
    return (rng.random((n, width)) < 0.05).astype(np.float64)


@pytest.mark.parametrize("draw", [lambda rng, n, width: rng.normal(size=(n, width)), _heavy_tails, _sparse])
@pytest.mark.parametrize(("n_real", "n"), [(400, 200), (400, 1000), (1600, 200)])
def test_a_second_sample_of_data_without_modes_in_many_dimensions_has_lost_no_kinds(draw, n_real, n):
    rng = np.random.default_rng(n_real + n)
    found = [kinds(draw(rng, n_real, 512), draw(rng, n, 512), level=0.95) for _ in range(12)]
    assert np.mean([m.estimate for m in found]) == pytest.approx(0, abs=0.015)
    assert np.mean([m.low <= 0 <= m.high for m in found]) >= 0.75  # nominal .95; standard error .063


@pytest.mark.parametrize(("copies", "modes"), [(2, 10), (5, 5), (20, 10)])
def test_near_copies_of_items_widen_the_intervals(copies, modes):
    rng = np.random.default_rng(copies)
    drawn = world(64, rng)
    held = []
    for _ in range(20):
        items = np.repeat(drawn.draw(200, rng, modes=modes), copies, axis=0)
        near = items + 0.05 * rng.normal(size=items.shape) * drawn.widths
        real = drawn.draw(1000, rng)
        lost, narrowed = kinds(real, near, level=0.95), spread(real, near, level=0.95)
        held.append((lost.low <= 1 - modes / 10 <= lost.high, narrowed.low <= 0 <= narrowed.high))
    assert np.mean(held, axis=0).min() >= 0.8  # nominal .95; standard error .049


@pytest.mark.parametrize("modes", [1, 2, 4])
def test_a_set_of_few_modes_is_not_taken_for_other_data(modes):
    rng = np.random.default_rng(modes)
    for width in (16, 64, 512):
        drawn = world(width, rng)
        found = [kinds(drawn.draw(200, rng), drawn.draw(100, rng, modes=modes)) for _ in range(5)]
        assert sum(m.reason is not None and "outside" in m.reason for m in found) == 0


def test_noise_and_collapse_are_not_taken_for_other_data(a_world, real, rng):
    for changes in ({"noise": 2.0}, {"noise": 2.0, "modes": 1}, {"collapsed": 0.5}, {"collapsed": 0.9}):
        assert np.isfinite(kinds(real, a_world.draw(400, rng, **changes)).estimate)


def test_a_set_of_the_references_own_items_has_lost_nothing(real):
    found = diversity_loss(real, real)
    assert found.estimate == pytest.approx(0, abs=0.05)
    assert found.low <= 0 <= found.high


def test_masked_entries_are_refused(real):
    masked = np.ma.masked_array(real[:100], mask=np.eye(100, 64, dtype=bool))
    with pytest.raises(InputError, match="the candidate vectors hold masked entries"):
        diversity_loss(real, masked)
