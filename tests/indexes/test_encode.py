import hashlib
import io
import threading
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from indexes import encode
from indexes.encode import Batch, encode_shard
from indexes.encoders import load_encoder
from indexes.encoders.embeddings import ReadyMade
from indexes.errors import InputError
from indexes.records import Item, Skip, Unusable

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((100, 4)).astype(np.float32)


@dataclass(frozen=True)
class Memory:
    entries: Sequence[Item | Skip]
    name: str = "memory"

    def identity(self) -> str:
        return self.name

    def read(self) -> Iterator[Item | Skip]:
        yield from self.entries


class Lengths:
    """A text encoder of one number."""

    spec = fingerprint = "lengths"
    kind: Any = "text"
    sees: Any = "content"
    dim = 1

    def prepare(self, data: str) -> str:
        if data == "bad":
            raise Unusable("bad text")
        return data

    def __call__(self, batch: Sequence[str]) -> np.ndarray:
        return np.array([[len(text)] for text in batch], dtype=np.float32)


def vectors(rows: np.ndarray = VECTORS) -> Memory:
    return Memory([Item(f"#{i}", row) for i, row in enumerate(rows)])


def texts(*values: str) -> Memory:
    return Memory([Item(f"#{i}", text) for i, text in enumerate(values)])


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def batches(shard: Memory, encoders: Sequence[Any], **options: int) -> list[Batch]:
    return [entry for entry in encode_shard(shard, encoders, **options) if isinstance(entry, Batch)]


def skips(shard: Memory, encoders: Sequence[Any]) -> list[Skip]:
    return [entry for entry in encode_shard(shard, encoders) if isinstance(entry, Skip)]


def test_items_come_back_in_the_order_of_the_shard() -> None:
    found = batches(vectors(), [ReadyMade()], batch_size=7, threads=4)
    assert [i for batch in found for i in batch.ids] == [f"#{i}" for i in range(100)]
    np.testing.assert_array_equal(np.concatenate([batch.vectors[0] for batch in found]), VECTORS)


def test_skips_do_not_shorten_a_batch() -> None:
    shard = Memory([Skip(f"s{i}", "why") if i % 3 == 0 else Item(f"i{i}", "text") for i in range(30)])
    assert [len(batch.ids) for batch in batches(shard, [Lengths()], batch_size=8)] == [8, 8, 4]


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_changes_nothing(threads: int) -> None:
    shard = texts(*("bad" if i % 5 == 0 else "x" * i for i in range(90)))
    found = list(encode_shard(shard, [Lengths()], batch_size=16, threads=threads))
    expected = list(encode_shard(shard, [Lengths()], batch_size=16, threads=2))
    assert repr(found) == repr(expected)


def test_an_encoder_is_called_on_full_batches_and_the_rest() -> None:
    sizes = []

    class Counting(Lengths):
        def __call__(self, batch: Sequence[str]) -> np.ndarray:
            sizes.append(len(batch))
            return super().__call__(batch)

    batches(texts(*["text"] * 50), [Counting()], batch_size=20)
    assert sizes == [20, 20, 10]


def test_an_unusable_item_is_skipped_with_its_reason() -> None:
    assert skips(texts("good", "bad", "good"), [Lengths()]) == [Skip("#1", "bad text")]


def test_a_damaged_image_is_skipped_with_its_reason() -> None:
    shard = Memory([Item("a.png", png(np.zeros((4, 4, 3), np.uint8))), Item("b.png", b"nothing")])
    assert skips(shard, [load_encoder("pixels:4")]) == [Skip("b.png", "not an image")]


def test_a_vector_of_another_width_is_skipped_with_its_reason() -> None:
    shard = Memory([Item("a", np.zeros(4)), Item("b", np.zeros(5))])
    assert skips(shard, [ReadyMade(4)]) == [Skip("b", "vector of width 5, expected 4")]


def test_a_vector_of_words_is_skipped() -> None:
    assert skips(Memory([Item("a", np.array(["x", "y"]))]), [ReadyMade()]) == [Skip("a", "not a vector of numbers")]


def test_a_row_that_one_encoder_makes_non_finite_leaves_every_encoder() -> None:
    class Overflowing(SimpleNamespace):
        def __call__(self, batch: Sequence[np.ndarray]) -> np.ndarray:
            found = np.stack(batch)
            found[(found == VECTORS[2]).all(1), 0] = np.inf
            return found

    plain = ReadyMade(4)
    broken = Overflowing(kind="vector", prepare=plain.prepare)
    entries = list(encode_shard(vectors(VECTORS[:5]), [plain, broken]))
    assert entries[0] == Skip("#2", "encoder gave non-finite values")
    assert isinstance(entries[1], Batch)
    assert entries[1].ids == ("#0", "#1", "#3", "#4")
    for found in entries[1].vectors:
        np.testing.assert_array_equal(found, VECTORS[[0, 1, 3, 4]])


def test_every_column_of_an_image_batch_describes_its_image() -> None:
    pixels = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    (batch,) = batches(Memory([Item("a", png(pixels))]), [load_encoder("pixels:2"), load_encoder("pixels:3")])
    assert (batch.formats, batch.shapes.tolist()) == (("png",), [[9, 6]])
    np.testing.assert_array_equal(batch.data[0], pixels)
    assert [rows.shape for rows in batch.vectors] == [(1, 12), (1, 27)]


def test_a_large_image_is_kept_small_and_measured_large() -> None:
    (batch,) = batches(Memory([Item("a", png(np.zeros((600, 1200, 3), np.uint8)))]), [load_encoder("pixels:2")])
    assert batch.shapes.tolist() == [[1200, 600]]
    assert batch.data[0].shape == (256, 512, 3)


def test_equal_pixels_have_equal_digests_whatever_the_file() -> None:
    pixels = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP")
    same, other = Item("b", buffer.getvalue()), Item("c", png(pixels.reshape(6, 4, 3)))
    (batch,) = batches(Memory([Item("a", png(pixels)), same, other]), [load_encoder("pixels:4")])
    digests = [row.tobytes() for row in batch.digests]
    assert digests[0] == digests[1] != digests[2]
    assert batch.digests.shape == (3, 16)


def test_texts_and_vectors_state_their_size() -> None:
    (of_text,) = batches(texts("čeština"), [Lengths()])
    (of_vector,) = batches(vectors(), [ReadyMade()])
    assert (of_text.formats, of_text.shapes.tolist()) == (("text",), [[7, 0]])
    assert (of_vector.formats[0], of_vector.shapes[0].tolist()) == ("vector", [4, 0])


def test_an_empty_shard_yields_nothing() -> None:
    assert list(encode_shard(Memory([]), [Lengths()])) == []


def test_encoders_of_different_kinds_are_refused() -> None:
    with pytest.raises(InputError, match="text, vector"):
        next(encode_shard(texts("a"), [Lengths(), ReadyMade()]))


def test_items_of_another_kind_are_refused() -> None:
    with pytest.raises(InputError, match="'#0' holds str, the encoder reads bytes"):
        next(encode_shard(texts("a"), [load_encoder("pixels")]))


def test_an_error_of_the_source_is_not_swallowed() -> None:
    class Broken(Memory):
        def read(self) -> Iterator[Item | Skip]:
            yield Item("a", "text")
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(encode_shard(Broken([]), [Lengths()]))


def test_closing_early_leaves_no_thread_and_reads_no_further() -> None:
    read = []

    class Long(Memory):
        def read(self) -> Iterator[Item | Skip]:
            for i in range(100_000):
                read.append(i)
                yield Item(str(i), "text")

    before = threading.active_count()
    encoding = encode_shard(Long([]), [Lengths()], batch_size=32)
    next(encoding)
    encoding.close()
    assert threading.active_count() == before
    assert len(read) < 500


def test_a_batch_shows_the_beginning_of_a_long_text_and_knows_its_length_and_digest() -> None:
    text = "čeština " * 50_000
    (batch,) = batches(texts(text), [Lengths()])
    assert batch.data == (text[:4096],)
    assert batch.shapes.tolist() == [[400_000, 0]]
    assert batch.digests[0].tobytes() == hashlib.blake2b(text.encode(), digest_size=16).digest()
    assert batch.vectors[0].tolist() == [[400_000]]


@pytest.mark.parametrize("at", [0, 70_000])
def test_a_text_that_is_not_valid_unicode_is_skipped_as_read(at: int) -> None:
    (skip,) = skips(texts("a" * at + "\ud800" + "a" * 10), [Lengths()])
    assert (skip, skip.items, skip.was_read) == (Skip("#0", "not valid Unicode"), 1, True)


def test_an_item_whose_vector_is_not_finite_was_read() -> None:
    class Broken(Lengths):
        def __call__(self, batch: Sequence[str]) -> np.ndarray:
            return super().__call__(batch) / 0

    with np.errstate(divide="ignore"):
        (skip,) = skips(texts("a"), [Broken()])
    assert (skip.reason, skip.was_read) == ("encoder gave non-finite values", True)


class Bulky(Memory):
    """Texts of 100,000 characters, made when they are read."""

    def read(self) -> Iterator[Item | Skip]:
        for i, entry in enumerate(self.entries):
            yield Item(f"#{i}", "x" * 100_000 + str(entry))


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("allowed", [1, 150_000, 10**9])
def test_a_bound_on_what_is_read_ahead_changes_nothing(
    allowed: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list(encode_shard(Bulky(range(60)), [Lengths()], batch_size=16))
    monkeypatch.setattr(encode, "_CHUNK_BYTES", allowed)
    found = list(encode_shard(Bulky(range(60)), [Lengths()], batch_size=16, threads=threads))
    assert [len(batch.ids) for batch in found if isinstance(batch, Batch)] == [16, 16, 16, 12]
    assert repr(found) == repr(expected)


def test_a_shard_of_long_texts_is_not_held_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(Lengths):
        def prepare(self, data: str) -> str:
            time.sleep(0.001)  # a reader without a bound would be far ahead by now
            return data[:1]

    monkeypatch.setattr(encode, "_CHUNK_BYTES", 2**18)
    tracemalloc.start()
    found = batches(Bulky(range(400)), [Small()])  # 40 MB
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(len(batch.ids) for batch in found) == 400
    assert peak < 8 * 2**20


def test_one_long_text_is_copied_at_most_once() -> None:
    """8 MB of white space and a letter, as 32 MB in memory because of one emoji."""
    text = "\U0001f600" + " " * 2**23
    shard, encoder = texts(text), load_encoder("lexical")
    tracemalloc.start()
    (batch,) = batches(shard, [encoder])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert batch.shapes.tolist() == [[2**23 + 1, 0]]
    assert peak < 16 * 2**20


def test_closing_early_ends_a_read_that_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both decoders are busy, a huge item is read and will never be decoded, and the next read waits for that."""
    release = threading.Event()

    class Slow(Lengths):
        def prepare(self, data: str) -> str:
            release.wait(10)
            return data

    monkeypatch.setattr(encode, "_CHUNK_BYTES", 1000)
    shard = Memory(
        [*([Skip("first", "why")] * 16), *(Item(f"#{n}", "x" * n) for n in (1000, 1001, 50_000, 1003, 1004))]
    )
    before = threading.active_count()
    encoding = encode_shard(shard, [Slow()])
    assert next(encoding) == Skip("first", "why")
    timer = threading.Timer(0.2, release.set)
    timer.start()
    encoding.close()
    timer.join()
    assert threading.active_count() == before


def test_an_error_of_an_item_ends_a_read_that_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_CHUNK_BYTES", 1)
    shard = Memory([Item("bad", b"bytes"), *(Item(str(i), "text") for i in range(100))])
    with pytest.raises(InputError, match="'bad' holds bytes"):
        list(encode_shard(shard, [Lengths()]))
