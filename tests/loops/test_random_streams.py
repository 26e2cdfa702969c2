import itertools

import numpy as np

from loops.random_streams import Purpose, Streams


def first(seed: int, purpose: Purpose, generation: int, chain: int | None = None) -> int:
    return int(Streams(seed).rng(purpose, generation, chain).integers(2**63))


def test_the_same_key_gives_the_same_stream() -> None:
    assert first(3, Purpose.real, 2, 1) == first(3, Purpose.real, 2, 1)


def test_no_two_keys_share_a_stream() -> None:
    keys = list(itertools.product(range(3), Purpose, (0, 1, 2, 2**32 - 1, 2**32 - 2), (None, 0, 1)))
    assert len({first(*key) for key in keys}) == len(keys)


def test_using_one_stream_leaves_the_others_alone() -> None:
    streams = Streams(0)
    streams.rng(Purpose.training, 1).random(1000)
    assert streams.rng(Purpose.real, 1).random() == Streams(0).rng(Purpose.real, 1).random()


def test_streams_of_neighbouring_seeds_do_not_correlate() -> None:
    draws = np.array([Streams(seed).rng(Purpose.real, 0).standard_normal(2000) for seed in range(6)])
    assert np.abs(np.corrcoef(draws) - np.eye(6)).max() < 4 / np.sqrt(2000)
