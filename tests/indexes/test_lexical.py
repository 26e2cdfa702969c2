import numpy as np
import pytest

from indexes.encoders import load_encoder
from indexes.encoders.lexical import LexicalEncoder
from indexes.errors import InputError
from indexes.records import Unusable

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "a",
    "!",
    "数字は嘘をつかない。",
    "emoji \U0001f600 and e\u0301 accents",
    "long " * 5000,
    "tabs\tand\nlines\r\n",
    "0",
]


def encode(*texts: str) -> np.ndarray:
    encoder = LexicalEncoder()
    return encoder([encoder.prepare(text) for text in texts])


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_gives_finite_float32_of_the_stated_width(text: str) -> None:
    vectors = encode(text)
    assert (vectors.dtype, vectors.shape) == (np.float32, (1, LexicalEncoder().dim))
    assert np.isfinite(vectors).all()


def test_the_cut_of_a_batch_changes_no_bit() -> None:
    np.testing.assert_array_equal(encode(*TEXTS), np.concatenate([encode(text) for text in TEXTS]))


def test_each_half_has_length_one() -> None:
    vectors = encode(TEXTS[0], TEXTS[3])
    np.testing.assert_allclose(np.linalg.norm(vectors[:, :512], axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors[:, 512:], axis=1), 1, rtol=1e-5)


def test_texts_that_share_words_lie_nearer_than_texts_that_do_not() -> None:
    cat, kitten, market = encode(
        "the cat sat on the mat", "the cat lay on the mat", "quarterly earnings exceeded every forecast"
    )
    assert np.linalg.norm(cat - kitten) < np.linalg.norm(cat - market)


def test_word_order_is_seen() -> None:
    first, second = encode("dog bites man", "man bites dog")
    assert np.linalg.norm(first - second) > 0.1


def test_case_is_not_seen_in_words() -> None:
    first, second = encode("Dog Bites Man", "dog bites man")
    np.testing.assert_array_equal(first[:512], second[:512])


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u3000"])
def test_a_text_without_a_visible_character_is_unusable(text: str) -> None:
    with pytest.raises(Unusable, match="empty text"):
        LexicalEncoder().prepare(text)


def test_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="takes no arguments"):
        load_encoder("lexical:512")
