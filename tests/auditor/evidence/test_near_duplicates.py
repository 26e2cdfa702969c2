"""Near copies are found at any size and dimension, and independent items are not taken for them."""

import numpy as np
import pytest

from auditor.evidence.near_duplicates import copy_groups, design_effect, kin_groups


def copied(rng, items, times, width=24, noise=0.15):
    """Each of some independent items so many times, with a little noise, in any order."""
    rows = np.repeat(rng.normal(size=(items, width)), times, axis=0)
    order = rng.permutation(len(rows))
    return (rows + noise * rng.normal(size=rows.shape)).astype(np.float32)[order], np.repeat(range(items), times)[order]


def same_partition(groups, truth):
    pairs = {(int(g), int(t)) for g, t in zip(groups, truth, strict=True)}
    return len(pairs) == len(set(groups.tolist())) == len(set(truth.tolist()))


@pytest.mark.parametrize(("items", "times"), [(150, 2), (70, 3), (40, 5), (20, 10), (30, 40)])
@pytest.mark.parametrize("noise", [0.0, 0.15])
def test_copies_are_grouped_with_their_original(items, times, noise, rng):
    rows, truth = copied(rng, items, times, noise=noise)
    assert same_partition(copy_groups(rows), truth)


@pytest.mark.parametrize("width", [1, 2, 3, 6, 24, 128])
@pytest.mark.parametrize("n", [60, 600])
def test_independent_items_hardly_ever_pass_for_copies(width, n, rng):
    """By construction one in a hundred; the limit is four standard errors above."""
    extra = n - (copy_groups(rng.normal(size=(n, width)).astype(np.float32)).max() + 1)
    assert extra <= 0.01 * n + 4 * np.sqrt(0.01 * n)


def test_a_separate_source_is_no_group_of_copies(rng):
    rows = np.concatenate([rng.normal(size=(170, 24)), 8 + rng.normal(size=(30, 24))]).astype(np.float32)
    assert copy_groups(rows).max() + 1 == 200


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_items_are_grouped_by_equality(n, rng):
    rows = rng.normal(size=(n, 4)).astype(np.float32)
    assert copy_groups(rows).max() + 1 == n
    assert copy_groups(np.repeat(rows[:1], n, axis=0)).max() == 0


def test_more_copies_of_one_item_than_neighbours_are_one_group(rng):
    rows = np.repeat(rng.normal(size=(1, 8)).astype(np.float32), 300, axis=0)
    assert copy_groups(rows).max() == 0


def test_the_design_effect_of_equal_groups_is_their_size():
    assert design_effect(np.full(20, 5)) == 5
    assert design_effect(np.array([1, 1, 2])) == pytest.approx(6 / 4)


def test_items_made_from_real_ones_are_their_kin(rng):
    real = rng.normal(size=(100, 24)).astype(np.float32)
    first, second = (real + shift + 0.15 * rng.normal(size=real.shape) for shift in (0.3, -0.3))
    rows, component = np.concatenate([real, first, second]).astype(np.float32), np.repeat([0, 1, 2], 100)
    groups = kin_groups(rows, component, np.arange(300), 1)
    assert same_partition(groups, np.tile(np.arange(100), 3))


@pytest.mark.parametrize("width", [2, 24])
def test_unrelated_items_are_hardly_ever_kin(width, rng):
    rows, component = rng.normal(size=(600, width)).astype(np.float32), np.repeat([0, 1, 2], 200)
    assert kin_groups(rows, component, np.arange(600), 1).max() + 1 >= 590


def test_equal_contents_are_kin(rng):
    rows, contents = rng.normal(size=(60, 8)).astype(np.float32), np.arange(60) % 20
    assert same_partition(kin_groups(rows, np.zeros(60, dtype=int), contents, 1), contents)
