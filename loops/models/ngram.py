"""An n-gram model of token sequences with fixed length."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import sparse

from indexes.errors import InputError
from loops.models.bias import check_bias, tempered
from loops.samples import Samples, Space
from loops.tokens import token_rows

__all__ = ["NGram", "NGramModel"]

_BLOCK = 8192  # sequences drawn at a time: bounds the memory, (block, vocabulary) numbers


@dataclass(frozen=True, slots=True)
class NGramModel:
    """Fitted counts of how often each token follows each context of 0 to order − 1 tokens.

    A context is stored as a number in base vocabulary + 1, with the tokens of the context as digits, latest token last.
    The digit `vocabulary` represents positions before the start of the sequence.
    """

    contexts: tuple[np.ndarray, ...]  # for each number of tokens: context codes (c,), increasing
    counts: tuple[sparse.csr_array, ...]  # (c + 1, vocabulary); the last row, empty, is for contexts never seen
    width: int
    smoothing: bool

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        """Draw n sequences token by token, with sampling bias λ as temperature; λ = 0 takes the likeliest token."""
        check_bias(bias)
        blocks = [self._draw(min(_BLOCK, n - first), bias, rng) for first in range(0, n, _BLOCK)]
        return Samples(np.concatenate([np.empty((0, self.width), dtype=np.int64), *blocks]))

    def log_likelihood(self, values: np.ndarray) -> np.ndarray:
        """Natural logarithm of the probability of each sequence (n,); −∞ if a token is impossible."""
        codes = _codes(values, len(self.contexts), self.counts[0].shape[1])
        total = np.zeros(len(values))
        for place in range(values.shape[1]):
            distinct, which = np.unique(codes[:, place], return_inverse=True)
            with np.errstate(divide="ignore"):
                total += np.log(self._next(distinct)[which, values[:, place]])
        return total

    def next_probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """Probabilities (n, vocabulary) of the next token, given the first m tokens (n, m) of each sequence."""
        order, vocabulary = len(self.contexts), self.counts[0].shape[1]
        return self._next(_codes(np.pad(tokens, ((0, 0), (0, 1))), order, vocabulary)[:, -1])

    def _draw(self, n: int, bias: float, rng: np.random.Generator) -> np.ndarray:
        order, base = len(self.contexts), self.counts[0].shape[1] + 1
        tokens = np.empty((n, self.width), dtype=np.int64)
        code = np.full(n, base ** (order - 1) - 1)
        for place in range(self.width):
            distinct, which = np.unique(code, return_inverse=True)
            with np.errstate(divide="ignore"):
                cumulative = tempered(np.log(self._next(distinct)), bias).cumsum(-1)[which]
            tokens[:, place] = (cumulative <= rng.random((n, 1)) * cumulative[:, -1:]).sum(-1)
            code = (code * base + tokens[:, place]) % base ** (order - 1)
        return tokens

    def _next(self, codes: np.ndarray, length: int | None = None) -> np.ndarray:
        """Next-token probabilities (m, vocabulary) after contexts of `length` tokens; None means the maximum length."""
        vocabulary = self.counts[0].shape[1]
        if length == -1:
            return np.full((len(codes), vocabulary), 1 / vocabulary)
        length = len(self.contexts) - 1 if length is None else length
        shorter, which = np.unique(codes % (vocabulary + 1) ** max(0, length - 1), return_inverse=True)
        backed = self._next(shorter, length - 1)[which]
        known = self.contexts[length]
        at = np.searchsorted(known, codes).clip(max=len(known) - 1)
        counts = self.counts[length][np.where(known[at] == codes, at, len(known))].toarray()
        total = counts.sum(-1, keepdims=True)
        if self.smoothing:
            types = (counts > 0).sum(-1, keepdims=True)
            return np.where(total > 0, (counts + types * backed) / np.where(total > 0, total + types, 1), backed)
        return np.where(total > 0, counts / np.where(total > 0, total, 1), backed)


@dataclass(frozen=True)
class NGram:
    """An n-gram model with the interpolated smoothing of Witten and Bell (1991; as in Chen and Goodman 1999, §2.6).

    The probability of token w after context h is p(w | h) = [c(h, w) + t(h) p(w | h′)] / [c(h) + t(h)] with counts c.
    In Witten–Bell smoothing, t(h) is the number of distinct tokens seen after h, and h′ is h without the first token.
    The recursion to shorter contexts ends with a uniform distribution. Unlike Kneser–Ney smoothing, Witten–Bell
    smoothing allows weighted counts. Without smoothing, p(w | h) = c(h, w) / c(h), and the shorter context h′ is used
    only if the context h was never seen.
    """

    reads: ClassVar[str] = "tokens"
    vectorised: ClassVar[bool] = False
    conditional: ClassVar[bool] = False
    bias_means: ClassVar[str] = "λ is the temperature of each token's distribution"
    order: int = 4  # tokens per gram: one more than the tokens of context
    smoothing: bool = True

    def fit(self, data: Samples, *, space: Space, weights: np.ndarray | None, rng: np.random.Generator) -> NGramModel:
        """Count all n-grams, including those at the start of a sequence; an item of weight w counts as w copies."""
        tokens, base = token_rows(data.values, space), space.vocabulary + 1
        if self.order < 1 or base**self.order >= 2**63:
            raise InputError(
                f"got order {self.order} for a vocabulary of {space.vocabulary} tokens, expected an order >= 1 "
                f"and low enough that (vocabulary + 1)^order < 2^63"
            )
        copies = np.ones(len(tokens)) if weights is None else np.asarray(weights, dtype=np.float64)
        tokens, copies = tokens[copies > 0], copies[copies > 0]
        if not len(tokens):
            raise InputError("got no item with a positive weight, expected at least one")
        context, token = _codes(tokens, self.order, space.vocabulary).ravel(), tokens.ravel()
        count = np.repeat(copies, space.width)
        levels = []
        for length in reversed(range(self.order)):
            grams, which = np.unique(context % base**length * base + token, return_inverse=True)
            count = np.bincount(which, weights=count).astype(np.float64)
            context, token = grams // base, grams % base
            known, row = np.unique(context, return_inverse=True)
            table = sparse.csr_array((count, (row, token)), shape=(len(known) + 1, space.vocabulary))
            levels.append((known, table))
        contexts, counts = zip(*reversed(levels), strict=True)
        return NGramModel(contexts, counts, space.width, self.smoothing)


def _codes(tokens: np.ndarray, order: int, vocabulary: int) -> np.ndarray:
    """Codes (n, width) of the contexts, each made of the order − 1 tokens before a position."""
    base = vocabulary + 1
    codes = np.full(tokens.shape, base ** (order - 1) - 1)
    for place in range(1, tokens.shape[1]):
        codes[:, place] = (codes[:, place - 1] * base + tokens[:, place - 1]) % base ** (order - 1)
    return codes
