import copy
import random
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from indexes.encoders.beginning import Beginning
from indexes.records import Unusable

MOST = 40  # tokens the model reads
LONG_WORD = 101  # characters, of which WordPiece makes one unknown token


@pytest.fixture(scope="module")
def wordpiece(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """BERT's: splits at white space and marks, drops accents and control characters, gives up on long words."""
    transformers = pytest.importorskip("transformers", reason="needs pip install 'madaudit[text]'")
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters), "the", "."]
    path = tmp_path_factory.mktemp("tokenizer") / "vocab.txt"
    path.write_text("\n".join(vocabulary))
    return transformers.BertTokenizerFast(vocab_file=str(path))


@pytest.fixture(scope="module")
def byte_pairs() -> Any:
    """GPT-2's kind: white space makes tokens too, and no word is too long."""
    transformers = pytest.importorskip("transformers", reason="needs pip install 'madaudit[text]'")
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator([Path(__file__).read_text()], trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made)


def read_by_model(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a whole text, as far as the model reads them."""
    tokens: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return tokens[:MOST]


TEXTS = {
    "words": "the quick brown fox. " * 5000,
    "one word": "ab" * 50_000,
    "one word, then others": "ab" * 50_000 + " the end. " + "ab" * 50_000 + " the end",
    "spaces": "\n" * 30_000 + "the" + " " * 50_000 + "end",
    "removed characters": "\x00" * 50_000 + "the" + "\x00" * 50_000 + "end the",
    "accents": "a" + "\u0301" * 50_000 + "b the",
    "accents and spaces": ("the" + " \u0301" * 3000) * 10,
    "emoji": "\U0001f600" * 40_000 + " the",
    "Chinese": "数字は嘘をつかない" * 10_000,
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("kind", ["wordpiece", "byte_pairs"])
def test_the_model_reads_the_tokens_of_the_whole_text(
    kind: str, name: str, request: pytest.FixtureRequest
) -> None:  # fmt: skip
    tokenizer = request.getfixturevalue(kind)
    kept = Beginning(tokenizer, MOST).of(TEXTS[name])
    assert read_by_model(tokenizer, kept) == read_by_model(tokenizer, TEXTS[name])
    assert len(kept) < 25_000


@pytest.mark.parametrize("kind", ["wordpiece", "byte_pairs"])
def test_the_model_reads_the_tokens_of_any_mixture(kind: str, request: pytest.FixtureRequest) -> None:
    tokenizer = request.getfixturevalue(kind)
    beginning, rng = Beginning(tokenizer, MOST), random.Random(0)
    parts = ["the", " ", "\n", ".", "é", "\u0301", "\x00", "漢", "\U0001f600", "x" * LONG_WORD, "abc"]
    for _ in range(200):
        text = "".join(rng.choice(parts) * rng.choice([1, 1, 2, 900]) for _ in range(rng.choice([5, 30])))
        assert read_by_model(tokenizer, beginning.of(text)) == read_by_model(tokenizer, text)


def test_a_short_text_is_left_as_it_is(wordpiece: Any) -> None:
    text = "the end " * 100
    assert Beginning(wordpiece, MOST).of(text) is text


@pytest.mark.parametrize("most", [None, float("inf"), 10**30])
def test_a_model_without_a_limit_reads_the_whole_text_up_to_a_stated_length(wordpiece: Any, most: Any) -> None:
    beginning = Beginning(wordpiece, most)
    assert len(beginning.of("a" * 2**22)) == 2**22
    with pytest.raises(Unusable, match="text over 4194304 characters"):
        beginning.of("a" * (2**22 + 1))


def test_a_model_that_reads_the_end_gets_the_whole_text(wordpiece: Any) -> None:
    tokenizer = copy.deepcopy(wordpiece)
    tokenizer.truncation_side = "left"
    assert Beginning(tokenizer, MOST).of(TEXTS["words"]) == TEXTS["words"]


def test_threads_may_cut_texts_while_the_model_tokenizes_with_truncation(wordpiece: Any) -> None:
    beginning, found = Beginning(wordpiece, MOST), []
    read = beginning.of(TEXTS["words"])
    threads = [Thread(target=lambda: found.append(beginning.of(TEXTS["words"]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        wordpiece(["the end"] * 4, truncation=True, max_length=8, padding=True)
    for thread in threads:
        thread.join()
    assert found == [read] * 4
