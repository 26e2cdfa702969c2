"""The check of the synthetic fraction and its advice."""

import math
from dataclasses import replace

import pytest
from scipy import stats

from auditor.fraction.settling import check_fraction, labels_to_settle
from auditor.policy import Threshold
from auditor.statistics.intervals import Measure

THRESHOLD = Threshold(0.05, 0.2, "interval")


def measure(estimate, low, high, reason=None):
    return Measure(math.nan if estimate is None else estimate, low=low, high=high, reason=reason)


@pytest.fixture
def answer(make):
    """A result's synthetic fraction; under the conditions `known`, or nothing."""

    def made(stated, *, known=None, **others):
        under = measure(None, 0.0, 1.0, "nothing is known") if known is None else known
        return make.fraction(stated, **{"if_generators_known": under, "if_both": under, **others})

    return made


def test_an_undetermined_answer_names_the_declaration_that_would_settle_it(answer):
    found = check_fraction(THRESHOLD, answer(measure(None, 0.0, 0.6, "wide"), known=measure(0.03, 0.01, 0.06)))
    assert found.status == "undetermined"
    assert "--declare generators-complete makes it warn" in found.reason
    assert found.reason.index("--declare") < found.reason.index("--synthetic") < found.reason.index("madaudit review")
    assert "if you know that the reference knows every generator" in found.reason


def test_a_declaration_that_would_not_settle_it_is_not_advised(answer):
    found = check_fraction(THRESHOLD, answer(measure(None, 0.0, 0.6, "wide"), known=measure(0.15, 0.1, 0.3)))
    assert found.status == "undetermined"
    assert "--declare" not in found.reason


def test_the_estimate_under_both_conditions_fails_the_gate(answer):
    found = check_fraction(THRESHOLD, answer(measure(None, 0.1, 0.9, "wide"), known=measure(0.3, 0.25, 0.35)))
    assert (found.status, found.value) == ("fail", 0.3)


def test_a_settled_answer_needs_no_advice(answer):
    found = check_fraction(
        THRESHOLD, answer(measure(0.01, 0.0, 0.04), known=measure(0.01, 0.0, 0.02), status="determined")
    )
    assert found.status == "pass"
    assert "settle" not in found.reason


@pytest.mark.parametrize("likely", [0.0, 0.05, 0.1, 0.5])
def test_so_many_labels_decide_in_four_reviews_of_five(answer, likely):
    wanted = labels_to_settle(THRESHOLD, answer(measure(None, 0.0, 1.0), known=measure(likely, 0.0, 1.0)))
    counts = stats.binom.rvs(wanted, likely, size=400, random_state=1)
    settled = [
        low >= 0.2 or high < 0.2
        for low, high in (stats.binomtest(int(k), wanted).proportion_ci(method="wilson") for k in counts)
    ]
    assert sum(settled) / len(settled) >= 0.75


def test_near_the_threshold_no_number_of_labels_is_advised(answer):
    near = answer(measure(None, 0.0, 1.0, "wide"), known=measure(0.199, 0.1, 0.3))
    assert labels_to_settle(THRESHOLD, near) is None
    assert "label thousands of items" in check_fraction(THRESHOLD, near).reason


def test_without_any_estimate_the_middle_is_taken(answer):
    without = labels_to_settle(THRESHOLD, answer(measure(None, 0.0, 0.5, "nothing")))
    told = labels_to_settle(THRESHOLD, answer(measure(None, 0.0, 1.0), known=measure(0.25, 0.0, 1.0)))
    assert without == told


def test_no_more_labels_are_advised_than_there_are_items(answer):
    few = answer(measure(None, 0.0, 1.0, "wide"), known=measure(0.19, 0.1, 0.3), n=70)
    assert labels_to_settle(THRESHOLD, few) == 70
    assert "label all 70 items (madaudit review DIR --n 70)" in check_fraction(THRESHOLD, few).reason


def test_a_sample_without_replacement_needs_fewer_labels(answer):
    wide = answer(measure(None, 0.0, 1.0, "wide"), known=measure(0.17, 0.1, 0.3))
    of_many, of_few = labels_to_settle(THRESHOLD, wide), labels_to_settle(THRESHOLD, replace(wide, n=700))
    assert of_few == pytest.approx(of_many / (1 + of_many / 700), abs=10)  # Cochran 1977, (4.2)


def test_after_a_review_more_labels_are_advised_and_nothing_else(answer):
    reason = check_fraction(THRESHOLD, answer(measure(0.15, 0.1, 0.3), status="determined"), labelled=60).reason
    assert "--declare" not in reason
    assert "--synthetic" not in reason
    assert int(reason.split("about ")[1].split()[0]) >= 120


def test_a_declaration_is_advised_only_where_the_result_would_then_state_an_estimate(answer):
    """A wide conditional answer is no estimate once it is declared, so it decides nothing by its estimate."""
    by_estimate = Threshold(0.05, 0.2, "estimate")
    wide = answer(measure(None, 0.0, 0.6, "wide"), if_reference_matches=measure(0.1, 0.02, 0.4))
    assert "--declare" not in check_fraction(by_estimate, wide).reason
    narrow = replace(wide, if_reference_matches=measure(0.1, 0.02, 0.15))
    assert "--declare reference-complete makes it warn" in check_fraction(by_estimate, narrow).reason


@pytest.mark.parametrize("evidence", [{"fit_p_value": 0.01}, {"departure": 2.4}])
def test_generators_that_the_tests_doubt_are_not_advised_to_be_declared_complete(answer, evidence):
    doubted = answer(measure(None, 0.0, 0.6, "wide"), known=measure(0.03, 0.01, 0.06), **evidence)
    assert "--declare" not in check_fraction(THRESHOLD, doubted).reason


def test_a_caveat_of_a_stated_estimate_is_no_cause_of_its_width(answer):
    found = check_fraction(THRESHOLD, answer(measure(0.1, 0.05, 0.3, "holds if"), status="determined"))
    assert "holds if" not in found.reason
