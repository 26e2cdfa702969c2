"""Cut a text to a beginning that holds all tokens a model reads, without tokenizing the rest."""

import copy
import threading
from collections.abc import Iterator
from typing import Any, final

from indexes.records import Unusable

__all__ = ["Beginning"]

_SPARE = 32  # tokens kept beyond those that the model reads, because a cut inside a word changes the tokens near it
_USUAL = 8  # characters in a piece per token that the model reads
_SHORTEST_PIECE = 1024  # characters; longer than any word that a tokenizer looks up
_LONGEST_INPUT = 2**20  # tokens; libraries state larger numbers for "no limit"
_LONGEST_WHOLE = 2**22  # characters of a text that a model without a longest input may read


@final
class Beginning:
    """Shortens texts for a model that reads at most `most` tokens of a tokenizer; None means that the limit is unknown.

    `Beginning` copies the tokenizer, so several threads can shorten texts while the model uses the original tokenizer.
    """

    def __init__(self, tokenizer: Any, most: float | None) -> None:
        reads_start = callable(tokenizer) and getattr(tokenizer, "truncation_side", "right") == "right"
        self._most = int(most) if reads_start and most is not None and most <= _LONGEST_INPUT else None
        self._piece = max(_SHORTEST_PIECE, _USUAL * (self._most or 0))
        self._tokenizer = copy.deepcopy(tokenizer) if self._most is not None else None
        self._lock = threading.Lock()  # a tokenizer's own settings are changed by each call

    def of(self, text: str) -> str:
        """A beginning of the text with all tokens that the model reads; a short text is returned unchanged.

        Raises Unusable for a text of more than 4 million characters if the model reads texts as a whole.
        """
        if len(text) <= self._piece:
            return text
        if self._most is None:
            if len(text) > _LONGEST_WHOLE:
                raise Unusable(f"text over {_LONGEST_WHOLE} characters, too long for a model without a token limit")
            return text
        return "".join(self._kept(text, self._most + _SPARE))

    def _kept(self, text: str, wanted: int) -> Iterator[str]:
        """Leading pieces of a text with at least `wanted` tokens in total, without pieces that add no token.

        A piece adds no token if it holds only white space, characters that the tokenizer removes, or the rest of a word
        that is too long for the tokenizer. Any number of pieces without tokens may lie between two tokens. One white
        space character of the omitted pieces is kept, because white space separates words.
        """
        before, known, found, dropped, space = "", self._tokens(""), 0, "", ""
        for piece in _pieces(text, self._piece):
            addition = space + piece
            if addition == dropped:
                continue
            tokens = self._tokens(before + addition)
            if tokens == known:
                dropped, space = addition, space or next(filter(str.isspace, piece), "")
                continue
            yield addition
            found += len(tokens) - len(known)
            if found >= wanted:
                return
            before, known, dropped, space = piece, self._tokens(piece), "", ""

    def _tokens(self, text: str) -> list[int]:
        assert self._tokenizer is not None
        with self._lock:
            tokens: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return tokens


def _pieces(text: str, size: int) -> Iterator[str]:
    """The text in pieces of at most `size` characters; each later piece begins with white space if any is near."""
    start = 0
    while start < len(text):
        window = text[start : start + size]
        if start + size < len(text):
            window = window[: _last_space(window) or size]
        yield window
        start += len(window)


def _last_space(window: str) -> int:
    """Position of the last white space in the window; 0 if there is none after the first character."""
    return next((at for at in range(len(window) - 1, 0, -1) if window[at].isspace()), 0)
