"""Runs of equal skips are merged behind the first thousand, and nothing else is."""

import numpy as np
import pytest

from indexes.records import Item, Skip, count_reasons
from indexes.sources.runs import merged


def skips(n: int, *, first: int = 0, reason: str = "empty", **fields: int | None) -> list[Skip]:
    return [Skip(f"a#{first + i}", reason, **fields) for i in range(n)]


@pytest.mark.parametrize("n", [0, 1, 999, 1000])
def test_a_thousand_alike_stay_as_they_are(n: int) -> None:
    assert list(merged(skips(n))) == skips(n)


@pytest.mark.parametrize("n", [1001, 1002, 5000])
def test_more_become_one_that_stands_for_all_the_others(n: int) -> None:
    found = list(merged(skips(n, items=2, bytes=3)))
    assert found[:1000] == skips(1000)
    assert len(found) == 1001
    assert (found[-1].items, found[-1].bytes) == (2 * (n - 1000), 3 * (n - 1000))
    assert count_reasons(found) == count_reasons(skips(n))
    assert found[-1].path == ("a#1000" if n == 1001 else f"a#1000 – a#{n - 1}")


def test_a_run_ends_at_an_item_and_at_another_reason() -> None:
    item = Item("x", np.zeros(2))
    records = [*skips(1500), item, *skips(1500, reason="other"), *skips(1200), item]
    found = list(merged(records))
    assert [type(each).__name__ for each in found if not isinstance(each, Skip)] == ["Item", "Item"]
    assert len(found) == 3 * 1001 + 2
    assert sum(each.items or 0 for each in found if isinstance(each, Skip)) == 4200
    assert found[1001] is item
    assert found[-1] is item


@pytest.mark.parametrize("fields", [{"items": None}, {"bytes": None}])
def test_unknown_amounts_are_never_added_up(fields: dict[str, None]) -> None:
    assert len(list(merged(skips(1500, **fields)))) == 1500


def test_entries_without_items_are_not_added_to_those_with_some() -> None:
    found = list(merged([skip for i in range(3000) for skip in skips(1, first=i, items=i % 2)]))
    assert len(found) == 3000
