"""The encoder `lexical`: word and character n-grams of a text, hashed to a vector of fixed width, without weights."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise, zip_longest
from operator import add

import numpy as np
from sklearn.utils import murmurhash3_32

from indexes.encoders.protocol import Sees
from indexes.errors import InputError
from indexes.records import Kind, Unusable

__all__ = ["LexicalEncoder", "load_lexical"]

_WIDTH = 512  # hash buckets for words, and the same number for characters
_VERSION = 1
_PIECE = 2**15  # characters of a text that are processed at once
_HASHES = 2**18  # hashes of features that are added up at once
_WORD = re.compile(r"\w+|[^\w\s]")  # a word, or one punctuation mark or symbol
_IN_WORD = re.compile(r"\w")
_SPACES = re.compile(r"\s\s+")
_Word = str | bytes  # a word longer than a piece is kept as UTF-8 bytes


@dataclass(frozen=True, slots=True)
class LexicalEncoder:
    """Encodes texts by signed feature hashing (Weinberger et al. 2009), which preserves inner products in expectation.

    The features are words and punctuation marks, alone and in pairs, and n-grams of 2–4 characters. Counts are
    log-scaled, and the word part and the character part of a vector are each scaled to length one. The feature counts
    equal the counts of scikit-learn's HashingVectorizer. The text is processed in pieces, so memory use does not grow
    with the number of n-grams.
    """

    spec: str = "lexical"
    kind: Kind = "text"
    sees: Sees = "content"
    dim: int = 2 * _WIDTH
    fingerprint: str = f"lexical:{_VERSION}"

    def prepare(self, text: str) -> str | np.ndarray:
        """A short text unchanged, or the feature counts of a long text; raises Unusable for white space only."""
        if not text or text.isspace():
            raise Unusable("empty text")
        return text if len(text) <= _PIECE else _counts([text])[0]

    def __call__(self, batch: Sequence[str | np.ndarray]) -> np.ndarray:
        """Vectors (n, 1024) float32."""
        counts = _counts([each if isinstance(each, str) else "" for each in batch])
        for row, each in enumerate(batch):
            if not isinstance(each, str):
                counts[row] = each
        halves = counts.astype(np.float32).reshape(-1, 2, _WIDTH)
        damped = np.sign(halves) * np.log1p(np.abs(halves))
        scaled: np.ndarray = damped / np.maximum(np.linalg.norm(damped, axis=2, keepdims=True), 1e-6)
        return scaled.reshape(-1, self.dim)


def load_lexical(args: str, *, device: str) -> LexicalEncoder:
    """The encoder `lexical`, which takes no arguments and runs on the CPU."""
    if args:
        raise InputError(f"lexical takes no arguments, got {args!r}: write --encoder lexical")
    return LexicalEncoder()


def _counts(texts: Sequence[str]) -> np.ndarray:
    """Signed feature counts (n, 1024) float64 of texts: words in the first half, character n-grams in the second."""
    total = np.zeros(2 * len(texts) * _WIDTH)
    waiting: list[tuple[int, list[int]]] = []
    size = 0
    for half, hashes in _hashed(texts):
        waiting.append((half, hashes))
        size += len(hashes)
        if size >= _HASHES:
            total += _added_up(waiting, len(total))
            waiting, size = [], 0
    if waiting:
        total += _added_up(waiting, len(total))
    return total.reshape(len(texts), 2 * _WIDTH)


def _hashed(texts: Sequence[str]) -> Iterator[tuple[int, list[int]]]:
    """Lists of feature hashes, each with an index: 2 × text number for words, 2 × text number + 1 for characters."""
    for row, text in enumerate(texts):
        for words, runs in zip_longest(_word_features(text), _run_features(text), fillvalue=()):
            yield 2 * row, list(map(murmurhash3_32, words))
            yield 2 * row + 1, list(map(murmurhash3_32, runs))


def _added_up(hashed: Sequence[tuple[int, list[int]]], size: int) -> np.ndarray:
    hashes = np.fromiter(chain.from_iterable(part for _, part in hashed), np.int64)
    halves = np.repeat([half for half, _ in hashed], [len(part) for _, part in hashed])
    buckets = halves * _WIDTH + np.abs(hashes) % _WIDTH
    return np.bincount(buckets, weights=np.where(hashes < 0, -1.0, 1.0), minlength=size)


def _word_features(text: str) -> Iterator[Iterable[_Word]]:
    """For each piece of the text: the words that end in the piece, and each word paired with the word before it."""
    last: list[_Word] = []
    for words in _words(_lowered(text, end=" ")):
        yield chain(words, map(_pair, pairwise([*last, *words])))
        last = words[-1:] or last


def _words(pieces: Iterator[str]) -> Iterator[list[_Word]]:
    """Words that end in each piece of text, joined across pieces. The last piece of text must end in a space."""
    begun: list[str] = []  # parts of a word that may continue in the next piece
    for piece in pieces:
        found: list[_Word] = _WORD.findall(piece)
        ends_in_word = bool(_IN_WORD.match(piece[-1:]))
        if begun and _IN_WORD.match(piece):
            begun.append(str(found.pop(0)))
        if begun and (found or not ends_in_word):
            found.insert(0, _joined(begun))
            begun = []
        if found and ends_in_word:
            begun = [str(found.pop())]
        yield found


def _joined(parts: Sequence[str]) -> _Word:
    """A word joined from its parts; a long word is UTF-8 bytes, because a str may take four bytes per character."""
    if sum(map(len, parts)) <= _PIECE:
        return "".join(parts)
    return b"".join(part.encode() for part in parts)


def _pair(words: tuple[_Word, _Word]) -> _Word:
    first, second = words
    if isinstance(first, str) and isinstance(second, str):
        return f"{first} {second}"
    return b" ".join(word.encode() if isinstance(word, str) else word for word in words)


def _run_features(text: str) -> Iterator[Iterable[str]]:
    """For each piece of the text: the n-grams of 2–4 characters that end in the piece."""
    before = ""  # at most 3 characters of the text so far, in which a run may begin
    for piece in _with_single_spaces(_lowered(text)):
        window = before + piece
        yield _runs(window, len(before))
        before = window[-3:]


def _runs(window: str, known: int) -> Iterable[str]:
    """The n-grams of 2–4 characters in a window that end after the first `known` characters of the window."""
    twos = list(map(add, window, window[1:]))
    threes, fours = map(add, twos, window[2:]), map(add, twos, twos[2:])
    new_threes, new_fours = islice(threes, max(0, known - 2), None), islice(fours, max(0, known - 3), None)
    return chain(twos[max(0, known - 1) :], new_threes, new_fours)


def _with_single_spaces(pieces: Iterator[str]) -> Iterator[str]:
    """Text pieces with each run of two or more white space characters replaced by one space, also across pieces."""
    held = ""  # white space at the end of a piece, which may continue; two characters represent any longer run
    for piece in pieces:
        window = held + piece
        kept = window.rstrip()
        held = window[len(kept) :][:2]
        yield _SPACES.sub(" ", kept)
    if held:
        yield _SPACES.sub(" ", held)


def _lowered(text: str, *, end: str = "") -> Iterator[str]:
    """Pieces of the text in lower case, then `end`; lower-casing a whole text at once takes 16 bytes per character."""
    for start in range(0, len(text), _PIECE):
        piece = text[start : start + _PIECE]
        lowered = _lowered_in_place(text, start, piece) if "Σ" in piece else piece.lower()
        yield lowered if start + _PIECE < len(text) else lowered + end


def _lowered_in_place(text: str, start: int, piece: str) -> str:
    """A piece with Σ in lower case; Σ is the only letter whose lower case depends on its neighbours (ς ends a word)."""
    before = next((text[i] for i in range(start - 1, -1, -1) if not _is_passed_over(text[i])), "")
    after = next((text[i] for i in range(start + len(piece), len(text)) if not _is_passed_over(text[i])), "")
    lowered = (before + piece + after).lower()
    return lowered[len(before.lower()) : len(lowered) - len(after.lower())]


def _is_passed_over(character: str) -> bool:
    """Whether Unicode's lower-case rule for Σ ignores a character, such as an accent or a dot (Case_Ignorable)."""
    return f"a{character}Σ".lower().endswith("ς") and not f"{character}Σ".lower().endswith("ς")
