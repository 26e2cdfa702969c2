"""The intended training: what it may be, and how an audited set completes it."""

import pytest

from auditor.plan import PLAN_FIELDS, Plan, plan_named
from auditor.records import read_record, record_document
from auditor.workflows import WORKFLOWS
from indexes.errors import InputError


def test_a_plan_has_the_names_that_every_door_uses() -> None:
    assert PLAN_FIELDS == ("workflow", "generations", "n_initial", "n_real", "n_synthetic", "bias")


def test_open_sizes_are_those_of_the_set() -> None:
    assert Plan("fresh", n_real=50).for_set(200).sizes == (200, 50, 200)
    assert Plan("fresh", n_initial=10, n_synthetic=0).for_set(200).sizes == (10, 200, 0)


@pytest.mark.parametrize("workflow", [name for name, w in WORKFLOWS.items() if w.real in ("none", "initial")])
def test_a_workflow_without_later_real_data_has_none_whatever_was_given(workflow: str) -> None:
    assert Plan(workflow, n_real=50).for_set(200).n_real == 0
    assert Plan(workflow, n_initial=9, n_synthetic=9).sizes == (9, 0, 9)


def test_completing_a_plan_twice_changes_nothing() -> None:
    plan = Plan("augment", bias=0.9).for_set(30)
    assert plan.for_set(99) == plan


def test_open_sizes_are_not_guessed() -> None:
    with pytest.raises(InputError, match=r"use plan\.for_set"):
        _ = Plan("fresh", n_initial=10).sizes


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"generations": 1}, "generations 1"),
        ({"n_initial": 0}, "n_initial 0"),
        ({"n_real": -1}, "n_real -1"),
        ({"n_synthetic": -5}, "n_synthetic -5"),
        ({"bias": 0.0}, "sampling bias is 0"),
        ({"bias": 1.1}, "at most 1"),
    ],
)
def test_what_no_loop_can_be_is_refused(fields: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Plan("fresh", **fields)


def test_an_unknown_workflow_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"'refresh', expected one of replace, augment"):
        Plan("refresh")


def test_without_a_workflow_there_is_no_plan() -> None:
    assert plan_named(None, generations=8, n_real=None, bias=1.0) is None
    assert plan_named("fresh", n_real=5) == Plan("fresh", n_real=5)


def test_sizes_without_a_workflow_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="n_real, n_synthetic was given and no workflow"):
        plan_named(None, n_real=5, n_synthetic=0)


def test_a_plan_survives_json() -> None:
    plan = Plan("weighted", n_real=4, generations=3, bias=0.5)
    assert read_record(Plan, record_document(plan), where="here") == plan
