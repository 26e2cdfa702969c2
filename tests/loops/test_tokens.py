import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from indexes.errors import InputError
from loops.samples import Space
from loops.tokens import GridCodec, TextCodec, token_rows

TEXTS = st.lists(st.text(max_size=12), min_size=1, max_size=5).filter(lambda texts: any(texts))


@given(TEXTS)
def test_short_texts_of_known_characters_come_back(texts: list[str]) -> None:
    codec = TextCodec.of(texts, length=12)
    assert codec.decode(codec.encode(texts)) == texts


@given(TEXTS, TEXTS)
def test_any_text_becomes_tokens_of_the_vocabulary(known: list[str], others: list[str]) -> None:
    codec = TextCodec.of(known, vocabulary=6, length=7)
    tokens = codec.encode(others)
    assert (tokens.shape, tokens.dtype) == ((len(others), 7), np.int64)
    token_rows(tokens, Space(7, vocabulary=codec.size))


def test_tokens_are_characters_by_frequency_then_the_other_one_then_the_end() -> None:
    codec = TextCodec.of(["aaabbc", "ab"], vocabulary=4, length=6)
    assert (codec.characters, codec.size) == ("ab", 4)
    np.testing.assert_array_equal(codec.encode(["abca", ""]), [[0, 1, 2, 0, 3, 3], [3] * 6])


def test_a_character_outside_the_vocabulary_is_read_back_as_the_replacement() -> None:
    codec = TextCodec("ab", 4)
    assert codec.decode(codec.encode(["axb"])) == ["a\ufffdb"]


def test_longer_texts_are_cut() -> None:
    codec = TextCodec("ab", 4)
    assert codec.decode(codec.encode(["abbabb"])) == ["abba"]


def test_what_a_model_writes_after_the_end_is_not_read() -> None:
    assert TextCodec("ab", 4).decode(np.array([[0, 3, 1, 1]])) == ["a"]


@pytest.mark.parametrize(("texts", "vocabulary"), [([""], 10), ([], 10), (["a"], 2)])
def test_a_codec_without_characters_is_refused(texts: list[str], vocabulary: int) -> None:
    with pytest.raises(InputError, match="expected"):
        TextCodec.of(texts, vocabulary=vocabulary)


@pytest.mark.parametrize("high", [1.0, 16.0])
def test_digits_of_seventeen_levels_come_back_exactly(high: float) -> None:
    values = (load_digits().data * high / 16).astype(np.float32)
    codec = GridCodec.of(values, levels=17, bounds=(0.0, high))
    tokens = codec.encode(values)
    np.testing.assert_array_equal(tokens, load_digits().data)
    np.testing.assert_array_equal(codec.decode(tokens), values)
    assert (codec.levels, tokens.dtype) == (17, np.int64)


@given(st.integers(2, 40), st.integers(0, 100))
def test_even_bins_change_a_number_within_bounds_by_at_most_half_a_step(levels: int, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(-3, 5, (50, 3))
    codec = GridCodec.of(values, levels=levels, bounds=(-3.0, 5.0))
    error = np.abs(codec.decode(codec.encode(values)) - values)
    assert error.max() <= 8 / (levels - 1) / 2 + 1e-6


def test_without_bounds_the_range_is_each_columns_first_to_99th_percentile(rng: np.random.Generator) -> None:
    values = rng.standard_normal((5_000, 2)) * [1, 100]
    found = GridCodec.of(values, levels=9).decode(np.array([[0, 0], [8, 8]]))
    np.testing.assert_allclose(found, np.percentile(values, [1, 99], axis=0), rtol=1e-6)


def test_quantile_bins_hold_equal_shares_and_keep_the_mean(rng: np.random.Generator) -> None:
    values = rng.exponential(size=(4_000, 3))
    codec = GridCodec.of(values, levels=16, spacing="quantile")
    tokens = codec.encode(values)
    assert {int(count) for column in tokens.T for count in np.bincount(column, minlength=16)} == {250}
    np.testing.assert_allclose(codec.decode(tokens).mean(0), values.mean(0), rtol=1e-5)


def test_a_bins_value_is_the_mean_of_its_items(rng: np.random.Generator) -> None:
    values = rng.standard_normal((500, 1))
    codec = GridCodec.of(values, levels=5, spacing="quantile")
    tokens = codec.encode(values)
    means = [values[tokens == level].mean() for level in range(5)]
    np.testing.assert_allclose(codec.decode(np.arange(5)[:, None])[:, 0], means, rtol=1e-6)


@pytest.mark.parametrize("spacing", ["even", "quantile"])
def test_columns_of_ties_or_of_one_value_come_back(spacing: str, rng: np.random.Generator) -> None:
    values = np.stack([np.full(200, 3.0), np.where(rng.random(200) < 0.9, 0.0, 1.0)], axis=1)
    codec = GridCodec.of(values, levels=4, spacing=spacing)  # parametrised by text
    np.testing.assert_allclose(codec.decode(codec.encode(values)), values, atol=1e-6)
    every = codec.decode(np.repeat(np.arange(4)[:, None], 2, axis=1))
    assert np.isfinite(every).all()


@pytest.mark.parametrize("bad", [np.array([[np.nan]]), np.zeros((0, 1)), np.zeros(3)])
def test_what_cannot_be_quantised_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="finite"):
        GridCodec.of(bad)


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected finite values \(n, 2\)"):
        GridCodec.of(np.arange(6.0).reshape(3, 2)).encode(np.zeros((3, 4)))


@pytest.mark.parametrize(
    ("values", "vocabulary"),
    [(np.array([[0, 3]]), 3), (np.array([[-1, 0]]), 3), (np.array([[0, 1]]), 0), (np.array([[0.0, 1.0]]), 3),
     (np.array([[0, 1, 2]]), 3), (np.zeros((0, 2), dtype=np.int64), 3)],
)  # fmt: skip
def test_what_is_no_row_of_tokens_is_refused(values: np.ndarray, vocabulary: int) -> None:
    with pytest.raises(InputError, match="got"):
        token_rows(values, Space(2, vocabulary=vocabulary))
