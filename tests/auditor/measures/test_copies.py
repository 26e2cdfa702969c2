"""Near copies that were planted are found, and independent items are not."""

import numpy as np
import pytest

from auditor.evaluation.worlds import world
from auditor.measures.copies import clusters_of_copies, copy_radius, share_of_copies


@pytest.fixture(scope="module")
def real():
    return world(64, np.random.default_rng(1)).draw(1000, np.random.default_rng(2))


@pytest.fixture(scope="module")
def others():
    return world(64, np.random.default_rng(1)).draw(500, np.random.default_rng(3))


def with_noise(rows, rng):
    return rows + 0.1 * rng.normal(size=rows.shape) / np.sqrt(rows.shape[1])  # items of a mode are about 1 apart


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5])
def test_planted_near_copies_of_real_items_are_found(share, real, others, rng):
    copies = round(share * len(others))
    rows = np.concatenate([with_noise(real[:copies], rng), others[copies:]])
    found = share_of_copies(rows, real, copy_radius(real), level=0.95)
    assert found.estimate == pytest.approx(share, abs=0.02)
    assert found.low <= share + 0.01
    assert found.high >= share


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5])
def test_planted_near_copies_within_the_set_are_found(share, real, others, rng):
    copies = round(share * len(others))
    rows = np.concatenate([others[: len(others) - copies], with_noise(others[:copies], rng)])
    repeats, _ = clusters_of_copies(rows, [str(i) for i in range(len(rows))], copy_radius(real))
    assert repeats / len(rows) == pytest.approx(share, abs=0.02)


def test_the_largest_cluster_comes_first_with_the_ids_of_its_items(real, others, rng):
    rows = np.concatenate([others[:100], with_noise(np.repeat(others[7:8], 9, axis=0), rng)])
    repeats, clusters = clusters_of_copies(rows, [f"item-{i}" for i in range(109)], copy_radius(real))
    assert repeats == 9
    assert clusters[0].size == 10
    assert clusters[0].examples == ("item-7", *(f"item-{i}" for i in range(100, 105)))


def test_one_item_has_no_copies(real, others):
    assert clusters_of_copies(others[:1], ["a"], copy_radius(real)) == (0, ())
