import hashlib

import numpy as np
import pytest
from scipy import stats

from indexes.hashing import fold_of, sample_keys

IDS = [f"folder/{i}.png" for i in range(5000)]
DIGESTS = np.random.default_rng(0).integers(0, 256, (5000, 16), dtype=np.uint8)


def test_keys_belong_to_the_item_and_not_to_its_place() -> None:
    keys = sample_keys(IDS, seed=3)
    assert keys.dtype == np.uint64
    np.testing.assert_array_equal(sample_keys(IDS[::-1], seed=3), keys[::-1])
    np.testing.assert_array_equal(sample_keys(IDS[10:20], seed=3), keys[10:20])


def test_keys_are_the_same_in_every_release() -> None:
    known = sample_keys(["a"], seed=0)[0]
    expected = hashlib.blake2b(b"a", digest_size=8, key=b"sample" + bytes(8)).digest()
    assert int(known) == int.from_bytes(expected, "little")


def test_keys_are_uniform() -> None:
    keys = sample_keys(IDS, seed=3) / 2.0**64
    assert stats.kstest(keys, "uniform").pvalue > 0.001


def test_keys_of_another_seed_are_independent() -> None:
    first, second = (stats.rankdata(sample_keys(IDS, seed=s)) for s in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06  # four standard errors


def test_keys_take_names_that_are_no_unicode_and_negative_seeds() -> None:
    keys = sample_keys(["caf\udce9.png", "café.png"], seed=-1)
    assert keys[0] != keys[1]


def test_folds_belong_to_the_content_and_not_to_its_place() -> None:
    folds = fold_of(DIGESTS, seed=3, folds=5)
    np.testing.assert_array_equal(fold_of(DIGESTS[::-1], seed=3, folds=5), folds[::-1])
    assert (folds != fold_of(DIGESTS, seed=4, folds=5)).mean() == pytest.approx(0.8, abs=0.03)


def test_folds_are_of_equal_size_up_to_chance() -> None:
    counts = np.bincount(fold_of(DIGESTS, seed=3, folds=5), minlength=5)
    assert len(counts) == 5
    assert stats.chisquare(counts).pvalue > 0.001


def test_no_items_have_no_folds_and_no_keys() -> None:
    assert fold_of(np.zeros((0, 16), np.uint8), seed=0, folds=5).shape == (0,)
    assert sample_keys([], seed=0).shape == (0,)
