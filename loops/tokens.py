"""Convert texts, vectors and images to rows of tokens, and back."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np

from indexes.errors import InputError
from loops.samples import Space

__all__ = ["GridCodec", "TextCodec", "token_rows"]

_UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # decoded form of any character outside the vocabulary


def token_rows(values: np.ndarray, space: Space) -> np.ndarray:
    """Check token items and return them as (n, width) int64; InputError if there are none or a token is invalid."""
    if space.vocabulary < 1 or not np.issubdtype(values.dtype, np.integer):
        raise InputError(
            f"got {values.dtype} items, vocabulary {space.vocabulary}: this family reads only integer tokens"
        )
    if values.ndim != 2 or len(values) == 0 or values.shape[1] != space.width or space.width == 0:
        raise InputError(f"got tokens of shape {values.shape}, expected (n, {space.width}) with n > 0")
    if values.min() < 0 or values.max() >= space.vocabulary:
        raise InputError(f"got tokens {values.min()} to {values.max()}, expected tokens 0 to {space.vocabulary - 1}")
    return values.astype(np.int64, copy=False)


@dataclass(frozen=True, slots=True)
class TextCodec:
    """Converts texts to tokens: one per character in `characters`, one for unknown characters, and one for the end.

    Texts of at most `length` known characters are unchanged after encoding and decoding; longer texts are cut.
    """

    characters: str
    length: int  # tokens per item

    @classmethod
    def of(cls, texts: Sequence[str], *, vocabulary: int = 96, length: int = 64) -> "TextCodec":
        """A codec for the most frequent characters of the texts, with at most `vocabulary` tokens.

        Characters are counted in the first `length` characters of each text.
        """
        if vocabulary < 3 or length < 1:
            raise InputError(
                f"got vocabulary {vocabulary} and length {length}, expected a vocabulary >= 3 and a length >= 1"
            )
        counts = Counter(chain.from_iterable(text[:length] for text in texts))
        if not counts:
            raise InputError("got only empty texts, expected at least one character")
        ranked = sorted(counts, key=lambda character: (-counts[character], character))
        return cls("".join(ranked[: vocabulary - 2]), length)

    @property
    def size(self) -> int:
        """Number of distinct tokens."""
        return len(self.characters) + 2

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens (n, length), int64: texts are cut at `length`, and shorter texts are padded with the end token."""
        cut = [text[: self.length] for text in texts]
        points = _points("".join(text.ljust(self.length, "\0") for text in cut)).reshape(len(cut), self.length)
        known = _points(self.characters)
        order = np.argsort(known)
        place = np.searchsorted(known[order], points).clip(max=max(0, len(known) - 1))
        found = order[place] if len(known) else np.zeros_like(place)
        tokens = np.where(known[found] == points, found, len(known)) if len(known) else found
        ended = np.arange(self.length) >= np.array([len(text) for text in cut], dtype=np.int64)[:, None]
        return np.where(ended, len(known) + 1, tokens).astype(np.int64)

    def decode(self, tokens: np.ndarray) -> list[str]:
        """Decode tokens to texts that stop at the first end token; unknown characters become U+FFFD."""
        symbols = np.array([*self.characters, _UNKNOWN], dtype=object)  # text arrays drop a final NUL
        ends = np.where(tokens == len(symbols), np.arange(tokens.shape[1]), tokens.shape[1]).min(1, initial=self.length)
        return ["".join(symbols[row[:end]]) for row, end in zip(tokens, ends, strict=True)]


@dataclass(frozen=True, slots=True)
class GridCodec:
    """Converts numbers to tokens: each number becomes the index of its bin, and each bin decodes to one value.

    With evenly spaced bins, encoding and decoding changes a number in the range by at most half a step, which is (high
    − low) / (levels − 1) / 2. Encoding and decoding leaves the value of each bin unchanged, and turns a number outside
    the range into the nearer end of the range. With bins of equal probability, encoding and decoding changes a number
    by at most the width of its bin, or by any amount in the two outer bins. With bins of equal probability, encoding
    and decoding preserves the mean of the items that the codec was fitted to.
    """

    edges: np.ndarray  # (width, levels − 1), increasing: bin j holds edge j−1 < x ≤ edge j
    centres: np.ndarray  # (width, levels): the value of each bin

    @classmethod
    def of(
        cls,
        values: np.ndarray,
        *,
        levels: int = 16,
        bounds: tuple[float, float] | None = None,
        spacing: Literal["even", "quantile"] = "even",
    ) -> "GridCodec":
        """A codec with `levels` tokens per column: bins evenly spaced over the range, or bins of equal probability.

        The range is `bounds` if given, else each column's 1st to 99th percentile. Bins of equal probability ignore
        `bounds`; the value of a bin is the mean of the items in the bin, or the edge of the bin if it is empty.
        """
        if levels < 2 or spacing not in ("even", "quantile"):
            raise InputError(
                f"got {levels} levels, spacing {spacing}: expected levels >= 2, spacing 'even' or 'quantile'"
            )
        if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all():
            raise InputError(f"got values of shape {values.shape}, expected finite values (n, width) with n > 0")
        rows = values.astype(np.float64)
        if spacing == "quantile":
            edges = np.quantile(rows, np.arange(1, levels) / levels, axis=0).T
            return cls(edges, _means(rows, edges))
        low, high = np.percentile(rows, [1, 99], axis=0) if bounds is None else np.array(bounds)
        centres = np.broadcast_to(np.linspace(low, high, levels, axis=-1), (rows.shape[1], levels))
        return cls((centres[:, 1:] + centres[:, :-1]) / 2, np.array(centres))

    @property
    def levels(self) -> int:
        """Number of distinct tokens."""
        return self.centres.shape[1]

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Encode numbers (n, width) as tokens (n, width), int64; InputError if a number is not finite."""
        if values.ndim != 2 or values.shape[1] != len(self.edges) or not np.isfinite(values).all():
            raise InputError(f"got values of shape {values.shape}, expected finite values (n, {len(self.edges)})")
        columns = [np.searchsorted(edges, column) for edges, column in zip(self.edges, values.T, strict=True)]
        return np.stack(columns, axis=1).astype(np.int64)

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """Decode tokens to numbers (n, width), float32: the values of the bins."""
        return self.centres[np.arange(len(self.centres)), tokens].astype(np.float32)


def _means(rows: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean of each column's items in each bin (width, levels), or the nearest edge for an empty bin."""
    centres = np.concatenate([edges, edges[:, -1:]], axis=1)
    for column, (cuts, values) in enumerate(zip(edges, rows.T, strict=True)):
        at = np.searchsorted(cuts, values)
        counts, sums = (np.bincount(at, weights=w, minlength=len(cuts) + 1) for w in (None, values))
        centres[column, counts > 0] = sums[counts > 0] / counts[counts > 0]
    return centres


def _points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)
