"""Novelty as a rank, and the level of the unexplained share by simulation."""

import math

import numpy as np
import pytest

from auditor.evidence.novelty import NOVEL, novelty, unexplained


def test_novelty_is_the_share_of_the_reference_that_lies_nearer(rng):
    reference, nearest = np.sort(rng.random(50)), rng.random(20)
    assert novelty(nearest, reference).tolist() == [float((reference < d).mean()) for d in nearest]


def test_a_copy_of_a_reference_item_is_not_novel():
    assert novelty(np.zeros(1), np.array([0.0, 0.5, 1.0])).tolist() == [0.0]


def test_an_item_beyond_all_is_wholly_novel():
    assert novelty(np.array([9.0]), np.array([0.0, 0.5, 1.0])).tolist() == [1.0]


@pytest.mark.parametrize(
    ("m", "n", "share"), [(100, 5, 0.0), (100, 100, 0.2), (5000, 10_000, 0.01), (250, 2000, 0.0), (250, 10, 1.0)]
)
def test_the_unexplained_share_holds_the_truth(m, n, share, rng):
    held, outside = 0, round(share * n)
    for _ in range(300):
        reference, incoming = np.sort(rng.random(m)), rng.random(n)
        incoming[:outside] = 2.0
        found = unexplained(int((novelty(incoming, reference) > NOVEL).sum()), n, m)
        held += found.low <= outside / n <= found.high
    assert held / 300 >= 0.92  # nominal 0.95; standard error 0.0126


@pytest.mark.parametrize("n", [1, 10**8])
def test_all_items_outside_are_all_unexplained(n):
    found = unexplained(n, n, 100)
    assert found.estimate == pytest.approx(1.0)
    assert found.high == 1.0


@pytest.mark.parametrize("n", [1, 10**8])
def test_no_item_outside_leaves_nothing_unexplained(n):
    found = unexplained(0, n, 100)
    assert found.estimate == found.low == 0.0
    assert math.isfinite(found.high)
