"""Precision, recall, density and coverage against brute force; their baselines and intervals by simulation."""

import math

import numpy as np
import pytest

from auditor.measures.frechet import frechet
from auditor.measures.prdc import balls_of, coverage_baseline, neighbour_radii, prdc
from indexes.errors import InputError


def brute_force(real, candidate, k):
    """Precision, recall, density and coverage from every distance."""

    def distances(a, b):
        return np.sqrt(((a[:, None].astype(float) - b[None]) ** 2).sum(2))

    real_radii = np.sort(distances(real, real), axis=1)[:, k]
    candidate_radii = np.sort(distances(candidate, candidate), axis=1)[:, k]
    across = distances(real, candidate)
    inside_real = across <= real_radii[:, None]
    return {
        "precision": inside_real.any(0).mean(),
        "recall": (across <= candidate_radii).any(1).mean(),
        "density": inside_real.sum(0).mean() / k,
        "coverage": inside_real.any(1).mean(),
    }


@pytest.mark.parametrize(("n_real", "n_candidate", "k"), [(60, 40, 3), (30, 90, 5), (20, 7, 5)])
def test_precision_recall_density_and_coverage_agree_with_brute_force(n_real, n_candidate, k, rng):
    real = rng.normal(size=(n_real, 4)).astype(np.float32)
    candidate = rng.normal(0.4, 0.8, (n_candidate, 4)).astype(np.float32)
    found = {name: measure.estimate for name, measure in prdc(real, candidate, k=k).items()}
    assert found == pytest.approx(brute_force(real, candidate, k))


def test_copies_on_a_grid_agree_with_brute_force(rng):
    real, candidate = rng.integers(0, 3, (50, 2)).astype(np.float32), rng.integers(0, 3, (30, 2)).astype(np.float32)
    found = {name: measure.estimate for name, measure in prdc(real, candidate).items()}
    assert found == pytest.approx(brute_force(real, candidate, 5))


def test_a_set_of_copies_has_no_radius():
    assert (neighbour_radii(np.ones((30, 3), dtype=np.float32), 5) == 0).all()


def test_as_many_neighbours_as_items_are_refused(rng):
    with pytest.raises(InputError, match="more than 5 vectors, got 5"):
        neighbour_radii(rng.normal(size=(5, 2)), 5)


@pytest.mark.parametrize(("n_real", "n_candidate"), [(40, 40), (200, 20), (40, 80)])
def test_the_coverage_baseline_is_what_a_second_sample_covers(n_real, n_candidate, rng):
    covered = [
        prdc(rng.normal(size=(n_real, 3)), rng.normal(size=(n_candidate, 3)))["coverage"].estimate for _ in range(60)
    ]
    error = np.std(covered) / np.sqrt(len(covered))
    assert np.mean(covered) == pytest.approx(coverage_baseline(n_real, n_candidate, 5), abs=4 * error)


def fidelity_draws(n, width, shift, draws, rng):
    """Draws of all measures, each from a new real and a new candidate sample."""
    for _ in range(draws):
        real, candidate = rng.normal(size=(n, width)), 0.8 * rng.normal(size=(n, width)) + shift
        yield prdc(real, candidate, level=0.95) | {"frechet": frechet(real, candidate, level=0.95)}


@pytest.mark.parametrize(("n", "width", "shift"), [(150, 4, 0.0), (150, 4, 0.5), (300, 8, 0.2)])
def test_intervals_hold_the_expectation_when_both_sides_are_drawn_anew(n, width, shift):
    found = list(fidelity_draws(n, width, shift, 200, np.random.default_rng(n + width)))
    for name in found[0]:
        drawn = [each[name] for each in found]
        expected = np.mean([m.estimate for m in drawn])
        assert np.mean([m.low <= expected <= m.high for m in drawn]) >= 0.88, name  # nominal .95; standard error .015


def test_without_a_level_there_is_no_interval_and_the_same_estimate(rng):
    real, candidate = rng.normal(size=(60, 3)), rng.normal(size=(50, 3))
    plain, measured = prdc(real, candidate), prdc(real, candidate, level=0.9)
    for name, measure in plain.items():
        assert math.isnan(measure.low)
        assert measure.estimate == measured[name].estimate
        assert measured[name].low <= measured[name].estimate <= measured[name].high


@pytest.mark.parametrize(("m", "n"), [(300, 200), (200, 1000)])
@pytest.mark.parametrize("spread", [1.0, 0.7])
def test_the_interval_of_the_density_holds_its_expectation(m, n, spread):
    rng = np.random.default_rng(m + n)
    found = [
        prdc(rng.normal(size=(m, 16)), spread * rng.normal(size=(n, 16)), level=0.95)["density"] for _ in range(100)
    ]
    truth = np.mean([measure.estimate for measure in found])
    assert np.mean([measure.low <= truth <= measure.high for measure in found]) >= 0.89  # standard error 0.022
    width = np.mean([measure.high - measure.low for measure in found]) / 3.92
    assert width < 1.5 * np.std([measure.estimate for measure in found])


def test_balls_reach_to_the_neighbours_of_each_point(rng):
    points = rng.normal(size=(50, 3)).astype(np.float32)
    balls = balls_of(points, 4)
    distances = ((points[:, None] - points[None]) ** 2).sum(2)
    order = np.argsort(distances, axis=1)
    assert (np.sort(balls.neighbours, axis=1) == np.sort(order[:, 1:5], axis=1)).all()
    assert balls.radii == pytest.approx(np.sort(distances, axis=1)[:, 4], rel=1e-5)
    assert balls.next_radii == pytest.approx(np.sort(distances, axis=1)[:, 5], rel=1e-5)
    assert (balls_of(points[:5], 4).next_radii == balls_of(points[:5], 4).radii).all()
