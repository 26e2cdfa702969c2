"""The probe learns what can be learnt, and its calibration makes honest posteriors."""

import numpy as np
import pytest
from scipy import special

from auditor.evidence.probe import calibrate, choose_landmarks, fit_probe


def test_landmark_features_reproduce_the_kernel_between_landmarks(rng):
    rows = rng.normal(size=(40, 5)).astype(np.float32)
    landmarks = choose_landmarks(rows, rng=rng, count=20)
    features = landmarks(landmarks.points)
    distances = ((landmarks.points[:, None] - landmarks.points[None]) ** 2).sum(2)
    np.testing.assert_allclose(features @ features.T, 5 * np.exp(-landmarks.gamma * distances), atol=5e-3)


def test_landmarks_of_equal_rows_are_finite(rng):
    rows = np.ones((30, 4), dtype=np.float32)
    assert np.isfinite(choose_landmarks(rows, rng=rng)(rows)).all()


def test_no_more_landmarks_than_rows(rng):
    assert len(choose_landmarks(rng.normal(size=(7, 3)), rng=rng).points) == 7


@pytest.mark.parametrize("classes", [2, 3])
def test_the_probe_tells_well_separated_classes_apart(classes, rng):
    def drawn(n):
        labels = np.arange(n) % classes
        rows = (rng.normal(size=(n, 4)) + 4 * np.eye(4)[labels]).astype(np.float32)
        return rows, np.zeros((n, classes), dtype=np.float32), labels

    rows, features, labels = drawn(300)
    probe = fit_probe(rows, features, labels, seed=0)
    rows, features, labels = drawn(300)
    logits = probe.logits(rows, features)
    assert logits.shape == (300, classes)
    assert (logits.argmax(1) == labels).mean() > 0.97


def test_the_probe_learns_a_ring_that_no_line_cuts_off(rng):
    def drawn(n):
        labels = np.arange(n) % 2
        angles, radius = rng.uniform(0, 2 * np.pi, n), np.where(labels, 2.0, 0.7) + rng.normal(0, 0.15, n)
        rows = np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1).astype(np.float32)
        return rows, np.zeros((n, 2), dtype=np.float32), labels

    rows, features, labels = drawn(400)
    probe = fit_probe(rows, features, labels, seed=0)
    rows, features, labels = drawn(400)
    assert (probe.logits(rows, features).argmax(1) == labels).mean() > 0.95


def test_the_same_seed_gives_the_same_probe(rng):
    rows, labels = rng.normal(size=(120, 4)).astype(np.float32), np.arange(120) % 2
    features = np.zeros((120, 2), dtype=np.float32)
    first, second = (fit_probe(rows, features, labels, seed=4) for _ in range(2))
    assert first.weights.tobytes() == second.weights.tobytes()


@pytest.mark.parametrize("sizes", [(4000, 4000), (6000, 1000)])
def test_calibration_undoes_a_wrong_scale_and_bias(sizes, rng):
    labels = np.repeat([0, 1], sizes)
    log_odds = 2 * (rng.normal(size=len(labels)) + np.where(labels, 1.0, -1.0))  # true at equal weight
    logits = np.stack([np.zeros(len(labels)), 3 * log_odds - 4], axis=1)
    inverse_temperature, bias = calibrate(logits, labels)
    assert inverse_temperature == pytest.approx(1 / 3, rel=0.1)
    assert bias == pytest.approx([0, 4 / 3], abs=0.15)


def test_calibrated_posteriors_are_the_shares_that_come_true(rng):
    labels = np.arange(9000) % 3
    logits = 5 * (rng.normal(size=(9000, 3)) + 1.5 * np.eye(3)[labels]) + [0, 2, -1]
    inverse_temperature, bias = calibrate(logits, labels)
    posteriors = special.softmax(inverse_temperature * logits + bias, axis=1)
    for k in range(3):
        near = (posteriors[:, k] > 0.4) & (posteriors[:, k] < 0.6)
        assert (labels[near] == k).mean() == pytest.approx(posteriors[near, k].mean(), abs=0.06)


def test_separable_scores_do_not_become_certain():
    labels = np.repeat([0, 1], 50)
    logits = np.stack([np.zeros(100), np.where(labels, 1.0, -1.0)], axis=1)
    inverse_temperature, bias = calibrate(logits, labels)
    posteriors = special.softmax(inverse_temperature * logits + bias, axis=1)
    assert 0.9 < posteriors.max() < 0.9999


def test_useless_scores_become_even_posteriors(rng):
    labels = np.repeat([0, 1], 2000)
    inverse_temperature, bias = calibrate(rng.normal(0, 5, (4000, 2)), labels)
    assert inverse_temperature < 0.06
    assert abs(bias[1]) < 0.1
