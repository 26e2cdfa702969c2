"""Input items that were not read: counted where possible, estimated otherwise, and checked against the policy."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

from auditor.answers import Unread
from auditor.policy import Check, Threshold, check, status_of, worse
from auditor.statistics.intervals import Measure, wilson_interval
from indexes.records import Item, Shard, Skip

__all__ = [
    "Metered",
    "ReadCounts",
    "check_unread",
    "heed_unread",
    "heed_unread_roughly",
    "of_the_whole_set",
    "unread_of",
    "unread_share",
]

_PLAIN, _PACKED = 10.0, 1000.0  # most items over the estimate: from plain bytes, from compressed bytes


@dataclass(frozen=True, slots=True)
class ReadCounts:
    """Counts of the items and files that readers found.

    The counts of a set are the sums of the counts of its shards.
    """

    read: int = 0  # items whose bytes were read
    read_bytes: int = 0  # bytes of `read`
    unusable: int = 0  # items that were read and tried but could not be used
    unusable_bytes: int = 0  # bytes of `unusable`
    unread: int = 0  # items that could not be read
    unread_bytes: int = 0  # bytes of `unread`, as far as they are known
    unknown: int = 0  # files, or stretches of files, with an unknown number of items
    unknown_bytes: int = 0  # bytes of `unknown`
    packed_bytes: int = 0  # part of `unknown_bytes` that is or may be compressed
    unmeasured: int = 0  # how many of `unknown` have an unknown size too
    ignored: int = 0  # entries that hold no item, such as the files of an operating system

    def __add__(self, other: "ReadCounts") -> "ReadCounts":
        return ReadCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def with_skip(self, skip: Skip) -> "ReadCounts":
        """Counts after a reader has skipped one more entry."""
        size = skip.bytes or 0
        if skip.items is None:
            unmeasured = self.unmeasured + (skip.bytes is None)
            return replace(
                self,
                unknown=self.unknown + 1,
                unknown_bytes=self.unknown_bytes + size,
                packed_bytes=self.packed_bytes + (0 if skip.is_plain else size),
                unmeasured=unmeasured,
            )
        if skip.items == 0:
            return replace(self, ignored=self.ignored + 1)
        return replace(self, unread=self.unread + skip.items, unread_bytes=self.unread_bytes + size)


class Metered:
    """Wrapper of a shard that counts the items and bytes read from the shard."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self.counts = ReadCounts()
        self.skips = 0  # skips that the reader gave
        self.skipped_bytes = 0  # bytes that these skips state

    @property
    def name(self) -> str:
        return self._shard.name

    def identity(self) -> str:
        """The shard's identity."""
        return self._shard.identity()

    def read(self) -> Iterator[Item | Skip]:
        """Yield the shard's records and count each of them."""
        items = size = 0
        counts = ReadCounts()
        for found in self._shard.read():
            if isinstance(found, Skip):
                counts = counts.with_skip(found)
                self.skips += 1
                self.skipped_bytes += found.bytes or 0
            else:
                items += 1
                size += found.data.nbytes if not isinstance(found.data, bytes | str) else len(found.data)
            self.counts = replace(counts, read=items, read_bytes=size)
            yield found

    def finished(self, skips: Sequence[Skip]) -> ReadCounts:
        """Counts after encoding; each of `skips` that the reader did not report is an item that could not be used."""
        size = sum(skip.bytes or 0 for skip in skips) - self.skipped_bytes
        return replace(self.counts, unusable=len(skips) - self.skips, unusable_bytes=size)


def unread_share(counts: ReadCounts, used: int, *, level: float = 0.95) -> Measure:
    """Share of all input items that could not be read or used; `used` is the number of items audited.

    The share is exact if every file states its number of items. For files without a stated number, the number of items
    is estimated from the files' bytes and the mean size of the items read, at least one item per file. The lower end of
    the interval assumes one item per file of unknown content. For uncompressed bytes, the upper end of the interval
    assumes ten times the estimated number of items. For bytes that may be compressed, the upper end assumes a thousand
    times the estimated number (Deflate packs at most 1032 to one) or one item per byte, whichever is more. If only a
    sample of the items was encoded, the number of unusable items among the others is estimated from the sample, with
    Wilson's interval. If the size of a file is unknown, or no item was read for comparison, the share is nan and its
    upper end is 1.
    """
    tried = used + counts.unusable
    read = max(counts.read, tried)
    share = counts.unusable / tried if tried else 0.0
    share_low, share_high = wilson_interval(counts.unusable, tried, level=level) if read > tried else (share, share)
    guess, counted = _guess(counts), read + counts.unread

    def of_offered(unusable: float, extra: float) -> float:
        missing = unusable * read + counts.unread + extra
        return missing / max(read + counts.unread + extra, 1)

    low = of_offered(share_low, float(counts.unknown))
    if counts.unmeasured or (counts.unknown and not counts.read):
        return Measure(math.nan, low=low, high=1.0, n=counted, reason=_unmeasured(counts))
    reason = _estimated(counts, guess) if counts.unknown else None
    high = of_offered(share_high, _most(counts))
    return Measure(of_offered(share, guess), low=low, high=high, n=counted, reason=reason)


def _guess(counts: ReadCounts) -> float:
    """Estimated number of items in the files with an unknown number of items, from the size of the files."""
    if not counts.read_bytes:
        return float(counts.unknown)
    return max(float(counts.unknown), counts.unknown_bytes * counts.read / counts.read_bytes)


def _most(counts: ReadCounts) -> float:
    """Largest number of items that the files with an unknown number of items may hold."""
    if not counts.unknown:
        return 0.0
    per_byte = counts.read / counts.read_bytes
    plain = _PLAIN * (counts.unknown_bytes - counts.packed_bytes) * per_byte
    packed = counts.packed_bytes * max(_PACKED * per_byte, 1.0)
    return max(float(counts.unknown), plain + packed)


def _estimated(counts: ReadCounts, guess: float) -> str:
    return (
        f"{_places(counts.unknown)} an unknown number of items: about {guess:.0f}, estimated from "
        f"{counts.unknown_bytes} bytes at {counts.read_bytes / counts.read:.0f} bytes an item, and at most "
        f"{_most(counts):.0f}"
    )


def _places(count: int) -> str:
    return "1 unread file, or part of one, holds" if count == 1 else f"{count} unread files, or parts of files, hold"


def _unmeasured(counts: ReadCounts) -> str:
    return (
        f"{counts.unmeasured or counts.unknown} files or folders could not be read, so the number of items in them is "
        "unknown: repair or remove what skipped.parquet lists"
    )


def unread_of(counts: ReadCounts, share: Measure) -> Unread:
    """Build a result's record of unread items from the counts and the unread share."""
    return Unread(
        share=share,
        items=counts.unread + counts.unusable,
        files=counts.unknown,
        bytes=counts.unusable_bytes + counts.unread_bytes + counts.unknown_bytes,
        items_estimated=_guess(counts) if counts.unknown and not counts.unmeasured else None,
        ignored=counts.ignored,
        counted=counts.read + counts.unread,
    )


def of_the_whole_set(answer: Measure, share: Measure) -> Measure:
    """Interval of the synthetic fraction of the whole input; unread items may be real or synthetic.

    The interval is [low (1 − u), high (1 − u) + u], where u is the upper end of the unread share. A point estimate is
    given only if the whole input was read.
    """
    unread = share.high
    low, high = answer.low * (1 - unread), answer.high * (1 - unread) + unread
    if unread == 0:
        return Measure(answer.estimate, low=low, high=high, reason=answer.reason)
    reason = f"up to {100 * unread:.2g} % of the set was not read and may be anything"
    return Measure(math.nan, low=low, high=high, reason=reason)


def check_unread(threshold: Threshold, share: Measure) -> Check:
    """Policy check of the unread share; an unknown share fails if its lower end reaches the limit `fail`."""
    judged = check("unread", threshold, share, reason=None if share.is_known else share.reason)
    if not share.is_known and share.low >= threshold.fail:
        return replace(
            judged,
            status="fail",
            value=share.low,
            reason=f"a share of at least {share.low:.4g} of the input was not read",
        )
    return judged


def heed_unread(judged: Check, threshold: Threshold, share: Measure) -> Check:
    """Policy check of the synthetic fraction, made stricter if unread items could change the status of the check.

    If every unread item were synthetic, the compared number v would become v (1 − u) + u, where u is the upper end of
    the unread share. If the compared number would then cross another threshold, the status becomes `warn`, or
    `undetermined` instead of `fail`.
    """
    unread = share.high
    if judged.value is None or unread == 0:
        return judged
    worst = judged.value * (1 - unread) + unread
    status = status_of(threshold, worst)
    if not worse(status, judged.status):
        return judged
    reason = (
        f"{threshold.compare} {judged.value:.4g} would be {worst:.4g} if all unread items were synthetic: repair what "
        "skipped.parquet lists"
    )
    return replace(judged, status="undetermined" if status == "fail" else status, reason=reason)


def heed_unread_roughly(judged: Check, limits: Threshold, share: Measure) -> Check:
    """Check of a quantity that unread items could change by an unknown amount; many unread items prevent a pass.

    The status becomes `warn` (or `undetermined`) if the upper end of the unread share reaches the warn (or fail) limit
    for unread items. Unread items change the status even if the policy does not require the check of unread items.
    """
    status = status_of(limits, share.high)
    if judged.value is None or not worse(status, judged.status):
        return judged
    reason = f"{judged.reason}; up to {100 * share.high:.2g} % of the set was not read and could change it"
    return replace(judged, status="undetermined" if status == "fail" else status, reason=reason)
