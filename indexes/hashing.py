"""Make a random choice per item by hashing, so that each choice depends only on the item and the seed."""

import hashlib
from collections.abc import Sequence

import numpy as np

__all__ = ["content_keys", "fold_of", "sample_keys"]


def _hash64(data: bytes, seed: int, purpose: bytes) -> int:
    key = purpose + seed.to_bytes(8, "little", signed=True)
    return int.from_bytes(hashlib.blake2b(data, digest_size=8, key=key).digest(), "little")


def fold_of(digests: np.ndarray, *, seed: int, folds: int) -> np.ndarray:
    """Cross-fitting fold (n,) int64 of each item, computed from the content digests (n, 16) uint8 of the items.

    The fold depends on an item's content and not on its id, so exact copies share a fold. An item is therefore never
    scored by a model that was trained on it, even if the reference contains the item under another name.
    """
    return np.array([_hash64(row.tobytes(), seed, b"fold") % folds for row in digests], dtype=np.int64)


def sample_keys(ids: Sequence[str], *, seed: int) -> np.ndarray:
    """Uniform random keys (n,) uint64 from item ids; the k smallest keys give a mergeable simple random sample."""
    return np.array([_hash64(i.encode("utf-8", "surrogateescape"), seed, b"sample") for i in ids], dtype=np.uint64)


def content_keys(rows: np.ndarray, *, seed: int) -> np.ndarray:
    """Uniform random keys (n,) uint64 from each row's values; sorting rows by key gives an order independent of ids."""
    return np.array([_hash64(row.tobytes(), seed, b"content") for row in rows], dtype=np.uint64)
