import pytest

from auditor.workflows import WORKFLOWS, workflow_named
from indexes.errors import InputError


def test_the_workflows_of_the_contract_are_there() -> None:
    assert list(WORKFLOWS) == [
        "replace", "augment", "augment-accumulate", "fresh", "accumulate", "accumulate-subsample", "weighted",
        "curated", "verified",
    ]  # fmt: skip


def test_an_unknown_workflow_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'recycle'.*replace, augment"):
        workflow_named("recycle")


def test_only_replace_has_no_real_data_after_the_first_generation() -> None:
    assert [name for name, workflow in WORKFLOWS.items() if workflow.real == "none"] == ["replace"]
