"""Audits of texts that are unlike the reference's: of another language, much shorter, much longer."""

import numpy as np
import pytest

from auditor import audit
from auditor.answers import EncoderRole
from auditor.reference.component import encode_part
from auditor.reference.reference import reference_of_parts
from indexes.encoders import load_encoder
from indexes.records import Item, Source

_SYLLABLES = ["ka", "to", "mi", "re", "sol", "ne", "va", "lu", "pri", "shen", "dor", "qui"]


class Words:
    """A language: words with Zipf frequencies, its alphabet shifted by `shift`; `taste` prefers some of them."""

    def __init__(self, shift=0, taste=0):
        rng = np.random.default_rng(7)
        plain = ["".join(rng.choice(_SYLLABLES, rng.integers(1, 4))) for _ in range(800)]
        self.words = [word.translate({c: 97 + (c - 97 + shift) % 26 for c in range(97, 123)}) for word in plain]
        frequencies = 1 / np.arange(1, 801) * np.exp(np.random.default_rng(taste).normal(0, 0.9 * (taste > 0), 800))
        self.frequencies = frequencies / frequencies.sum()

    def texts(self, n, length, rng):
        return [" ".join(rng.choice(self.words, length, p=self.frequencies)) for _ in range(n)]


def source(texts):
    class Shard:
        name = "texts"

        def identity(self):
            return "0"

        def read(self):
            yield from (Item(f"{i}", text) for i, text in enumerate(texts))

    return Source("texts", "text", (Shard(),))


@pytest.fixture(scope="module")
def reference():
    rng, encoder = np.random.default_rng(3), load_encoder("lexical")
    parts = [
        encode_part(label, [source(Words(taste=taste).texts(150, 80, rng))], [encoder], batch_size=64, threads=1)
        for label, taste in (("real", 0), ("model", 1))
    ]
    role = EncoderRole(spec=encoder.spec, fingerprint=encoder.fingerprint, sees=encoder.sees, kind=encoder.kind)
    return reference_of_parts("texts", parts, evidence=role, semantic=None, seed=0)


def answer(reference, texts):
    return audit(source(texts), reference).synthetic_fraction


def test_texts_of_the_reference_are_told_if_its_generators_are_all(reference, rng):
    mixed = Words().texts(90, 80, rng) + Words(taste=1).texts(30, 80, rng)
    found = answer(reference, mixed)
    assert found.low <= 0.25 <= found.high
    assert found.if_both.low <= 0.25 <= found.if_both.high < 0.5
    assert found.if_both.is_known


def test_texts_of_another_language_are_not(reference, rng):
    found = answer(reference, Words(shift=5).texts(120, 80, rng))
    assert found.status in ("bounds", "undetermined")
    assert (found.is_known, found.low) == (False, 0)


@pytest.mark.parametrize("length", [6, 2000])
@pytest.mark.parametrize("taste", [0, 1])
def test_texts_of_another_length_give_bounds_whoever_wrote_them(length, taste, reference, rng):
    found = answer(reference, Words(taste=taste).texts(120, length, rng))
    assert (found.status, found.is_known, found.low) == ("bounds", False, 0)
    assert found.high > 0.9
