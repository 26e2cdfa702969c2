"""Choice of the items that a person labels in an audited set: a random sample within strata of the scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from auditor.evidence.novelty import NOVEL
from indexes.errors import InputError
from indexes.hashing import sample_keys

__all__ = ["FEWEST_DRAWN", "Draw", "draw_review", "known_answers", "pick", "shuffled"]

FEWEST_DRAWN = 20
_SCORE_STRATA, _NOVEL_STRATA = 4, 2  # at most, of familiar and of novel items
_AT_LEAST = 3  # fewest labels in each stratum
_SMALLEST = 0.02  # share of the set below which a stratum is joined to its neighbour
_REACH, _BINS = 6.0, 24  # largest log odds, and bins, of the histogram by which strata are cut
_TRUST = 0.7  # in scores, when labels are allotted: a stratum's share is assumed to lie between .15 and .85


@dataclass(frozen=True, slots=True)
class Draw:
    """The items drawn for labelling, and the strata of the audited set that these items represent."""

    rows: np.ndarray  # (n,) int64, into the items given, ascending
    strata: np.ndarray  # (n,) int64, stratum of each row
    sizes: np.ndarray  # (H,) int64, items of the set in each stratum


def draw_review(ids: Sequence[str], log_odds: np.ndarray, novelty: np.ndarray, *, n: int, seed: int) -> Draw:
    """Draw n items to label, or all if there are fewer; every item has a positive chance to be drawn.

    Strata are cut from the score histogram (Dalenius & Hodges 1959), separately for familiar and for novel items.
    Labels are allotted to strata by Neyman's rule (1934), with only partial trust in the scores. The scores affect the
    precision of the estimate but do not bias it. The draw is deterministic: it depends only on the arguments.
    """
    if n < FEWEST_DRAWN:
        raise InputError(f"{n} items to label were requested, expected at least {FEWEST_DRAWN}: raise --n")
    strata = _strata(log_odds, novelty)
    sizes = np.bincount(strata)
    doubted = np.where(novelty > NOVEL, 0.5, 0.5 + _TRUST * (special.expit(log_odds) - 0.5))
    shares = np.bincount(strata, weights=doubted) / sizes
    wanted = _allotted(sizes, sizes * np.sqrt(shares * (1 - shares)), n)
    rows = [
        members[pick([ids[int(i)] for i in members], int(k), seed=seed)]
        for members, k in ((np.flatnonzero(strata == h), k) for h, k in enumerate(wanted))
    ]
    chosen = np.sort(np.concatenate(rows))
    return Draw(chosen, strata[chosen], sizes)


def known_answers(n: int) -> int:
    """Number of items of known origin to mix into n drawn items: two fifths of n, at least 20."""
    return max(20, 2 * round(0.2 * n))


def pick(ids: Sequence[str], n: int, *, seed: int) -> np.ndarray:
    """Indices (n,) of a simple random sample of the ids, or of all ids if there are fewer than n."""
    return np.argsort(_keys("review", ids, seed), kind="stable")[:n]


def shuffled(ids: Sequence[str], *, seed: int) -> np.ndarray:
    """Indices that put the ids into random order."""
    return np.argsort(_keys("order", ids, seed), kind="stable")


def _keys(purpose: str, ids: Sequence[str], seed: int) -> np.ndarray:
    return sample_keys([f"{purpose}\n{i}" for i in ids], seed=seed)


def _strata(log_odds: np.ndarray, novelty: np.ndarray) -> np.ndarray:
    """Stratum of each item, (N,) int64 from 0: familiar items by score, then novel ones by score."""
    least = max(2 * _AT_LEAST, round(_SMALLEST * len(log_odds)))
    is_novel = novelty > NOVEL
    if not least <= is_novel.sum() <= len(is_novel) - least:
        return _cut(log_odds, _SCORE_STRATA, least)
    strata = np.empty(len(log_odds), dtype=np.int64)
    strata[~is_novel] = _cut(log_odds[~is_novel], _SCORE_STRATA, least)
    strata[is_novel] = strata[~is_novel].max() + 1 + _cut(log_odds[is_novel], _NOVEL_STRATA, least)
    return strata


def _cut(log_odds: np.ndarray, count: int, least: int) -> np.ndarray:
    """At most `count` strata of at least `least` items, cut at equal steps of the cumulative square-root histogram."""
    bins = np.digitize(log_odds, np.linspace(-_REACH, _REACH, _BINS + 1)[1:-1])
    roots = np.sqrt(np.bincount(bins, minlength=_BINS))
    middle = (np.cumsum(roots) - roots / 2) / roots.sum()
    return _joined(np.floor(middle[bins] * count).astype(np.int64), least)


def _joined(strata: np.ndarray, least: int) -> np.ndarray:
    """Strata renumbered from 0; strata under `least` items are merged into the next, the last into the previous."""
    sizes = np.bincount(strata)
    new = np.zeros(len(sizes), dtype=np.int64)
    group, inside = 0, 0
    for h, size in enumerate(sizes):
        new[h] = group
        inside += size
        if inside >= least:
            group, inside = group + 1, 0
    if inside < least and group > 0:
        new = np.minimum(new, group - 1)
    return new[strata]


def _allotted(sizes: np.ndarray, priority: np.ndarray, n: int) -> np.ndarray:
    """Number of labels per stratum, proportional to `priority` (Sainte-Laguë), from three up to all of its items."""
    given = np.minimum(_AT_LEAST, sizes)
    for _ in range(min(n, int(sizes.sum())) - int(given.sum())):
        quotient = np.where(given < sizes, priority / (given + 0.5), -1.0)
        given[quotient.argmax()] += 1
    return given
