"""The check of the synthetic fraction and its advice."""

import pytest
from scipy import stats

from auditor.policy import Threshold
from auditor.settling import CONDITIONS, check_fraction, labels_to_settle

THRESHOLD = Threshold(0.05, 0.2, "interval")


def measure(estimate, low, high, reason=None):
    return {"estimate": estimate, "low": low, "high": high, "reason": reason}


def answer(stated, *, known=None, status="bounds"):
    """A result's synthetic fraction; under the conditions `known`, or nothing."""
    nothing = measure(None, 0.0, 1.0, "nothing is known")
    under = nothing if known is None else known
    return {
        **stated, "level": 0.95, "status": status,
        "if_reference_matches": nothing, "if_generators_known": under, "if_both": under,
    }  # fmt: skip


def test_an_undetermined_answer_names_the_declaration_that_would_settle_it():
    found = check_fraction(THRESHOLD, answer(measure(None, 0.0, 0.6, "wide"), known=measure(0.03, 0.01, 0.06)))
    assert found.status == "undetermined"
    assert "--declare generators-complete makes it warn" in found.reason
    assert found.reason.index("--declare") < found.reason.index("--synthetic") < found.reason.index("madaudit review")


def test_a_declaration_that_would_not_settle_it_is_not_advised():
    found = check_fraction(THRESHOLD, answer(measure(None, 0.0, 0.6, "wide"), known=measure(0.15, 0.1, 0.3)))
    assert found.status == "undetermined"
    assert "--declare" not in found.reason


def test_the_estimate_under_both_conditions_fails_the_gate():
    found = check_fraction(THRESHOLD, answer(measure(None, 0.1, 0.9, "wide"), known=measure(0.3, 0.25, 0.35)))
    assert (found.status, found.value) == ("fail", 0.3)


def test_a_settled_answer_needs_no_advice():
    found = check_fraction(
        THRESHOLD, answer(measure(0.01, 0.0, 0.04), known=measure(0.01, 0.0, 0.02), status="determined")
    )
    assert found.status == "pass"
    assert "settle" not in found.reason


@pytest.mark.parametrize("likely", [0.0, 0.05, 0.1, 0.5])
def test_so_many_labels_decide_in_most_reviews(likely):
    wanted = labels_to_settle(THRESHOLD, answer(measure(None, 0.0, 1.0), known=measure(likely, 0.0, 1.0)))
    counts = stats.binom.rvs(wanted, likely, size=4000, random_state=1)
    settled = [
        low >= 0.2 or high < 0.2
        for low, high in (stats.binomtest(int(k), wanted).proportion_ci(method="wilson") for k in counts[:400])
    ]
    assert sum(settled) / len(settled) >= 0.45  # at the likely count itself the interval just lies on one side


def test_near_the_threshold_no_number_of_labels_is_advised():
    near = answer(measure(None, 0.0, 1.0, "wide"), known=measure(0.199, 0.1, 0.3))
    assert labels_to_settle(THRESHOLD, near) is None
    assert "takes thousands" in check_fraction(THRESHOLD, near).reason


def test_without_any_estimate_the_middle_is_taken():
    assert labels_to_settle(THRESHOLD, answer(measure(None, 0.0, 1.0, "nothing"))) == 10


def test_each_condition_has_its_words():
    assert set(CONDITIONS) == {"if_reference_matches", "if_generators_known", "if_both"}
