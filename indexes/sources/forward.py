"""A handle that is read once from start to end, as tarfile wants it: sizes that headers state never make it wait."""

import io

__all__ = ["Forward"]

_PIECE_BYTES = 2**20


class Forward:
    """Reads, and seeks forward, at most to the end of the stream.

    tarfile's own stream goes through as many pieces as a header states, also behind the end.
    """

    def __init__(self, handle: io.BufferedReader) -> None:
        self._handle = handle
        self._position = 0

    def tell(self) -> int:
        """Bytes read so far."""
        return self._position

    def read(self, size: int) -> bytes:
        """The next bytes, fewer at the end."""
        data = self._handle.read(size)
        self._position += len(data)
        return data

    def seek(self, position: int) -> int:
        """Pass over bytes; raises OSError for a place that lies behind."""
        if position < self._position:
            raise OSError(22, "a stream cannot go back")
        while self._position < position and self.read(min(_PIECE_BYTES, position - self._position)):
            pass
        return self._position

    def pass_zeros(self, block: int) -> int:
        """Pass over blocks of zeros, most of those that follow; returns their bytes."""
        start = self._position
        while whole := self._zeros_ahead() // block * block:
            self.read(whole)
        return self._position - start

    def _zeros_ahead(self) -> int:
        """How many of the bytes that are already in memory, counted from here, are zeros."""
        ahead = self._handle.peek(1)
        return len(ahead) - len(ahead.lstrip(b"\0"))
