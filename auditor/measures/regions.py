"""Regions of the reference that a set lacks, or shows too rarely or too often."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy import stats

from auditor.answers import Region
from auditor.statistics.intervals import wilson_interval

Status = Literal["missing", "under", "over"]

__all__ = ["FALSE_DISCOVERY_RATE", "regions_of"]

FALSE_DISCOVERY_RATE = 0.05
_MISSING = 0.1  # a region with less than this share of its expected items is missing


def regions_of(
    counts: np.ndarray,
    real_counts: np.ndarray,
    *,
    copies: float = 1.0,
    examples: Callable[[int], tuple[tuple[str, ...], tuple[str, ...]]],
    level: float,
) -> tuple[Region, ...]:
    """The regions whose share of the set differs from their share of the real items, largest difference first.

    `counts` and `real_counts` (K,) are the numbers of the set's items and of held-out real items in each region.
    `examples` gives the ids of typical real items and of typical items of the set in a region. `copies` is the design
    effect of near copies in the set. Each region is tested by Fisher's exact test (1935), and the false-discovery rate
    over all regions is .05 (Benjamini and Hochberg 1995). If the set is a second real sample, the probability that any
    region is named is at most .05.
    """
    n, m = counts.sum() / copies, real_counts.sum()
    p_values = _fisher(np.round(counts / copies), real_counts)
    named = np.flatnonzero(stats.false_discovery_control(p_values) <= FALSE_DISCOVERY_RATE)
    found = []
    for region in named:
        share, real_share = counts[region] / counts.sum(), real_counts[region] / m
        low, high = wilson_interval(counts[region] / copies, n, level=level)
        status: Status = "over" if share > real_share else "missing" if share < _MISSING * real_share else "under"
        of_real, of_set = examples(int(region))
        found.append(
            Region(
                region=int(region),
                status=status,
                share_reference=float(real_share),
                share_set=float(share),
                low=float(low),
                high=float(high),
                p_value=float(p_values[region]),
                examples_reference=of_real,
                examples_set=of_set,
            )
        )
    return tuple(sorted(found, key=lambda region: (-abs(region.share_set - region.share_reference), region.region)))


def _fisher(counts: np.ndarray, real_counts: np.ndarray) -> np.ndarray:
    """Two-sided p-values (K,): twice the smaller one-sided p-value of Fisher's exact test, at most 1."""
    n, m = counts.sum(), real_counts.sum()
    together = stats.hypergeom(n + m, n, counts + real_counts)  # of a region's items, how many are the set's
    return np.minimum(1.0, 2 * np.minimum(together.cdf(counts), together.sf(counts - 1)))
