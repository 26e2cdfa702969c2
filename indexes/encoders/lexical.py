"""`lexical`: hashed word and character n-grams of a text, reduced to a fixed width, without any weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from indexes.encoders.protocol import Sees
from indexes.errors import InputError
from indexes.records import Kind, Unusable

__all__ = ["LexicalEncoder", "load_lexical"]

_WIDTH = 512  # buckets for words, and as many for characters
_VERSION = 1


@dataclass(frozen=True, slots=True)
class LexicalEncoder:
    """Signed feature hashing (Weinberger et al. 2009), which keeps inner products in expectation.

    Words and marks alone and in pairs, and runs of 2–4 characters; log counts, each half scaled to length one.
    """

    spec: str = "lexical"
    kind: Kind = "text"
    sees: Sees = "content"
    dim: int = 2 * _WIDTH
    fingerprint: str = f"lexical:{_VERSION}"

    def prepare(self, text: str) -> str:
        """The text itself; a text without any visible character is unusable."""
        if not text.strip():
            raise Unusable("empty text")
        return text

    def __call__(self, batch: Sequence[str]) -> np.ndarray:
        """Vectors (n, 1024) float32."""
        return np.concatenate([_hashed(_WORDS, batch), _hashed(_CHARACTERS, batch)], axis=1)


def load_lexical(args: str, *, device: str) -> LexicalEncoder:
    """The encoder; it takes no arguments and computes on the CPU."""
    if args:
        raise InputError(f"lexical takes no arguments, got {args!r}: write --encoder lexical")
    return LexicalEncoder()


_WORDS = HashingVectorizer(
    analyzer="word", ngram_range=(1, 2), n_features=_WIDTH, norm=None, token_pattern=r"\w+|[^\w\s]", dtype=np.float32
)
_CHARACTERS = HashingVectorizer(analyzer="char", ngram_range=(2, 4), n_features=_WIDTH, norm=None, dtype=np.float32)


def _hashed(vectorizer: HashingVectorizer, batch: Sequence[str]) -> np.ndarray:
    counts = vectorizer.transform(batch).toarray()
    damped = np.sign(counts) * np.log1p(np.abs(counts))
    return damped / np.maximum(np.linalg.norm(damped, axis=1, keepdims=True), 1e-6)
