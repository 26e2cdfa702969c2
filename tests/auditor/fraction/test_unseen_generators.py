"""What an unseen generator may hide: the table of generators left out, and the prediction from it."""

import numpy as np
import pytest

from auditor.fraction.unseen_generators import NOTHING_LEFT_OUT, SHARES, LeftOut, leave_one_out, may_hide

WIDTH, N = 12, 150


def table(*hidden):
    return LeftOut(
        tuple(map(str, range(len(hidden)))), np.repeat(np.array(hidden)[:, None], 4, 1), np.full(len(hidden), 10**6)
    )


def kind(axis, rng, n=N, distance=4.0):
    rows = rng.normal(size=(n, WIDTH)).astype(np.float32)
    if axis is not None:
        rows[:, axis] += distance
    return rows


def left_out(axes, rng, generators=None):
    """The table of a reference whose generators depart from the real items along these axes."""
    parts = [kind(axis, rng) for axis in (None, *axes)]
    vectors = np.concatenate(parts)
    digests = np.ascontiguousarray(vectors[:, :4]).view(np.uint8)
    labels = ("real", *(f"g{k}" for k in range(len(axes))))
    wanted = labels[1:] if generators is None else generators
    component = np.repeat(range(len(parts)), N)
    return leave_one_out(vectors, component, digests, labels, wanted, n_real=1, seed=0)


def test_the_next_of_exchangeable_generators_hides_more_than_foretold_in_at_most_one_in_twenty(rng):
    for count in (2, 3, 5, 10):
        exceeded = []
        for _ in range(4000):
            shown = np.exp(-rng.exponential(0.6, count + 1))
            shown[0] = min(shown[0], 0.85)  # so that the imagined generator, which shows .85, is never the least
            exceeded.append(1 - shown[-1] > may_hide(table(*(1 - shown[:-1])))[0] + 0.01)
        assert np.mean(exceeded) <= 0.06


def test_more_generators_that_hide_alike_foretell_less():
    hidden = [may_hide(table(*[0.3] * count))[0] for count in (2, 3, 5, 10)]
    assert hidden == sorted(hidden, reverse=True)
    assert hidden[-1] > 0.25


def test_one_generator_foretells_that_most_may_hide_and_siblings_that_show_all_do_not_foretell_nothing():
    assert (may_hide(NOTHING_LEFT_OUT) > 0.8).all()
    assert (may_hide(table(0.0, 0.0)) > 0.3).all()


def test_a_generator_that_hides_wholly_foretells_that_nothing_can_be_bounded():
    assert (may_hide(table(0.0, 1.2)) > 0.95).all()


def test_a_generator_like_another_shows_and_a_stranger_hides(rng):
    found = left_out((1, 1, 2), rng)
    assert found.labels == ("g0", "g1", "g2")
    assert (found.hidden[:2, 0] < 0.1).all()  # each was taught by its sibling
    assert found.hidden[2, 0] > 0.5  # along an axis that the others do not know
    assert (found.n == N).all()


def test_hidden_shares_rise_by_their_error_for_the_prediction():
    few, many = (LeftOut(("a", "b"), np.full((2, 4), 0.2), np.full(2, n)) for n in (50, 50_000))
    assert (few.upper > many.upper).all()
    np.testing.assert_allclose(many.upper, 0.2, atol=0.005)


def test_stand_ins_are_not_left_out_and_do_not_teach(rng):
    found = left_out((1, 2, 1), rng, generators=("g0", "g1"))
    assert found.labels == ("g0", "g1")
    assert found.hidden[0, 0] > 0.5  # the stand-in g2 would have shown it


def test_a_reference_of_one_generator_leaves_nothing_out(rng):
    assert left_out((1,), rng).labels == ()


@pytest.mark.parametrize("share", SHARES)
def test_the_share_hidden_is_counted_below_the_real_quantile(share, rng):
    found = left_out((1, 2), rng)
    assert (found.hidden[:, SHARES.index(share)] <= 1 / share).all()
