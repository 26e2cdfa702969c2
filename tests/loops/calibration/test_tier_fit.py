"""One tier of the risk model, fitted to loops of a known law, against what can be counted by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from auditor.event import Event
from auditor.risk.inputs import TIERS, features_of
from auditor.risk.model import chance_features
from auditor.risk.tier import OUTPUTS
from loops.calibration.tier_fit import LEVEL, fit_tier, happened_in, table_of

RATIO, DIVERSITY = OUTPUTS.index("frechet_ratio"), OUTPUTS.index("diversity_ratio")


@pytest.fixture(scope="module")
def table(law_rows):
    return table_of(law_rows, "model-samples")


@pytest.fixture(scope="module")
def fitted(table):
    return fit_tier(table, {"all": {"n": 1.0}}, resamples=3)


@pytest.mark.parametrize("tier", TIERS)
def test_a_table_has_a_row_for_every_loop_and_a_column_for_every_feature(law_rows, tier):
    found = table_of(law_rows, tier)
    assert found.features.shape == (len(law_rows), len(found.names))
    assert set(features_of(law_rows[0].known, tier=tier)) <= set(found.names)
    np.testing.assert_array_equal(found.trajectories[5], law_rows[5].outputs)


def test_taking_rows_keeps_them_whole(table):
    rows = np.array([3, 0, 7])
    part = table.take(rows)
    assert part.known == tuple(table.known[i] for i in rows)
    np.testing.assert_array_equal(part.features, table.features[rows])
    assert part.families.tolist() == table.families[rows].tolist()


def test_an_event_happens_where_either_limit_is_crossed():
    """Of four loops one leaves by distance, one by diversity, one comes back in time, one stays."""
    courses = np.zeros((4, len(OUTPUTS), 3))
    courses[0, RATIO, 2], courses[1, DIVERSITY, 2] = np.log(2.1), np.log(0.7)
    courses[2, RATIO, 1] = np.log(9.0)
    assert happened_in(courses, Event()).tolist() == [1, 1, 0, 0]
    assert happened_in(courses, Event(when="ever")).tolist() == [1, 1, 1, 0]


def test_a_fitted_tier_foretells_loops_of_the_law_better_than_their_mean(table, fitted, law_rows):
    expected = fitted.expected([row.known for row in law_rows], "model-samples")
    errors, spread = (expected - table.trajectories) ** 2, table.trajectories.var(0)
    assert errors[:, RATIO, -1].mean() < 0.5 * spread[RATIO, -1]


def test_bands_hold_nine_in_ten_whole_courses(table, fitted, law_rows):
    expected = fitted.expected([row.known for row in law_rows], "model-samples")
    inside = (np.abs(expected - table.trajectories) <= fitted.bands["all"]).all(axis=2).mean(0)
    assert (inside >= LEVEL - 0.05).all()


def test_the_limits_of_the_features_are_those_of_the_rows(table, fitted):
    np.testing.assert_array_equal(fitted.lowest, np.nanmin(table.features, axis=0))
    np.testing.assert_array_equal(fitted.highest, np.nanmax(table.features, axis=0))


def test_chances_come_with_as_many_draws_of_families_as_were_asked_for(fitted):
    assert {when: found.shape[0] for when, found in fitted.chances.items()} == {"at": 4, "ever": 4}


def test_the_chance_of_an_event_rises_with_how_far_the_course_is_beyond_its_limit(fitted):
    ratios = np.log(np.array([0.5, 1.0, 2.0, 4.0, 8.0]))[:, None] * np.linspace(0, 1, 8)
    features = chance_features(ratios, np.zeros_like(ratios), Event())
    chances = special.expit(features @ fitted.chances["at"][0])
    assert (np.diff(chances) > 0).all()


def test_an_event_that_never_happened_is_forecast_to_be_rare(table):
    quiet = replace(table, outputs=np.zeros_like(table.outputs), starts=np.zeros_like(table.starts))
    coefficients = fit_tier(quiet, {}).chances["at"][0]
    assert special.expit(coefficients[0]) < 1e-6
    assert not coefficients[1:].any()
