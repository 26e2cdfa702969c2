import numpy as np
import pytest

from indexes.errors import InputError
from indexes.records import Item, Skip
from indexes.sources.memory import source_of_array


def entries(array: np.ndarray) -> list[Item | Skip]:
    return [entry for shard in source_of_array(array).shards for entry in shard.read()]


def test_rows_are_float32_items_named_by_their_number() -> None:
    rows = np.arange(6, dtype=np.float64).reshape(3, 2)
    found = entries(rows)
    assert [e.id for e in found if isinstance(e, Item)] == ["row#0", "row#1", "row#2"]
    np.testing.assert_array_equal([e.data for e in found if isinstance(e, Item)], rows.astype(np.float32))


def test_long_arrays_are_cut_every_8192_rows_and_numbered_throughout() -> None:
    source = source_of_array(np.zeros((8193, 1)))
    assert [shard.name for shard in source.shards] == ["rows-000000000000", "rows-000000008192"]
    (last,) = source.shards[1].read()
    assert isinstance(last, Item)
    assert last.id == "row#8192"


def test_what_float32_cannot_hold_is_skipped_as_not_finite() -> None:
    found = entries(np.array([[1.0], [1e300], [np.nan], [-np.inf]]))
    assert [e.reason for e in found if isinstance(e, Skip)] == ["not finite"] * 3


def test_identity_follows_content_and_not_layout() -> None:
    rows = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)

    def identities(array: np.ndarray) -> list[str]:
        return [shard.identity() for shard in source_of_array(array).shards]

    assert identities(rows) == identities(np.asfortranarray(rows)) == identities(rows.astype(np.float64))
    assert identities(rows) != identities(rows + 1)


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((0, 3)), np.zeros((2, 2, 2))])
def test_any_other_shape_is_refused(array: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected vectors"):
        source_of_array(array)


@pytest.mark.parametrize("array", [np.zeros((2, 2), complex), np.full((2, 2), "a"), np.full((2, 2), None)])
def test_what_is_no_real_number_is_refused(array: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected real numbers"):
        source_of_array(array)


def test_masked_numbers_are_not_read_as_numbers() -> None:
    found = entries(np.ma.masked_array([[1.0, 2.0], [3.0, 4.0]], mask=[[0, 0], [0, 1]]))
    assert [isinstance(e, Item) for e in found] == [True, False]


def test_a_row_that_cannot_be_used_was_read() -> None:
    found = entries(np.array([[1.0], [np.nan]]))
    assert [(e.items, e.was_read) for e in found if isinstance(e, Skip)] == [(1, True)]
