"""Score counts of known origin: sums over shards, the bins, and what separation means."""

import numpy as np
import pytest
from scipy import special, stats

from auditor.evidence.calibration import calibration_of, count_scores
from auditor.evidence.detector import Evidence


def evidence_of(scores):
    """Evidence whose log odds of synthetic, with one generator, are these scores."""
    synthetic = special.expit(scores)
    return Evidence(np.stack([1 - synthetic, synthetic], axis=1), np.zeros((len(scores), 2), dtype=np.float32))


def calibration(real, synthetic):
    scores = np.concatenate([real, synthetic])
    return calibration_of(evidence_of(scores), np.repeat([0, 1], [len(real), len(synthetic)]), ("real", "g"))


def test_scores_are_the_log_odds_at_equal_weight(rng):
    scores = rng.normal(0, 5, 50)
    np.testing.assert_allclose(evidence_of(scores).scores, scores, rtol=1e-9)


def test_certain_posteriors_have_finite_scores():
    assert np.isfinite(Evidence(np.eye(2), np.zeros((2, 2), dtype=np.float32)).scores).all()


def test_every_score_is_counted_once_at_any_distance(rng):
    found = calibration(rng.normal(-2, 1, 80), rng.normal(2, 1, 50))
    counted = count_scores(evidence_of(np.array([-700.0, -1, 0, 1, 30])), found.edges)
    assert counted.histogram.sum() == counted.n == 5
    assert counted.histogram[[0, -1]].tolist() == [1, 1]


def test_counts_agree_with_numpys_histogram(rng):
    found = calibration(rng.normal(-2, 1, 80), rng.normal(2, 1, 50))
    scores = rng.normal(0, 3, 200)
    expected, _ = np.histogram(scores, np.concatenate([[-np.inf], found.edges, [np.inf]]))
    assert count_scores(evidence_of(scores), found.edges).histogram.tolist() == expected.tolist()


def test_counts_of_shards_add_to_those_of_the_whole(rng):
    edges = calibration(rng.normal(-2, 1, 80), rng.normal(2, 1, 50)).edges
    scores = rng.normal(size=90)
    whole = count_scores(evidence_of(scores), edges)
    parts = count_scores(evidence_of(scores[:31]), edges) + count_scores(evidence_of(scores[31:]), edges)
    assert np.array_equal(parts.histogram, whole.histogram)
    np.testing.assert_allclose(parts.posteriors.outer, whole.posteriors.outer)


def test_no_items_count_nothing(rng):
    edges = calibration(rng.normal(-2, 1, 80), rng.normal(2, 1, 50)).edges
    assert count_scores(evidence_of(np.empty(0)), edges).histogram.sum() == 0


def test_edges_and_centres_rise(rng):
    found = calibration(rng.normal(-9, 2, 300), rng.normal(9, 2, 70))
    assert (np.diff(found.edges) > 0).all()
    assert (np.diff(found.centres) >= 0).all()
    assert len(found.centres) == len(found.edges) + 1 == found.densities.shape[1]


def test_densities_of_every_component_sum_to_one(rng):
    densities = calibration(rng.normal(-1, 2, 300), rng.normal(1, 2, 70)).densities
    np.testing.assert_allclose(densities.sum(1), 1)


def test_the_separation_is_the_total_variation_between_the_score_laws(rng):
    found = calibration(rng.normal(-1, 1, 20_000), rng.normal(1, 1, 20_000))
    assert found.separation == pytest.approx(2 * stats.norm.cdf(1) - 1, abs=0.02)


def test_separated_scores_have_separation_one(rng):
    assert calibration(rng.normal(-9, 1, 60), rng.normal(9, 1, 60)).separation == 1.0


def test_the_separation_is_that_of_the_generator_most_like_the_real_part(rng):
    scores = np.concatenate([rng.normal(-9, 1, 60), rng.normal(9, 1, 60), rng.normal(-9, 1, 60)])
    found = calibration_of(evidence_of(scores), np.repeat([0, 1, 2], 60), ("real", "far", "near"))
    assert found.separation < 0.4


@pytest.mark.parametrize("n", [50, 300])
def test_two_samples_of_one_law_are_hardly_separated(n, rng):
    found = [calibration(rng.normal(0, 1, n), rng.normal(0, 1, n)).separation for _ in range(50)]
    assert np.mean(found) < 0.15
    assert np.mean(np.array(found) >= 0.25) <= 0.1


def test_a_reference_without_generators_separates_nothing():
    evidence = Evidence(np.ones((50, 1)), np.zeros((50, 1), dtype=np.float32))
    assert calibration_of(evidence, np.zeros(50, dtype=int), ("real",)).separation == 0.0


@pytest.mark.parametrize(("n_real", "n_synthetic"), [(300, 100), (100, 300), (100, 5000)])
def test_new_items_of_a_well_separated_reference_fall_on_their_own_side(n_real, n_synthetic, rng):
    found = calibration(rng.normal(-9, 1, n_real), rng.normal(9, 1, n_synthetic))
    real = count_scores(evidence_of(rng.normal(-9, 1, 50_000)), found.edges).histogram
    synthetic = count_scores(evidence_of(rng.normal(9, 1, 50_000)), found.edges).histogram
    side = found.centres > 0
    assert real[side].sum() == synthetic[~side].sum() == 0
