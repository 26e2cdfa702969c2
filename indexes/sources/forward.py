"""A forward-only handle for tarfile that stops at the end of the stream, whatever size a header states."""

import io

__all__ = ["Forward"]

_PIECE_BYTES = 2**20


class Forward:
    """Reads and seeks forward, never beyond the end of the stream.

    tarfile's own stream loops over as many pieces as a header states, even after the end of the data.
    """

    def __init__(self, handle: io.BufferedReader) -> None:
        self._handle = handle
        self._position = 0

    def tell(self) -> int:
        """Bytes read so far."""
        return self._position

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        data = self._handle.read(size)
        self._position += len(data)
        return data

    def seek(self, position: int) -> int:
        """Skip bytes up to a position; raises OSError if the position is behind the current one."""
        if position < self._position:
            raise OSError(22, "a stream cannot go back")
        while self._position < position and self.read(min(_PIECE_BYTES, position - self._position)):
            pass
        return self._position

    def pass_zeros(self, block: int) -> int:
        """Skip most of the blocks of zeros that follow; returns the number of bytes skipped."""
        start = self._position
        while whole := self._zeros_ahead() // block * block:
            self.read(whole)
        return self._position - start

    def _zeros_ahead(self) -> int:
        """The number of leading zero bytes among those already buffered."""
        ahead = self._handle.peek(1)
        return len(ahead) - len(ahead.lstrip(b"\0"))
