"""What was not read is counted, estimated, and never passes the gate."""

import bz2
import gzip
import math

import numpy as np
import pytest

from auditor.policy import Check, Policy, Threshold, check
from auditor.statistics.intervals import Measure
from auditor.unread import (
    Metered,
    ReadCounts,
    check_unread,
    heed_unread,
    heed_unread_roughly,
    of_the_whole_set,
    unread_of,
    unread_share,
)
from indexes.records import Item, Skip

LIMITS = Policy().unread


class Listed:
    """A shard of given records."""

    def __init__(self, *records: Item | Skip) -> None:
        self.records = records
        self.name = "listed"

    def identity(self) -> str:
        return "0"

    def read(self):
        yield from self.records


def counted(*records: Item | Skip, unusable: int = 0) -> ReadCounts:
    shard = Metered(Listed(*records))
    assert list(shard.read()) == list(records)
    skips = [record for record in records if isinstance(record, Skip)]
    return shard.finished([*skips, *(Skip("x", "unusable", bytes=10) for _ in range(unusable))])


def unread(high: float) -> Measure:
    return Measure(math.nan, low=0.0, high=high)


def texts(count: int, size: int = 100) -> list[Item]:
    return [Item(f"{i}", "x" * size) for i in range(count)]


def share_of(counts: ReadCounts, used: int) -> Measure:
    return unread_of(counts, unread_share(counts, used)).share


def test_all_read_leaves_a_share_of_exactly_nothing():
    share = unread_share(counted(*texts(60)), 60)
    assert (share.estimate, share.low, share.high) == (0, 0, 0)


def test_a_counted_skip_stands_for_its_items():
    counts = counted(*texts(60), Skip("a", "no text column", items=600, bytes=9), Skip("b", "broken"))
    share = unread_share(counts, 60)
    assert share.estimate == share.low == share.high == pytest.approx(601 / 661)
    assert unread_of(counts, share).items == 601


def test_an_item_that_was_read_and_cannot_be_used_is_unread():
    counts = counted(*texts(100), unusable=10)
    assert unread_share(counts, 90).estimate == pytest.approx(0.1)
    assert unread_of(counts, unread_share(counts, 90)).items == 10


def test_a_reader_s_skip_is_not_counted_again_when_encoding_ends():
    shard = Metered(Listed(*texts(3), Skip("a", "broken")))
    list(shard.read())
    read, bad = Skip("a", "broken"), Skip("b", "not an image", bytes=7)
    assert shard.finished([read]).unusable == 0
    assert (shard.finished([read, bad, bad]).unusable, shard.finished([read, bad, bad]).unusable_bytes) == (2, 14)


def test_what_holds_no_item_is_counted_and_changes_no_share():
    counts = counted(*texts(10), Skip("._a", "hidden system file", items=0, bytes=4000))
    assert (counts.ignored, unread_share(counts, 10).estimate) == (1, 0)


@pytest.mark.parametrize(("size", "expected"), [(100, 10), (1000, 100), (1, 1)])
def test_unknown_items_are_estimated_from_bytes_and_at_least_one(size, expected):
    share = unread_share(counted(*texts(90), Skip("a.rar", "unsupported", items=None, bytes=10 * size)), 90)
    assert share.estimate == pytest.approx(expected / (90 + expected))
    assert share.low <= share.estimate < share.high
    assert "estimated from" in share.reason


@pytest.mark.parametrize(("is_plain", "factor"), [(True, 10), (False, 1000)])
def test_the_interval_of_an_estimate_holds_when_items_are_smaller_by_its_factor(is_plain, factor, rng):
    for _ in range(100):
        smaller, hidden = float(np.exp(rng.uniform(-1, np.log(factor)))), int(rng.integers(1, 2000))
        size = max(1, int(np.ceil(hidden * 100 / smaller)))
        share = unread_share(counted(*texts(100), Skip("a", "x", items=None, bytes=size, is_plain=is_plain)), 100)
        assert share.low <= hidden / (100 + hidden) <= share.high


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_the_interval_holds_for_repetitive_rows_that_were_packed(pack):
    """Eight thousand short rows beside two hundred long texts: the packed file is as large as two of these."""
    rows = b"".join(b'{"text": "row %d of many"}\n' % i for i in range(8000))
    counts = counted(*texts(200, size=2000), Skip("a.7z", "x", items=None, bytes=len(pack(rows))))
    share = unread_share(counts, 200)
    assert share.low <= 8000 / 8200 <= share.high


def test_bytes_of_unusable_and_unread_items_are_stated():
    counts = counted(*texts(10), Skip("a", "x", bytes=50), Skip("b", "y", items=None, bytes=700), unusable=3)
    assert unread_of(counts, unread_share(counts, 7)).bytes == 50 + 700 + 30


@pytest.mark.parametrize(
    "skip", [Skip("d", "unreadable folder", items=None, bytes=None), Skip("d", "link", items=None, bytes=None)]
)
def test_a_share_of_what_nobody_can_measure_is_unknown(skip):
    share = unread_share(counted(*texts(60), Skip("x", "broken", items=20), skip), 60)
    assert math.isnan(share.estimate)
    assert (share.low, share.high) == (pytest.approx(21 / 81), 1.0)


def test_where_nothing_was_read_bytes_tell_no_number():
    assert math.isnan(unread_share(counted(Skip("a", "x", items=None, bytes=5000)), 0).estimate)


def test_unusable_items_of_a_sample_stand_for_those_of_the_whole():
    counts = counted(*texts(1000), unusable=10)  # 100 were tried: 90 used, 10 not
    share = unread_share(counts, 90)
    assert share.estimate == pytest.approx(0.1)
    assert 0.05 < share.low < 0.1 < share.high < 0.18


def test_counts_add_up():
    parts = [counted(*texts(3), Skip("a", "x")), counted(Skip("b", "y", items=None, bytes=7)), counted(*texts(2))]
    total = parts[0] + parts[1] + parts[2]
    assert (total.read, total.unread, total.unknown, total.unknown_bytes) == (5, 1, 1, 7)


ANSWER = Measure(0.02, low=0.01, high=0.04)


def test_the_whole_set_s_interval_lets_unread_items_be_anything():
    found = of_the_whole_set(ANSWER, unread(0.5))
    assert (found.low, found.high, found.is_known) == (0.005, 0.52, False)
    assert of_the_whole_set(ANSWER, unread(0.0)) == ANSWER


@pytest.mark.parametrize("truth", [0.0, 0.3, 1.0])
def test_the_whole_set_s_interval_holds_for_any_unread_part(truth):
    """600 unread items of any origin beside 60 of which 2 % are synthetic."""
    whole = of_the_whole_set(ANSWER, unread(600 / 660))
    assert whole.low <= (0.02 * 60 + truth * 600) / 660 <= whole.high


@pytest.mark.parametrize(
    ("share", "status"),
    [
        (Measure(0.0, low=0.0, high=0.0), "pass"),
        (Measure(0.01, low=0.01, high=0.01), "warn"),
        (Measure(0.1, low=0.05, high=0.3), "fail"),
        (Measure(math.nan, low=0.0, high=1.0, reason="unknown"), "undetermined"),
        (Measure(math.nan, low=0.2, high=1.0, reason="unknown"), "fail"),
    ],
)
def test_the_unread_share_is_compared_with_the_policy(share, status):
    assert check_unread(LIMITS, share).status == status


@pytest.mark.parametrize(
    ("high", "share", "status"),
    [
        (0.04, 0.0, "pass"), (0.04, 0.005, "pass"), (0.04, 0.02, "warn"), (0.04, 0.2, "undetermined"),
        (0.1, 0.02, "warn"), (0.19, 0.02, "undetermined"), (0.3, 0.5, "fail"),
    ],
)  # fmt: skip
def test_what_was_not_read_could_change_the_verdict(high, share, status):
    threshold = Threshold(0.05, 0.20, "high")
    judged = check("synthetic_fraction", threshold, unread(high))
    assert heed_unread(judged, threshold, unread(share)).status == status


@pytest.mark.parametrize(
    ("status", "share", "expected"),
    [
        ("pass", 0.0, "pass"), ("pass", 0.009, "pass"), ("pass", 0.05, "warn"), ("pass", 0.2, "undetermined"),
        ("warn", 0.05, "warn"), ("warn", 0.2, "undetermined"), ("fail", 0.9, "fail"),
    ],
)  # fmt: skip
def test_other_quantities_do_not_pass_where_much_was_not_read(status, share, expected):
    judged = Check(name="diversity_loss", status=status, value=0.05, threshold=LIMITS, reason="why")
    assert heed_unread_roughly(judged, LIMITS, unread(share)).status == expected


def test_an_undetermined_fraction_stays_so():
    judged = Check(name="synthetic_fraction", status="undetermined", value=None, threshold=LIMITS, reason="why")
    assert heed_unread(judged, Threshold(0.05, 0.2, "high"), unread(0.5)) is judged


def test_words_name_items_files_and_share():
    counts = counted(*texts(98), Skip("a", "x"), Skip("b", "y", items=None, bytes=100))
    said = str(unread_of(counts, unread_share(counts, 98)))
    assert said == "1 unread and 1 unread file or parts of files with about 1 item (2 % of what was offered)"
