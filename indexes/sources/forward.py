"""A forward-only handle for tarfile that stops at the end of the stream, whatever size a header states."""

import io

__all__ = ["Forward"]

_PIECE_BYTES = 2**20


class Forward:
    """A file handle that reads and seeks only forward, never beyond the end of the stream.

    The stream class of `tarfile` loops over as many pieces as a header states, even after the end of the data.
    """

    def __init__(self, handle: io.BufferedReader) -> None:
        self._handle = handle
        self._position = 0

    def tell(self) -> int:
        """Bytes read so far."""
        return self._position

    def read(self, size: int) -> bytes:
        """Read the next `size` bytes, fewer at the end of the stream."""
        data = self._handle.read(size)
        self._position += len(data)
        return data

    def seek(self, position: int) -> int:
        """Skip bytes up to a position; raises OSError if the position lies before the current position."""
        if position < self._position:
            raise OSError(22, "a stream cannot seek backwards")
        while self._position < position and self.read(min(_PIECE_BYTES, position - self._position)):
            pass
        return self._position

    def pass_zeros(self, block: int) -> int:
        """Skip most of the zero blocks that follow in the stream; returns the number of bytes skipped."""
        start = self._position
        while whole := self._zeros_ahead() // block * block:
            self.read(whole)
        return self._position - start

    def _zeros_ahead(self) -> int:
        """The number of zero bytes at the start of the buffered bytes."""
        ahead = self._handle.peek(1)
        return len(ahead) - len(ahead.lstrip(b"\0"))
