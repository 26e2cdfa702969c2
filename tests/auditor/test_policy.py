"""Thresholds, their files and the order of verdicts."""

import math

import pytest

from auditor.event import Event
from auditor.policy import Check, Policy, Threshold, check, load_policy, verdict_of
from auditor.records import read_record, record_document
from auditor.statistics.intervals import Measure
from indexes.errors import InputError

THRESHOLD = Threshold(0.05, 0.2, "high")
INTERVAL = Threshold(0.05, 0.2, "interval")


@pytest.mark.parametrize(
    ("value", "status"),
    [(0.0, "pass"), (0.0499, "pass"), (0.05, "warn"), (0.199, "warn"), (0.2, "fail"), (1.0, "fail")],
)
def test_a_value_at_a_threshold_has_reached_it(value, status):
    assert check("x", THRESHOLD, Measure(0, low=0, high=value)).status == status


@pytest.mark.parametrize("end", ["low", "estimate", "high"])
def test_the_named_end_is_compared(end):
    answer = Measure(0.2, low=0.1, high=0.3)
    assert check("x", Threshold(0.5, 0.6, end), answer).value == getattr(answer, end)


@pytest.mark.parametrize(
    ("answer", "reason"), [(Measure(math.nan), "why"), (Measure(math.nan), None), (Measure(math.nan, high=0.9), "why")]
)
def test_without_a_number_the_check_is_undetermined(answer, reason):
    found = check("x", THRESHOLD, answer, reason=reason)
    assert (found.status, found.value) == ("undetermined", None)
    assert found.reason == (reason or "the number is not available")


def test_a_check_says_what_was_compared_with_what():
    found = check("x", THRESHOLD, Measure(math.nan, high=0.31))
    assert found.reason == "high 0.31 is at or above 0.2"
    assert found.threshold == THRESHOLD


@pytest.mark.parametrize(
    ("low", "estimate", "high", "status", "value"),
    [
        (0.0, 0.01, 0.04, "pass", 0.04),
        (0.0, 0.01, 0.05, "warn", 0.05),
        (0.0, 0.1, 0.2, "undetermined", 0.2),
        (0.0, math.nan, 1.0, "undetermined", 1.0),
        (0.1, 0.2, 0.3, "fail", 0.2),
        (0.2, math.nan, 0.3, "fail", 0.2),
        (0.3, 0.4, 1.0, "fail", 0.4),
    ],
)
def test_an_interval_fails_by_estimate_or_low_end_and_passes_by_its_high_end(low, estimate, high, status, value):
    found = check("x", INTERVAL, Measure(estimate, low=low, high=high))
    assert (found.status, found.value) == (status, value)


@pytest.mark.parametrize(
    ("low", "otherwise", "status"),
    [
        (0.1, math.nan, "undetermined"),
        (0.1, 0.19, "undetermined"),
        (0.1, 0.2, "fail"),
        (0.0, 0.2, "undetermined"),  # from a handful of items
    ],
)
def test_without_a_stated_estimate_the_one_under_all_conditions_may_fail_an_interval(low, otherwise, status):
    answer, under = Measure(math.nan, low=0.0, high=0.9), Measure(otherwise, low=low, high=0.5)
    assert check("x", INTERVAL, answer, otherwise=under).status == status


def test_a_stated_estimate_comes_before_the_one_under_conditions():
    answer = Measure(0.1, low=0.0, high=0.15)
    assert check("x", INTERVAL, answer, otherwise=Measure(0.9, low=0.8, high=1.0)).status == "warn"


def test_an_undetermined_interval_says_which_end_and_why():
    found = check("x", INTERVAL, Measure(math.nan, low=0.0, high=0.9, reason="too few"))
    assert found.reason == "high end 0.9 is at or above 0.2: too few"


def checks(**statuses):
    return [
        Check(name=name, status=status, value=None, threshold=THRESHOLD, reason="") for name, status in statuses.items()
    ]


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ({"a": "pass", "b": "pass"}, "pass"),
        ({"a": "pass", "b": "undetermined"}, "undetermined"),
        ({"a": "undetermined", "b": "warn"}, "undetermined"),
        ({"a": "fail", "b": "warn"}, "fail"),
    ],
)
def test_the_verdict_is_the_worst_status(statuses, verdict):
    assert verdict_of(checks(**statuses), ("a", "b")) == verdict


def test_a_check_that_is_not_required_decides_nothing():
    assert verdict_of(checks(a="pass", b="fail"), ("a",)) == "pass"


def test_the_default_policy_is_that_of_the_contract():
    policy = record_document(Policy().in_force(workflow=True, content=True))
    assert policy["synthetic_fraction"] == {"warn": 0.05, "fail": 0.2, "compare": "interval"}
    assert policy["diversity_loss"] == {"warn": 0.1, "fail": 0.25, "compare": "interval"}
    assert policy["mad_risk"] == {"warn": 0.2, "fail": 0.5, "compare": "estimate"}
    assert policy["unread"] == {"warn": 0.01, "fail": 0.1, "compare": "estimate"}
    assert policy["duplicates"] == {"warn": 0.05, "fail": 0.5, "compare": "interval"}
    assert policy["required"] == ["synthetic_fraction", "diversity_loss", "mad_risk", "unread"]
    without = Policy().in_force(workflow=False, content=False)
    assert without.required == ("synthetic_fraction", "unread")
    assert Policy().requires(workflow=False, content=True) == ("synthetic_fraction", "diversity_loss", "unread")
    assert policy["mad_event"] == {"frechet_ratio": 2.0, "diversity_ratio": 0.8, "when": "at"}


def test_no_file_gives_the_default():
    assert load_policy(None) == Policy()


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("synthetic_fraction: {warn: 0.01}\nrequired: [mad_risk]\nmad_event: {when: ever}\n")
    expected = Policy(
        synthetic_fraction=Threshold(0.01, 0.2, "interval"), required=("mad_risk",), mad_event=Event(when="ever")
    )
    assert load_policy(path) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        "synthetic: {warn: 0.1}",
        "synthetic_fraction: 0.1",
        "synthetic_fraction: {warn: 0.1, other: 1}",
        "synthetic_fraction: {warn: high}",
        "synthetic_fraction: {warn: true}",
        "synthetic_fraction: {warn: 0.3}",
        "synthetic_fraction: {compare: middle}",
        "required: synthetic_fraction",
        "required: [unknown]",
        "mad_event: 2",
        "mad_event: {ratio: 2}",
        "mad_event: {frechet_ratio: high}",
        "mad_event: {frechet_ratio: 0.5}",
        "mad_event: {when: later}",
        "{: ",
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(text, tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(InputError):
        load_policy(path)


@pytest.mark.parametrize("field", ["warn", "fail"])
def test_a_threshold_that_no_value_can_reach_is_refused(field, tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(f"synthetic_fraction: {{{field}: .nan}}")
    with pytest.raises(InputError):
        load_policy(path)


@pytest.mark.parametrize(
    "text", ["required: [[a]]", "required: [{a: 1}]", "? [a, b]\n: 1", "synthetic_fraction: {1: 2}"]
)
def test_a_policy_of_odd_types_is_refused(text, tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(InputError):
        load_policy(path)


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot read the policy"):
        load_policy(tmp_path / "none.yaml")


def test_a_limit_in_percent_is_refused():
    with pytest.raises(InputError, match=r"5 lies above 1.*0\.05"):
        Threshold(5, 20, "high")


def test_a_limit_of_infinity_switches_a_threshold_off():
    assert check("x", Threshold(0.1, math.inf, "high"), Measure(math.nan, high=1.0)).status == "warn"


def _laughs(last: str) -> str:
    lines = ["x0: &a0 [lol, lol]", *(f"x{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 40))]
    return "\n".join(["required:", *(f" - {line}" for line in lines), last])


@pytest.mark.parametrize(
    "text",
    [
        _laughs(""),
        _laughs("unread: *a39"),
        _laughs("unread: {warn: *a39}"),
        _laughs("unread: {compare: *a39}"),
        _laughs("mad_event: *a39"),
        "unread: " + "[" * 10_000,
        "unread: {warn: 2024-99-99}",
        f"unread: {{warn: {'9' * 5000}}}",
    ],
    ids=range(8),
)
def test_a_hostile_policy_is_refused_in_a_few_words(tmp_path, text):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(InputError) as refused:
        load_policy(tmp_path / "p.yaml")
    assert len(str(refused.value)) < 1500


def test_a_policy_survives_json_with_a_threshold_that_is_switched_off():
    policy = Policy(unread=Threshold(0.1, math.inf, "high"), required=("unread",))
    document = record_document(policy)
    assert document["unread"] == {"warn": 0.1, "fail": None, "compare": "high"}
    assert read_record(Policy, document, where="here") == policy


@pytest.mark.parametrize("compare", ["interval", "low", "estimate", "high"])
def test_an_answer_that_is_not_to_be_used_decides_nothing_whatever_is_compared(compare):
    found = check("x", Threshold(0.2, 0.5, compare), Measure(0.05, low=0.01, high=0.1), reason="extrapolated")
    assert (found.status, found.value, found.reason) == ("undetermined", None, "extrapolated")
