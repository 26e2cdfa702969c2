"""Kernel ridge regression against scikit-learn's and against laws it must find."""

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge as Peer

from auditor.statistics.kernel_ridge import fit_kernel_ridge


@pytest.mark.parametrize(("length", "ridge"), [(0.5, 0.1), (2.0, 1.0)])
def test_it_agrees_with_scikit_learn(length, ridge, rng):
    rows, outputs, new = rng.normal(size=(60, 5)), rng.normal(size=(60, 3)), rng.normal(size=(20, 5))
    found = fit_kernel_ridge(rows, outputs, length=length, ridge=ridge, linear=0.0).predict(new)
    peer = Peer(alpha=ridge, kernel="rbf", gamma=1 / (4 * 5 * length**2)).fit(rows, outputs - outputs.mean(0))
    np.testing.assert_allclose(found, outputs.mean(0) + peer.predict(new), rtol=1e-8, atol=1e-10)


def test_it_finds_a_smooth_law(rng):
    rows = rng.normal(size=(400, 3))
    outputs = np.stack([np.sin(rows[:, 0]), rows[:, 1] * rows[:, 2]], axis=1)
    new = rng.normal(size=(100, 3))
    found = fit_kernel_ridge(rows, outputs, length=0.7, ridge=1e-3).predict(new)
    expected = np.stack([np.sin(new[:, 0]), new[:, 1] * new[:, 2]], axis=1)
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.15


def test_far_from_all_rows_only_the_linear_part_is_left(rng):
    rows, outputs = rng.normal(size=(50, 2)), rng.normal(size=(50, 1))
    found = fit_kernel_ridge(rows, outputs, length=0.5, ridge=0.1, linear=0.0).predict(np.full((1, 2), 100.0))
    np.testing.assert_allclose(found[0], outputs.mean(0))
