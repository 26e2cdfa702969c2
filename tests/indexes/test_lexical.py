import random
import subprocess
import sys

import numpy as np
import pytest
from sklearn.feature_extraction.text import HashingVectorizer

from indexes.encoders import lexical, load_encoder
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


def hashed_by_sklearn(*texts: str) -> np.ndarray:
    """The two halves from scikit-learn's vectorizer, which holds all n-grams of all texts at once."""
    words = HashingVectorizer(
        ngram_range=(1, 2), n_features=512, norm=None, token_pattern=r"\w+|[^\w\s]", dtype=np.float32
    )
    runs = HashingVectorizer(analyzer="char", ngram_range=(2, 4), n_features=512, norm=None, dtype=np.float32)
    counts = [vectorizer.transform(texts).toarray() for vectorizer in (words, runs)]
    damped = [np.sign(half) * np.log1p(np.abs(half)) for half in counts]
    return np.concatenate([half / np.linalg.norm(half, axis=1, keepdims=True).clip(1e-6) for half in damped], axis=1)


LONG = {
    "words": "The fox, once upon a time: jumps! " * 4000,
    "one word": "abcdefghij" * 10_000,
    "one word among others": "start " + "Ab" * 50_000 + " the end",
    "two long words": "ab" * 40_000 + " " + "cd" * 40_000 + "!",
    "a word with one rare letter": "ab" * 40_000 + "\U00010400" + "ab" * 40_000,
    "spaces": "a" + " " * 100_000 + "b",
    "spaces at both ends": "\t" * 70_000 + "a" + "\n " * 40_000,
    "lines": "\n".join("ab" for _ in range(40_000)),
    "emoji": "\U0001f600\U0001f680" * 40_000,
    "Chinese": "数字は嘘をつかない" * 10_000,
    "Greek capitals": "ΟΔΟΣ ΣΑΣ. " * 10_000,
    "Greek with marks at the border": "ΑΣ" + "\u0301." * 50_000 + "Σ" + "'" * 50_000 + "Α",
    "Turkish capitals": "İI" * 40_000,
}


@pytest.mark.parametrize("name", LONG)
def test_a_long_text_has_the_vector_of_scikit_learn(name: str) -> None:
    np.testing.assert_array_equal(encode(LONG[name]), hashed_by_sklearn(LONG[name]))


def test_short_and_long_texts_of_a_batch_have_the_vectors_of_scikit_learn() -> None:
    texts = [*TEXTS, LONG["emoji"], "a b", LONG["words"]]
    np.testing.assert_array_equal(encode(*texts), hashed_by_sklearn(*texts))


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 16])
def test_the_border_of_a_piece_changes_no_bit(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(piece)
    symbols = list("aAbΣσς  \t\n .'’_İßé\u0301\u02b0\u00ad\u1f08€漢1\U0001f600")
    texts = ["x" + "".join(rng.choices(symbols, k=rng.choice([1, 2, 5, 60]))) for _ in range(100)]
    expected = hashed_by_sklearn(*texts)
    monkeypatch.setattr(lexical, "_PIECE", piece)
    monkeypatch.setattr(lexical, "_HASHES", 50)
    np.testing.assert_array_equal(encode(*texts), expected)


def test_the_lower_case_of_every_character_in_pieces_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    text = "".join(f"{c}Σ" if c.isspace() or c.isalpha() else c for c in characters[:20_000]) + "".join(characters)
    monkeypatch.setattr(lexical, "_PIECE", 7919)
    assert "".join(lexical._lowered(text)) == text.lower()


def test_a_text_that_was_not_prepared_has_the_same_vector() -> None:
    np.testing.assert_array_equal(LexicalEncoder()([TEXTS[0], LONG["lines"]]), encode(TEXTS[0], LONG["lines"]))


def test_the_memory_of_a_long_text_does_not_grow_with_its_runs() -> None:
    """scikit-learn's vectorizer takes some 500 MB for these 2 MB; a process of its own shows the peak."""
    script = (
        "import random, resource\n"
        "from indexes.encoders.lexical import LexicalEncoder\n"
        "text = ''.join(random.Random(0).choices('abcdefghijklmnopqrstuvwxyz    ', k=2_000_000))\n"
        "LexicalEncoder().prepare(text[:100_000])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "LexicalEncoder().prepare(text)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    grown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 32 * 1024  # KiB
