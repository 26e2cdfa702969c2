"""Draws: their composition is counted from the items themselves."""

from collections import Counter

import numpy as np
import pytest

from auditor.evaluation import Draw, Items, Pair, Scenario, draws_of, references_of
from indexes.errors import InputError

SIZES = {"real": 400, "other": 300, "a": 200, "b": 200}


@pytest.fixture(scope="module")
def items() -> Items:
    """Every item has its own number as content, so that a draw tells where each item came from."""
    n = sum(SIZES.values())
    digests = np.zeros((n, 16), dtype=np.uint8)
    digests[:, :8] = np.arange(n)[:, None].view(np.uint8)
    return Items(np.arange(n, dtype=np.float32)[:, None], digests, np.repeat(list(SIZES), list(SIZES.values())))


def scenario(*pairs: Pair, **changes) -> Scenario:
    fields = {"reference": 100, "sizes": (40, 100), "prevalences": (0.0, 0.1, 0.25, 0.7), **changes}
    return Scenario("A test.", pairs, **fields)


def numbers(vectors: np.ndarray) -> list[int]:
    return vectors[:, 0].astype(int).tolist()


def composition(draw: Draw, items: Items) -> Counter[str]:
    return Counter(items.names[numbers(draw.incoming)].tolist())


KNOWN = Pair("real", ("a", "b"), "a")
UNSEEN = Pair("real", ("b",), "a")


def test_a_set_holds_the_fraction_asked_for(items: Items) -> None:
    for draw in draws_of(scenario(KNOWN), items, 0, name="x"):
        wanted = round(draw.prevalence * draw.n)
        assert composition(draw, items) == +Counter(a=wanted, real=draw.n - wanted)
        assert draw.truth == wanted / draw.n
        assert (items.names[numbers(draw.incoming)] == "a").tolist() == draw.is_synthetic.tolist()


def test_there_is_a_draw_for_every_pair_size_and_prevalence(items: Items) -> None:
    pairs = (KNOWN, Pair("real", ("a", "b"), "b"))
    drawn = draws_of(scenario(*pairs), items, 0, name="x")
    assert {(d.pair, d.n, d.prevalence) for d in drawn} == {
        (pair, n, p) for pair in pairs for n in (40, 100) for p in (0.0, 0.1, 0.25, 0.7)
    }
    assert len(drawn) == 16


@pytest.mark.parametrize(
    "pair", [KNOWN, UNSEEN, Pair("real", ("a",), "a", foreign="other", foreign_share=0.5, taught=True)]
)
def test_no_item_of_a_set_is_in_its_reference_or_twice_in_the_set(pair: Pair, items: Items) -> None:
    for draw in draws_of(scenario(pair), items, 3, name="x"):
        of_reference, of_set = numbers(np.concatenate(draw.components)), numbers(draw.incoming)
        assert len({*of_reference, *of_set}) == len(of_reference) + len(of_set)


def test_the_components_are_the_labels_in_order_with_their_own_digests(items: Items) -> None:
    pair = Pair("real", ("b", "a"), "a", foreign="other", foreign_share=0.5, taught=True)
    draw = draws_of(scenario(pair), items, 0, name="x")[0]
    assert (draw.labels, draw.n_real) == (("real", "other", "b", "a"), 2)
    for label, part, digests in zip(draw.labels, draw.components, draw.component_digests, strict=True):
        assert set(items.names[numbers(part)]) == {label}
        assert len(part) == 100
        assert (digests == items.digests[numbers(part)]).all()
    assert (draw.incoming_digests == items.digests[numbers(draw.incoming)]).all()


def test_another_real_source_has_the_share_asked_for_and_is_not_synthetic(items: Items) -> None:
    pair = Pair("real", ("b",), "a", foreign="other", foreign_share=0.25)
    draw = next(d for d in draws_of(scenario(pair, sizes=(100,), prevalences=(0.2,)), items, 0, name="x"))
    assert composition(draw, items) == Counter(real=60, other=20, a=20)
    assert draw.truth == 0.2
    assert draw.labels == ("real", "b")


def test_the_same_number_and_name_give_the_same_draws(items: Items) -> None:
    first, second = (draws_of(scenario(KNOWN), items, 5, name="x") for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert (one.incoming == other.incoming).all()
        assert all((a == b).all() for a, b in zip(one.components, other.components, strict=True))


@pytest.mark.parametrize(("number", "name"), [(6, "x"), (5, "y")])
def test_another_number_or_name_gives_other_draws(number: int, name: str, items: Items) -> None:
    one, other = (draws_of(scenario(KNOWN), items, *a[:1], name=a[1])[0] for a in ((5, "x"), (number, name)))
    assert set(numbers(one.components[0])) != set(numbers(other.components[0]))
    assert numbers(one.incoming) != numbers(other.incoming)


def test_all_draws_of_a_number_use_one_reference(items: Items) -> None:
    drawn = draws_of(scenario(KNOWN, Pair("real", ("a", "b"), "b")), items, 0, name="x")
    assert {tuple(numbers(np.concatenate(draw.components))) for draw in drawn} == {
        tuple(numbers(np.concatenate(drawn[0].components)))
    }


def test_pairs_that_share_a_reference_are_grouped_and_numbers_go_round_the_groups(items: Items) -> None:
    asked = scenario(KNOWN, UNSEEN, Pair("real", ("a", "b"), "b"))
    assert references_of(asked) == [(KNOWN, Pair("real", ("a", "b"), "b")), (UNSEEN,)]
    found = [{draw.pair for draw in draws_of(asked, items, number, name="x")} for number in range(4)]
    assert found == [{KNOWN, Pair("real", ("a", "b"), "b")}, {UNSEEN}] * 2


def test_a_generator_that_comes_in_keeps_a_fifth_of_its_items_for_the_sets(items: Items) -> None:
    draw = draws_of(scenario(KNOWN, reference=190, prevalences=(0.4,), sizes=(100,)), items, 0, name="x")[0]
    assert [len(part) for part in draw.components] == [190, 160, 190]
    assert composition(draw, items)["a"] == 40


@pytest.mark.parametrize(("size", "found"), [(300, 300), (400, 300), (500, 300), (501, None)])
def test_a_set_is_smaller_where_the_pool_is_small_and_left_out_below_three_fifths(
    size: int, found: int | None, items: Items
) -> None:
    drawn = draws_of(scenario(KNOWN, sizes=(size,), prevalences=(0.0,)), items, 0, name="x")
    assert [len(draw.incoming) for draw in drawn] == ([] if found is None else [found])


def test_a_purely_real_set_has_no_generator(items: Items) -> None:
    drawn = draws_of(scenario(Pair("real", ("a",), None), prevalences=(0.0,)), items, 0, name="x")
    assert {draw.truth for draw in drawn} == {0.0}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Items(np.ones((3, 2)), np.ones((2, 16)), np.array(["a", "b", "c"])), r"got \[3, 2, 3\]"),
        (lambda: Pair("real", ("a",), "a", foreign_share=0.5), "no foreign source"),
        (lambda: Pair("real", ("a",), "a", foreign="other", foreign_share=1.5), "share between 0 and 1"),
        (lambda: Pair("real", ("real",), "a"), "names a real source as a generator"),
        (lambda: scenario(KNOWN, prevalences=(1.2,)), "share between 0 and 1"),
        (lambda: scenario(Pair("real", ("a",), None)), "has the prevalence 0"),
    ],
)
def test_records_that_contradict_themselves_are_refused(make, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()


def test_a_label_without_items_is_named_with_those_there_are(items: Items) -> None:
    with pytest.raises(InputError, match="no item is called c, expected some of a, b, other, real"):
        draws_of(scenario(Pair("real", ("c",), "a")), items, 0, name="x")
