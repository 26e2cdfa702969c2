"""Frames undo offset and scale."""

import numpy as np
import pytest

from auditor.statistics.frame import frame_of


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_placed_vectors_are_centred_and_of_unit_size(scale, rng):
    rows = scale * (rng.normal(size=(100, 4)) * 0.01 + 5)
    placed = frame_of(rows).place(rows)
    assert np.abs(placed.mean(0)).max() <= 0.5 + 1e-9
    assert 0.5 < np.sqrt(((placed - placed.mean(0)) ** 2).sum(1).mean()) < 2


def test_integers_stay_exact():
    rows = np.random.default_rng(0).integers(-4, 5, (50, 3)).astype(np.float64)
    frame = frame_of(rows)
    assert np.array_equal(frame.place(rows).astype(np.float32) * frame.scale + frame.origin, rows)


def test_equal_vectors_have_the_scale_one():
    assert frame_of(np.full((3, 2), 7.0)).place(np.full((3, 2), 7.0)).tolist() == [[0.0, 0.0]] * 3
