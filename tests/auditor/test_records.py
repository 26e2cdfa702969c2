"""Records as JSON and back, against the json module and a JSON Schema validator."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import jsonschema_rs
import pytest

from auditor.records import Limit, Number, read_record, record_document, record_schema
from indexes.errors import ArtifactError


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A number and a limit."""

    value: Number = math.nan
    limit: Limit = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree(Leaf):
    """Leaves, by name and in order."""

    named: Mapping[str, Leaf]
    ordered: tuple[Leaf, ...] = ()
    text: str | None = None


TREE = Tree(value=0.5, named={"a": Leaf(value=2.0)}, ordered=(Leaf(limit=3.0), Leaf()))


def test_missing_numbers_and_limits_are_null_in_json_and_come_back() -> None:
    text = json.dumps(record_document(TREE), allow_nan=False)
    assert json.loads(text) == {
        "value": 0.5,
        "limit": None,
        "named": {"a": {"value": 2.0, "limit": None}},
        "ordered": [{"value": None, "limit": 3.0}, {"value": None, "limit": None}],
        "text": None,
    }
    again = read_record(Tree, json.loads(text), where="here")
    assert record_document(again) == record_document(TREE)
    assert math.isnan(again.ordered[0].value)
    assert again.ordered[1].limit == math.inf


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_that_json_lacks_is_written(value: float) -> None:
    assert record_document(Leaf(value=value))["value"] is None


@pytest.mark.parametrize(
    ("document", "place"),
    [({}, "named"), ({"named": {"a": {"value": "x"}}}, r"named\.a\.value"), ([], "it"), ({"named": 3}, "named")],
)
def test_what_is_wrong_is_named_with_its_place_in_one_line(document: object, place: str) -> None:
    with pytest.raises(ArtifactError, match=rf"tree\.json .*format of this version \({place}: ") as refused:
        read_record(Tree, document, where="tree.json")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True),
        ({"value": None}, True),
        ({"value": "0.5"}, False),
        ({"more": 1}, False),
        ({"named": {"a": {"value": 1.0}}}, False),
    ],
)
def test_the_schema_takes_what_is_written_and_nothing_else(change: dict[str, object], valid: bool) -> None:
    validator = jsonschema_rs.validator_for(record_schema(Tree, name="tree/1"))
    assert validator.is_valid({**record_document(TREE), **change}) == valid


def test_the_schema_asks_for_every_field() -> None:
    validator = jsonschema_rs.validator_for(record_schema(Tree, name="tree/1"))
    document = record_document(TREE)
    assert not any(validator.is_valid({k: v for k, v in document.items() if k != name}) for name in document)
