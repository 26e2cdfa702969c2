"""Bundled data sets are what they say, the same every time, and readable by families of either kind."""

import numpy as np
import pytest

from loops.config import LoopConfig
from loops.data.bundled import BUNDLED, bundled_texts, bundled_vectors
from loops.data.open import open_data

VECTORS = [name for name, found in BUNDLED.items() if found.vectors]
TEXTS = [name for name, found in BUNDLED.items() if found.texts]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("digits", (1797, 64)), ("patches", (4000, 64)), ("cancer", (569, 30)), ("diabetes", (442, 10)),
        ("moons", (4000, 2)), ("swiss-roll", (4000, 3)), ("colours", (4000, 48)),
    ],
)  # fmt: skip
def test_vectors_have_their_shape_and_come_again(name, shape):
    first, again = bundled_vectors(name), bundled_vectors(name)
    assert first.values.shape == shape
    assert np.isfinite(first.values).all()
    assert first.digest == again.digest
    assert first.values.std(0).max() > 0


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_many_pieces_of_at_most_64_characters(name):
    texts = bundled_texts(name)
    assert len(texts) > 2000
    assert max(map(len, texts)) <= 64
    assert texts == bundled_texts(name)


def test_measurements_are_standardised():
    for name in ("cancer", "diabetes", "swiss-roll"):
        values = bundled_vectors(name).values
        np.testing.assert_allclose(values.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(values.std(0), 1, atol=1e-5)


@pytest.mark.parametrize("name", list(BUNDLED))
def test_families_of_either_kind_can_read_it(name):
    config = LoopConfig(data=name, limit=200)
    tokens, vectors = (open_data(name, config, reads=kind) for kind in ("tokens", "vectors"))
    assert tokens.space.vocabulary > 1
    assert vectors.space.vocabulary == 0
    assert tokens.size == vectors.size == 200


def test_a_name_of_the_other_kind_is_none():
    assert bundled_vectors("topics") is None
    assert bundled_texts("digits") is None
    assert bundled_vectors("nothing") is None
