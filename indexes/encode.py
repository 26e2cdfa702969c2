"""Encode the items of a shard: threads read and decode items ahead, and encoders run on batches of fixed size."""

import hashlib
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from indexes.compression import detail_of
from indexes.encoders.protocol import Encoder
from indexes.errors import InputError
from indexes.images import decode, shrink
from indexes.records import Item, Kind, Shard, Skip, Unusable

__all__ = ["Batch", "encode_shard"]

_CHUNK = 16  # items per future: few enough to share work evenly, enough to make a future's cost negligible
_CHUNK_BYTES = 32 * 2**20  # a chunk ends early when its items reach this size
_CHUNKS_READ = 2  # chunks of that size that may wait in memory for decoding, besides one for each decoder
_SHOWN = 4096  # characters of a text that a batch keeps
_PIECE = 2**16  # characters of a text that are hashed at once


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of items of a shard, in the shard's order, with the vectors from every encoder."""

    ids: tuple[str, ...]
    digests: np.ndarray  # (n, 16) uint8, blake2b of the decoded content: equal content, equal digest
    formats: tuple[str, ...]  # "jpeg", "png", …; "text"; "vector"
    compressions: tuple[str, ...]  # `compression_of` and `detail_of` each image; empty strings for other kinds
    details: tuple[str, ...]
    shapes: np.ndarray  # (n, 2) int32: width, height of images; characters, 0 of texts; d, 0 of vectors
    data: tuple[Any, ...]  # for display: pixels (h, w, 3) up to 512 a side, a text's first 4,096 characters, or vector
    vectors: tuple[np.ndarray, ...]  # for each encoder (n, dim) float32


@dataclass(frozen=True, slots=True)
class _Decoded:
    digest: bytes
    format: str
    shape: tuple[int, int]
    data: Any
    compression: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Ready:
    id: str
    decoded: _Decoded
    prepared: tuple[Any, ...]  # one for each encoder


def encode_shard(
    shard: Shard, encoders: Sequence[Encoder], *, batch_size: int = 256, threads: int = 2
) -> Generator[Batch | Skip]:
    """Yield the encoded batches and the skips of a shard; the result does not depend on `threads`.

    Each encoder call gets exactly `batch_size` items, except the last call of a shard, which may get fewer. An item
    with a non-finite vector becomes a skip, so its batch has fewer items. Memory use is bounded: a batch keeps only the
    first 4,096 characters of each text. Items that are read but not yet decoded take about 32 MiB per thread, or more
    if a single item is larger.
    Raises InputError if the encoders read different kinds of item, or if the shard holds items of another kind. Closing
    the generator early stops its reading and decoding threads.
    """
    kinds = {encoder.kind for encoder in encoders}
    if len(kinds) != 1:
        raise InputError(f"got encoders that read {', '.join(sorted(kinds)) or 'nothing'}, expected one kind of item")
    waiting: list[_Ready] = []
    with closing(_decode_ahead(shard, kinds.pop(), encoders, ahead=batch_size, threads=threads)) as entries:
        for entry in entries:
            if isinstance(entry, Skip):
                yield entry
                continue
            waiting.append(entry)
            if len(waiting) == batch_size:
                yield from _encode(waiting, encoders)
                waiting = []
        if waiting:
            yield from _encode(waiting, encoders)


def _decode_ahead(
    shard: Shard, kind: Kind, encoders: Sequence[Encoder], *, ahead: int, threads: int
) -> Generator[_Ready | Skip]:
    """Decoded items and skips in the shard's order; about `ahead` entries are prepared before the caller needs them.

    One thread reads items, and `threads` threads decode them. Each decoding task waits until its own chunk of items is
    read. Chunks are read in the order of the shard, so the output stays in order. A read may have to wait until earlier
    chunks of items are decoded. No deadlock is possible, because the decoding tasks of earlier chunks are first in the
    queue and already have their input.
    """
    entries = shard.read()
    allowance = _Allowance(_CHUNK_BYTES * (threads + _CHUNKS_READ))

    def read_chunk() -> list[Item | Skip]:
        chunk = list(_first(entries)) if allowance.wait() else []
        allowance.take(sum(map(_bytes_of, chunk)))
        return chunk

    def decode_chunk(read: Future[list[Item | Skip]]) -> list[_Ready | Skip]:
        chunk = read.result()  # emptied below; otherwise the future holds all items until the last one is decoded
        size = sum(map(_bytes_of, chunk))
        chunk.reverse()
        decoded = []
        while chunk:
            decoded.append(_ready(chunk.pop(), kind, encoders))
        allowance.take(-size)
        return decoded

    def submit() -> Future[list[_Ready | Skip]]:
        return decoders.submit(decode_chunk, reader.submit(read_chunk))

    with ExitStack() as stack:  # on exit: cancel tasks that have not begun, wait for those that have
        reader = ThreadPoolExecutor(1, "read")
        stack.callback(reader.shutdown, cancel_futures=True)
        decoders = ThreadPoolExecutor(threads, "decode")
        stack.callback(decoders.shutdown, cancel_futures=True)
        stack.callback(allowance.close)
        pending = deque(submit() for _ in range(threads + -(-ahead // _CHUNK)))
        while chunk := pending.popleft().result():
            pending.append(submit())
            yield from chunk


class _Allowance:
    """A limit on the bytes of undecoded items in memory; a read that starts below the limit may end above the limit."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._is_closed = False
        self._changed = threading.Condition()

    def wait(self) -> bool:
        """Wait until the bytes in memory are below the limit; returns False if `close` was called."""
        with self._changed:
            self._changed.wait_for(lambda: self._left > 0 or self._is_closed)
            return not self._is_closed

    def take(self, size: int) -> None:
        """Count `size` more bytes as in memory; a negative size counts bytes as freed."""
        with self._changed:
            self._left -= size
            self._changed.notify_all()

    def close(self) -> None:
        """Wake every waiting thread, because no more memory will be freed."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


def _first(entries: Iterator[Item | Skip]) -> Iterator[Item | Skip]:
    """The next chunk."""
    size = 0
    for entry in islice(entries, _CHUNK):
        yield entry
        size += _bytes_of(entry)
        if size >= _CHUNK_BYTES:
            return


def _bytes_of(entry: Item | Skip) -> int:
    """Memory in bytes that an item's content takes; 0 for a skip."""
    if isinstance(entry, Skip):
        return 0
    return entry.data.nbytes if isinstance(entry.data, np.ndarray) else sys.getsizeof(entry.data)


def _ready(item: Item | Skip, kind: Kind, encoders: Sequence[Encoder]) -> _Ready | Skip:
    if isinstance(item, Skip):
        return item
    size = _content_bytes(item)
    try:
        decoded, content = _DECODERS[kind](item)
        return _Ready(item.id, decoded, tuple(encoder.prepare(content) for encoder in encoders))
    except Unusable as reason:
        return Skip(item.id, str(reason), bytes=size, was_read=True)


def _content_bytes(item: Item) -> int:
    """The length of an item's content: bytes of an image or vector, characters of a text."""
    return item.data.nbytes if isinstance(item.data, np.ndarray) else len(item.data)


def _decode_image(item: Item) -> tuple[_Decoded, np.ndarray]:
    picture = decode(_expect(item, bytes))
    height, width = picture.pixels.shape[:2]
    digest = hashlib.blake2b(picture.pixels, digest_size=16)
    digest.update(f"{height}x{width}".encode())
    found = _Decoded(
        digest.digest(), picture.format, (width, height), shrink(picture.pixels), picture.compression,
        detail_of(picture.pixels),
    )  # fmt: skip
    return found, picture.pixels


def _decode_text(item: Item) -> tuple[_Decoded, str]:
    text: str = _expect(item, str)
    digest = hashlib.blake2b(digest_size=16)
    try:
        for start in range(0, len(text), _PIECE):
            digest.update(text[start : start + _PIECE].encode())
    except UnicodeEncodeError:
        raise Unusable("not valid Unicode") from None
    return _Decoded(digest.digest(), "text", (len(text), 0), text[:_SHOWN]), text


def _decode_vector(item: Item) -> tuple[_Decoded, np.ndarray]:
    vector = _expect(item, np.ndarray)
    if vector.dtype.kind not in "fiu":
        raise Unusable("not a vector of numbers")
    with np.errstate(over="ignore"):  # values beyond float32 become infinite, and the item is then skipped
        vector = np.ascontiguousarray(vector, dtype=np.float32)
    return _Decoded(hashlib.blake2b(vector, digest_size=16).digest(), "vector", (vector.size, 0), vector), vector


_DECODERS = {"image": _decode_image, "text": _decode_text, "vector": _decode_vector}


def _expect(item: Item, expected: type) -> Any:
    if not isinstance(item.data, expected):
        raise InputError(
            f"item {item.id!r} holds {type(item.data).__name__}, the encoder reads {expected.__name__}: "
            "choose an encoder for this kind of source"
        )
    return item.data


def _encode(ready: Sequence[_Ready], encoders: Sequence[Encoder]) -> Iterator[Batch | Skip]:
    vectors = [encoder([entry.prepared[i] for entry in ready]) for i, encoder in enumerate(encoders)]
    is_finite = np.logical_and.reduce([np.isfinite(rows).all(axis=1) for rows in vectors])
    kept = []
    for entry, is_usable in zip(ready, is_finite, strict=True):
        if is_usable:
            kept.append(entry)
        else:
            yield Skip(entry.id, "encoder gave non-finite values", was_read=True)
    if kept:
        yield Batch(
            ids=tuple(entry.id for entry in kept),
            digests=np.frombuffer(b"".join(entry.decoded.digest for entry in kept), np.uint8).reshape(-1, 16),
            formats=tuple(entry.decoded.format for entry in kept),
            compressions=tuple(entry.decoded.compression for entry in kept),
            details=tuple(entry.decoded.detail for entry in kept),
            shapes=np.array([entry.decoded.shape for entry in kept], dtype=np.int32),
            data=tuple(entry.decoded.data for entry in kept),
            vectors=tuple(rows if is_finite.all() else rows[is_finite] for rows in vectors),
        )
