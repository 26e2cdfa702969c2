from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.errors import InputError
from loops.models.ngram import NGram, NGramModel
from loops.samples import Samples, Space

CHAIN = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.5, 0.5, 0.0]])
START = -1  # stands before the sequence in the brute-force counts


def fit(
    tokens: np.ndarray, vocabulary: int, *, weights: np.ndarray | None = None, order: int = 4, smoothing: bool = True
) -> NGramModel:
    space = Space(tokens.shape[1], vocabulary=vocabulary)
    family = NGram(order=order, smoothing=smoothing)
    return family.fit(Samples(tokens), space=space, weights=weights, rng=np.random.default_rng(0))


def markov(n: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Sequences of the chain above, from state 0."""
    tokens = np.zeros((n, length), dtype=np.int64)
    for place in range(1, length):
        cumulative = CHAIN[tokens[:, place - 1]].cumsum(-1)
        tokens[:, place] = (cumulative <= rng.random((n, 1))).sum(-1)
    return tokens


def counted(tokens: np.ndarray, length: int) -> Counter[tuple[tuple[int, ...], int]]:
    """How often which token follows which context of `length` tokens."""
    found: Counter[tuple[tuple[int, ...], int]] = Counter()
    for row in tokens.tolist():
        padded = [START] * length + row
        for place in range(length, len(padded)):
            found[tuple(padded[place - length : place]), padded[place]] += 1
    return found


def brute_force(tokens: np.ndarray, vocabulary: int, context: tuple[int, ...], smoothing: bool) -> list[float]:
    """The recursion of Witten and Bell, or plain back-off, from the definition."""
    if not context and not smoothing:
        backed = [0.0] * vocabulary
    else:
        backed = (
            [1 / vocabulary] * vocabulary if not context else brute_force(tokens, vocabulary, context[1:], smoothing)
        )
    counts = [counted(tokens, len(context))[context, token] for token in range(vocabulary)]
    total, types = sum(counts), sum(count > 0 for count in counts)
    if total == 0:
        return backed
    if not smoothing:
        return [count / total for count in counts]
    return [(count + types * p) / (total + types) for count, p in zip(counts, backed, strict=True)]


@given(
    rows=st.lists(st.lists(st.integers(0, 2), min_size=5, max_size=5), min_size=1, max_size=6),
    context=st.lists(st.integers(0, 2), max_size=4),
    order=st.integers(1, 4),
    smoothing=st.booleans(),
)
def test_conditional_probabilities_are_those_of_brute_force_counts(
    rows: list[list[int]], context: list[int], order: int, smoothing: bool
) -> None:
    tokens = np.array(rows)
    found = fit(tokens, 3, order=order, smoothing=smoothing).next_probabilities(np.array([context], dtype=np.int64))
    last = ((START,) * order + tuple(context))[len(context) + 1 :]
    np.testing.assert_allclose(found[0], brute_force(tokens, 3, last, smoothing), rtol=1e-12)


def test_the_smoothing_of_witten_and_bell_is_as_computed_by_hand() -> None:
    model = fit(np.array([[0, 0, 1]]), 4, order=2)
    # Alone: (2, 1, 0, 0) of 3 and 2 types: (2 + 2/4, 1 + 2/4, 2/4, 2/4)/5 = (.5, .3, .1, .1).
    # After 0: (1, 1, 0, 0) of 2 and 2 types: (1 + 1, 1 + .6, .2, .2)/4.
    np.testing.assert_allclose(model.next_probabilities(np.array([[0]])), [[0.5, 0.4, 0.05, 0.05]])
    np.testing.assert_allclose(model.next_probabilities(np.array([[3]])), [[0.5, 0.3, 0.1, 0.1]])


def test_likelihoods_of_all_sequences_sum_to_one(rng: np.random.Generator) -> None:
    every = np.stack(np.meshgrid(*[np.arange(3)] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    model = fit(rng.integers(0, 3, (20, 4)), 3, order=3)
    assert np.exp(model.log_likelihood(every)).sum() == pytest.approx(1, abs=1e-12)


def test_samples_have_the_transition_matrix_of_the_markov_chain_in_the_data(rng: np.random.Generator) -> None:
    model = fit(markov(20_000, 10, rng), 3, order=2)
    drawn = model.sample(20_000, bias=1.0, rng=rng).values
    assert (drawn[:, 0] != 0).mean() < 0.001
    for state in range(3):
        after = drawn[:, 1:][drawn[:, :-1] == state]
        found = np.bincount(after, minlength=3) / len(after)
        error = np.sqrt(CHAIN[state] * (1 - CHAIN[state]) * 2 / len(after))  # of the data and of the samples
        assert (np.abs(found - CHAIN[state]) <= 4 * error + 1e-3).all()  # and the smoothing's bias


def test_without_smoothing_no_gram_is_drawn_that_the_data_lack(rng: np.random.Generator) -> None:
    data = rng.integers(0, 8, (40, 12))
    drawn = fit(data, 8, order=3, smoothing=False).sample(500, bias=1.0, rng=rng).values
    pairs = {pair for row in data.tolist() for pair in pairwise(row)}
    assert {pair for row in drawn.tolist() for pair in pairwise(row)} <= pairs


def test_a_bias_of_zero_yields_the_likeliest_token_each_time(rng: np.random.Generator) -> None:
    model = fit(markov(5_000, 8, rng), 3, order=2)
    drawn = model.sample(20, bias=0.0, rng=rng).values
    np.testing.assert_array_equal(drawn, np.zeros((20, 8)))  # 0 is likeliest at the start and after 0


def test_the_bias_is_the_temperature_of_each_tokens_distribution(rng: np.random.Generator) -> None:
    model = fit(rng.choice(3, p=[0.5, 0.3, 0.2], size=(2_000, 4)), 3, order=1, smoothing=False)
    drawn = model.sample(20_000, bias=0.5, rng=rng).values
    squares = model.next_probabilities(np.array([[0]]))[0] ** 2
    found = np.bincount(drawn.ravel(), minlength=3) / drawn.size
    np.testing.assert_allclose(found, squares / squares.sum(), atol=4 * 0.5 / np.sqrt(drawn.size))


def test_weights_are_numbers_of_copies_exactly(rng: np.random.Generator) -> None:
    data, weights = rng.integers(0, 5, (60, 9)), rng.integers(0, 4, 60).astype(float)
    weighted, repeated = fit(data, 5, weights=weights), fit(np.repeat(data, weights.astype(int), axis=0), 5)
    ends = [m.sample(50, bias=1.0, rng=np.random.default_rng(3)).values for m in (weighted, repeated)]
    np.testing.assert_array_equal(weighted.log_likelihood(data), repeated.log_likelihood(data))
    np.testing.assert_array_equal(ends[0], ends[1])


def test_wide_vocabularies_and_long_grams_stay_sparse(rng: np.random.Generator) -> None:
    model = fit(rng.integers(0, 256, (300, 16)), 256, order=6)
    assert sum(table.nnz for table in model.counts) <= 6 * 300 * 16
    assert model.sample(10, bias=1.0, rng=rng).values.max() < 256


def test_the_same_seed_gives_the_same_samples_and_data_stay_as_they_were(rng: np.random.Generator) -> None:
    data = rng.integers(0, 4, (30, 6))
    before = data.copy()
    first, second = (fit(data, 4).sample(9_000, bias=0.8, rng=np.random.default_rng(5)).values for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(data, before)


def test_no_samples_are_an_empty_array(rng: np.random.Generator) -> None:
    assert fit(np.zeros((2, 3), dtype=np.int64), 2).sample(0, bias=1.0, rng=rng).values.shape == (0, 3)


@pytest.mark.parametrize(
    ("tokens", "order", "says"),
    [
        ([[0, 5]], 2, "tokens 0 to 5"),
        ([[0, 1]], 0, "order >= 1"),
        ([[0, 1]], 40, "low enough"),
        ([[0.5, 1]], 2, "reads"),
    ],
)
def test_what_is_no_token_or_no_gram_is_refused(tokens: list[list[float]], order: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        fit(np.array(tokens), 5, order=order)


@pytest.mark.parametrize("bias", [-0.1, 1.1, float("nan")])
def test_a_bias_outside_its_range_is_refused(bias: float, rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        fit(np.zeros((2, 3), dtype=np.int64), 2).sample(1, bias=bias, rng=rng)


def test_items_without_any_weight_are_refused() -> None:
    with pytest.raises(InputError, match="positive weight"):
        fit(np.zeros((2, 3), dtype=np.int64), 2, weights=np.zeros(2))
