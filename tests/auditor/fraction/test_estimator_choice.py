import numpy as np
import pytest

from auditor.evidence.calibration import Calibration, ScoreCounts
from auditor.fraction.adjusted_count import histogram_mixture, known_fit
from auditor.fraction.composition import Composition
from auditor.fraction.estimator_choice import COUNT, MIXTURE, choose_estimator
from auditor.statistics.moments import Moments

ONE = Composition(np.ones(1), np.ones(1), np.ones((2, 1)), np.ones((2, 1)), np.zeros(2))
EDGES = np.linspace(-4, 4, 9)


def counts(scores):
    histogram = np.bincount(np.searchsorted(EDGES, scores, side="right"), minlength=10)
    return ScoreCounts(histogram, Moments(len(scores), np.zeros(2), np.zeros((2, 2))))


def calibration(real, synthetic):
    return Calibration(("real", "g"), EDGES, (counts(real), counts(synthetic)))


def test_calibrated_scores_keep_the_count(rng):
    known = calibration(rng.normal(-2, 2, 2000), rng.normal(2, 2, 2000))  # log odds x of these two normals
    assert choose_estimator(known, ONE, 1000, rng=rng) == COUNT


@pytest.fixture
def crossed(rng):
    """Scores that rank wrongly: synthetic items lie on both sides of the real ones."""

    def two_sided(n):
        return rng.choice([-3.0, 3.5], n) + rng.normal(0, 0.3, n)

    return rng.normal(0, 1, 1500), two_sided


def test_scores_that_no_mean_can_use_take_the_mixture_and_it_errs_less(crossed, rng):
    real, synthetic = crossed
    known = calibration(real, synthetic(1500))
    assert choose_estimator(known, ONE, 1000, rng=rng) == MIXTURE
    errors = []
    for _ in range(30):
        observed = counts(np.concatenate([rng.normal(0, 1, 750), synthetic(250)]))
        count = known_fit(known, observed, ONE, level=0.95, is_sample=False).estimate
        errors.append((abs(count - 0.25), abs(histogram_mixture(known, observed, ONE) - 0.25)))
    assert np.mean(errors, axis=0)[1] < 0.7 * np.mean(errors, axis=0)[0]


def test_the_choice_depends_on_the_seed_alone(crossed):
    known = calibration(crossed[0], crossed[1](1500))
    first, second = (choose_estimator(known, ONE, 500, rng=np.random.default_rng(1)) for _ in range(2))
    assert first == second
