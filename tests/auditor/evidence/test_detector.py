"""Cross-fitting leaks nothing, even through copies, and new items score with the law of the reference's own."""

import numpy as np
import pytest
from scipy import stats

from auditor.evidence.calibration import calibration_of, count_scores
from auditor.evidence.detector import (
    FOLDS,
    Evidence,
    component_labels,
    fit_detector,
    neighbour_features,
    part_distances,
)
from auditor.fraction.estimate import estimate_fraction
from indexes.errors import InputError


def digests_of(vectors):
    """Sixteen bytes of each row's content: copies share them."""
    return np.stack([np.frombuffer(row.tobytes()[:8].ljust(16, b"."), dtype=np.uint8) for row in vectors])


def normal(n, rng, *, shift=0.0, width=6):
    rows = rng.normal(size=(n, width))
    rows[:, 0] += shift
    return rows.astype(np.float32)


def fitted(vectors, component):
    return fit_detector(vectors, component, digests_of(vectors), seed=0)


def auroc(evidence, component):
    synthetic, real = evidence.scores[component > 0], evidence.scores[component == 0]
    return stats.mannwhitneyu(synthetic, real).statistic / len(synthetic) / len(real)


@pytest.fixture(scope="module")
def separable():
    """A detector of two laws that overlap, with its out-of-fold evidence."""
    rng = np.random.default_rng(1)
    vectors = np.concatenate([normal(200, rng), normal(200, rng, shift=2.5)])
    component = component_labels([200, 200])
    return *fitted(vectors, component), vectors, component


@pytest.mark.parametrize("copies", [1, 2, 4])
def test_on_pure_noise_the_out_of_fold_scores_tell_nothing(copies):
    rng = np.random.default_rng(5)
    vectors, component = np.repeat(normal(300, rng, width=16), copies, axis=0), np.repeat(np.arange(300) % 2, copies)
    _, evidence = fitted(vectors, component)
    # 150 independent items a side: standard error 0.033; a leak through copies gives nearly 1
    assert auroc(evidence, component) == pytest.approx(0.5, abs=0.1)


def test_pairs_made_from_one_another_do_not_mislead_the_probe():
    """Halves of pairs in different folds would have it learn each item's opposite: an AUROC under that of new items."""
    rng = np.random.default_rng(4)
    real = 2 * normal(200, rng, width=48)
    made = real + 0.3 * normal(200, rng, width=48)
    made[:, :4] += 1.5
    component = component_labels([200, 200])
    detector, evidence = fitted(np.concatenate([real, made]), component)
    new = 2 * normal(400, rng, width=48)
    new[200:, :4] += 1.5
    assert auroc(evidence, component) >= auroc(detector.evidence(new, digests_of(new)), component) - 0.05


def test_an_item_of_the_reference_is_scored_as_in_cross_fitting(separable):
    detector, own, vectors, _ = separable
    assert np.array_equal(detector._folds_of(digests_of(vectors)), detector.folds)
    assert len(own.scores) == len(vectors)


@pytest.mark.parametrize("copies", [1, 2])
def test_on_pure_noise_the_fraction_is_undetermined(copies):
    rng = np.random.default_rng(6)
    vectors, component = np.repeat(normal(400, rng, width=16), copies, axis=0), np.repeat(np.arange(400) % 2, copies)
    detector, evidence = fitted(vectors, component)
    calibration = calibration_of(evidence, component, ("real", "g"))
    incoming = normal(100, rng, width=16)
    observed = count_scores(detector.evidence(incoming, digests_of(incoming)), calibration.edges)
    assert estimate_fraction(calibration, observed, rng=rng).status == "undetermined"


def test_a_separable_reference_is_separated_nearly_as_well_as_can_be(separable):
    _, evidence, _, component = separable
    assert stats.norm.cdf(2.5 / np.sqrt(2)) - 0.03 < auroc(evidence, component) < 1


def test_new_items_score_with_the_law_of_the_references_own(separable):
    detector, own, _, component = separable
    rng = np.random.default_rng(2)
    for k, shift in enumerate((0.0, 2.5)):
        new = normal(600, rng, shift=shift)
        scores = detector.evidence(new, digests_of(new)).scores
        assert stats.ks_2samp(scores, own.scores[component == k]).pvalue > 1e-3


def test_a_copy_of_a_reference_item_is_scored_by_the_model_that_never_saw_it(separable):
    detector, own, vectors, _ = separable
    again = detector.evidence(vectors, digests_of(vectors))
    np.testing.assert_allclose(again.posteriors, own.posteriors, atol=1e-5)


def test_a_copy_of_a_reference_item_lies_at_distance_zero(separable):
    detector, _, vectors, component = separable
    nearest = detector.evidence(vectors[:9], digests_of(vectors[:9])).nearest
    assert (nearest[np.arange(9), component[:9]] == 0).all()


def test_an_item_of_the_reference_is_not_its_own_neighbour(separable):
    assert (separable[1].nearest > 0).all()


def test_evidence_does_not_depend_on_the_batch(separable):
    detector = separable[0]
    new = normal(20, np.random.default_rng(3))
    whole = detector.evidence(new, digests_of(new))
    parts = [detector.evidence(new[i : i + 1], digests_of(new[i : i + 1])).posteriors for i in range(20)]
    np.testing.assert_allclose(np.concatenate(parts), whole.posteriors, atol=1e-6)


def test_posteriors_of_three_components_sum_to_one(rng):
    vectors = np.concatenate([normal(90, rng), normal(90, rng, shift=3), normal(90, rng, shift=-3)])
    component = component_labels([90, 90, 90])
    _, evidence = fitted(vectors, component)
    np.testing.assert_allclose(evidence.posteriors.sum(1), 1)
    assert (evidence.posteriors.argmax(1) == component).mean() > 0.8


def test_a_reference_without_generators_has_distances_and_no_scores(rng):
    vectors = normal(80, rng)
    detector, evidence = fitted(vectors, np.zeros(80, dtype=int))
    assert (evidence.scores == 0).all()
    assert detector.n_components == 1
    far = detector.evidence(vectors[:1] + 50, digests_of(vectors[:1])).nearest
    assert far[0, 0] > evidence.nearest.max()


@pytest.mark.parametrize("kind", ["constant", "copies", "wide"])
def test_degenerate_references_give_finite_evidence(kind, rng):
    vectors = {
        "constant": np.concatenate([normal(120, rng), np.full((120, 2), 7.0, dtype=np.float32)], axis=1),
        "copies": np.repeat(normal(24, rng), 5, axis=0),
        "wide": normal(120, rng, width=300),
    }[kind]
    component = component_labels([60, 60])
    digests = rng.integers(0, 256, (120, 16)).astype(np.uint8)  # contents differ where the encoder sees no difference
    detector, evidence = fit_detector(vectors, component, digests, seed=0)
    assert np.isfinite(evidence.scores).all()
    assert np.isfinite(evidence.nearest).all()
    assert np.isfinite(detector.evidence(vectors[:5] * 2 + 1, digests[:5]).scores).all()


def test_a_value_beyond_reason_does_not_break_the_evidence(separable):
    detector = separable[0]
    wild = np.array([[1e30, -1e30, 0, 0, 0, 0]], dtype=np.float32)
    found = detector.evidence(wild, digests_of(wild))
    assert np.isfinite(found.scores).all()
    assert np.isfinite(found.nearest).all()


def test_items_that_the_encoder_cannot_tell_apart_are_refused(rng):
    digests = rng.integers(0, 256, (120, 16)).astype(np.uint8)
    with pytest.raises(InputError, match="fewer than 10 items that the encoder can tell apart"):
        fit_detector(np.zeros((120, 4), dtype=np.float32), component_labels([60, 60]), digests, seed=0)


def test_too_small_a_component_is_refused(rng):
    with pytest.raises(InputError, match="49 usable items, expected at least 50"):
        fitted(normal(109, rng), component_labels([60, 49]))


def test_part_distances_agree_with_brute_force(rng):
    exemplars, rows = normal(60, rng), normal(7, rng)
    component, folds = np.arange(60) % 2, rng.integers(0, FOLDS, 60)
    found = part_distances(rows, exemplars, component, folds, device="cpu")
    for k in range(2):
        for fold in range(FOLDS):
            members = exemplars[(component == k) & (folds == fold)]
            expected = np.sort(((rows[:, None] - members[None]) ** 2).sum(2), axis=1)[:, :3]
            np.testing.assert_allclose(found[:, k, fold, : expected.shape[1]], expected, rtol=1e-5)
            assert np.isinf(found[:, k, fold, expected.shape[1] :]).all()


def test_neighbour_features_leave_out_their_fold(rng):
    parts = rng.random((4, 2, FOLDS, 3)).astype(np.float32)
    found = neighbour_features(parts, excluded=2, width=6)
    kept = np.sort(parts[:, :, [0, 1, 3, 4]].reshape(4, 2, -1), axis=2)[:, :, :3].mean(2)
    np.testing.assert_allclose(found, np.log(kept / 6 + 1e-3), rtol=1e-5)


def test_scores_are_log_odds_of_all_generators_together_against_real():
    posteriors = np.array([[0.5, 0.3, 0.2]])
    assert Evidence(posteriors, np.zeros((1, 3), dtype=np.float32)).scores == pytest.approx([np.log(0.25 / 0.5)])
