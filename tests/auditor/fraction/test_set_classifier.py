import numpy as np
import pytest
from sklearn.linear_model import Ridge

from auditor.fraction.set_classifier import contrast_with, rows_of_components
from auditor.statistics.scaling import column_scale, standardise
from indexes.hashing import fold_of


def rows(rng, n, mean=0.0, width=20):
    found = rng.normal(size=(n, width))
    found[:, 0] += mean
    return found.astype(np.float32)


def strange(rng, n, width=20):
    """Items that depart from the real ones in a direction of their own."""
    found = rng.normal(size=(n, width))
    found[:, 5] += 4
    return found.astype(np.float32)


SHARES = np.array([0.7, 0.3])


def mixture(rng, n=200):
    return np.concatenate([rows(rng, round(0.7 * n)), rows(rng, round(0.3 * n), mean=4.0)])


def test_a_mixture_of_the_components_departs_by_chance_alone(rng):
    found = [
        contrast_with([rows(rng, 300), rows(rng, 300, mean=4.0)], mixture(rng), SHARES, seed=0).departure
        for _ in range(100)
    ]
    assert abs(np.mean(found)) < 0.6
    assert 0.8 < np.std(found) < 1.6
    assert np.mean(np.array(found) > 2.8) <= 0.04


def test_an_unseen_kind_departs_clearly(rng):
    incoming = np.concatenate([rows(rng, 140), strange(rng, 60)])
    found = contrast_with([rows(rng, 300), rows(rng, 300, mean=4.0)], incoming, np.array([1.0, 0.0]), seed=0)
    assert found.departure > 5


def test_an_unseen_kind_is_told_from_real_items_that_the_known_generators_do_not_resemble(rng):
    real, unseen = rows(rng, 140), strange(rng, 60)
    found = contrast_with([rows(rng, 300), rows(rng, 300, mean=4.0)], np.concatenate([real, unseen]), SHARES, seed=0)
    assert np.mean(found.incoming > np.quantile(found.real[0], 0.95)) > 0.1  # .05 if they were like the real ones


def test_real_items_have_the_law_of_the_reference(rng):
    """Below any threshold lies the same share of incoming real items as of the reference's, on average."""
    below = []
    for _ in range(100):
        components = [rows(rng, 300), rows(rng, 300, mean=4.0)]
        found = contrast_with(components, rows(rng, 200), np.array([1.0, 0.0]), seed=0)
        below.append((found.incoming <= np.median(found.real[0])).mean())
    assert np.mean(below) == pytest.approx(0.5, abs=4 * np.std(below) / 10)


def test_the_order_of_the_incoming_items_does_not_matter(rng):
    components, incoming = [rows(rng, 100), rows(rng, 100, mean=4.0)], mixture(rng)
    first = contrast_with(components, incoming, SHARES, seed=3)
    second = contrast_with(components, incoming[::-1], SHARES, seed=3)
    np.testing.assert_array_equal(first.incoming, second.incoming)
    assert first.departure == second.departure


def test_the_scores_are_scikit_learns_ridge_regression_fitted_to_the_other_folds(rng):
    parts = [rows(rng, 60), rows(rng, 90, mean=4.0), rows(rng, 70)]
    found = contrast_with(parts[:2], parts[2], np.array([1.0, 0.0]), seed=0)
    vectors = np.concatenate(parts)
    scaled = standardise(vectors, *column_scale(vectors)).astype(float)
    folds, component = fold_of(vectors, seed=0, folds=5), np.repeat([0, 1, 2], [60, 90, 70])
    weights = (1 / np.array([60, 90, 70]))[component]
    scores = np.empty(len(vectors))
    for fold in range(5):
        train = folds != fold
        weight = weights[train] / weights[train].mean()
        centred = scaled[train] - np.average(scaled[train], axis=0, weights=weight)
        model = Ridge(alpha=4 * np.average((centred**2).sum(1), weights=weight))
        model.fit(scaled[train], component[train] == 0, sample_weight=weight)
        scores[~train] = -model.predict(scaled[~train])
    np.testing.assert_allclose(found.real[0], scores[component == 0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.known[0], scores[component == 1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.incoming, np.sort(scores[component == 2]), rtol=0, atol=1e-9)


def test_a_component_without_share_does_not_count_in_the_mixture(rng):
    real, odd = rows(rng, 200), rows(rng, 200, mean=30.0)
    found = contrast_with([real, odd], rows(rng, 200), np.array([1.0, 0.0]), seed=0)
    assert abs(found.departure) < 4


def test_copies_of_one_item_depart_by_nothing_that_is_not_finite():
    same = np.ones((60, 3), dtype=np.float32)
    found = contrast_with([same, same], same, np.array([0.5, 0.5]), seed=0)
    assert found.departure == 0.0


def test_no_more_than_a_bounded_number_of_items_is_used(rng):
    component = rng.permutation(np.repeat([0, 1, 2], [5000, 3000, 600]))
    chosen = rows_of_components(component, seed=0)
    assert [len(numbers) for numbers in chosen] == [4096, 2048, 600]
    for k, numbers in enumerate(chosen):
        assert (component[numbers] == k).all()
        assert len(set(numbers.tolist())) == len(numbers)
    parts = [rows(rng, 60, width=3)] * 2
    assert contrast_with(parts, rows(rng, 4900, width=3), np.array([1.0, 0.0]), seed=0).n == 4096
