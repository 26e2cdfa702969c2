"""Near copies that were planted are found, and independent items are not."""

import numpy as np
import pytest

from auditor.evaluation.worlds import world
from auditor.measures.copies import (
    clusters_of,
    copy_effect,
    copy_groups_beside,
    copy_scale,
    nearest_two,
    share_of_copies,
)


@pytest.fixture(scope="module")
def real():
    return world(64, np.random.default_rng(1)).draw(1000, np.random.default_rng(2))


@pytest.fixture(scope="module")
def others():
    return world(64, np.random.default_rng(1)).draw(500, np.random.default_rng(3))


def with_noise(rows, rng):
    return rows + 0.1 * rng.normal(size=rows.shape) / np.sqrt(rows.shape[1])  # items of a mode are about 1 apart


def clusters_in(rows, ids, real):
    return clusters_of(copy_groups_beside(rows, nearest_two(rows, real), copy_scale(real)), ids)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5])
def test_planted_near_copies_of_real_items_are_found(share, real, others, rng):
    copies = round(share * len(others))
    rows = np.concatenate([with_noise(real[:copies], rng), others[copies:]])
    found = share_of_copies(nearest_two(rows, real), copy_scale(real), level=0.95)
    assert found.estimate == pytest.approx(share, abs=0.02)
    assert found.low <= share + 0.01
    assert found.high >= share


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5])
def test_planted_near_copies_within_the_set_are_found(share, real, others, rng):
    copies = round(share * len(others))
    rows = np.concatenate([others[: len(others) - copies], with_noise(others[:copies], rng)])
    repeats, _ = clusters_in(rows, [str(i) for i in range(len(rows))], real)
    assert repeats / len(rows) == pytest.approx(share, abs=0.02)


def test_the_largest_cluster_comes_first_with_the_ids_of_its_items(real, others, rng):
    rows = np.concatenate([others[:100], with_noise(np.repeat(others[7:8], 9, axis=0), rng)])
    repeats, clusters = clusters_in(rows, [f"item-{i}" for i in range(109)], real)
    assert repeats == 9
    assert clusters[0].size == 10
    assert clusters[0].examples == ("item-7", *(f"item-{i}" for i in range(100, 105)))


def test_one_item_has_no_copies(real, others):
    assert clusters_in(others[:1], ["a"], real) == (0, ())


@pytest.mark.parametrize("distance", [0.1, 0.5])  # independent items are at least 0.75 apart
@pytest.mark.parametrize("times", [1, 2, 5, 9])
def test_the_design_effect_is_the_number_of_copies(times, distance, real, others, rng):
    rows = np.repeat(others[:400], times, axis=0)
    rows = rows + distance / np.sqrt(2) * rng.normal(size=rows.shape) / np.sqrt(rows.shape[1])
    effect = copy_effect(copy_groups_beside(rows, nearest_two(rows, real), copy_scale(real)))
    assert effect == pytest.approx(times, rel=0.2)  # chains of copies of neighbours raise it


def test_one_collapsed_mode_is_no_reason_to_count_few_items(real, others, rng):
    rows = np.concatenate([others[:100], with_noise(np.repeat(others[7:8], 50, axis=0), rng)])
    assert copy_effect(copy_groups_beside(rows, nearest_two(rows, real), copy_scale(real))) < 1.1


@pytest.mark.parametrize("modes", [1, 3])
def test_items_of_a_set_with_few_modes_or_noise_are_no_copies(modes, real):
    drawn = world(64, np.random.default_rng(1))
    for changes in ({}, {"noise": 1.0}):
        rows = drawn.draw(40, np.random.default_rng(modes), modes=modes, **changes)
        assert clusters_in(rows, [str(i) for i in range(40)], real)[0] <= 1
