"""How many items of an unknown generator may look real, estimated by leaving out each known generator in turn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from auditor.evidence.detector import fit_detector
from indexes.hashing import sample_keys

__all__ = ["NOTHING_LEFT_OUT", "SHARES", "LeftOut", "leave_one_out", "may_hide"]

SHARES = (0.5, 0.7, 0.85, 0.95)  # of the real items that lie below the thresholds
_MOST = 2000  # most items of a component in the fits that leave out a generator
_CONFIDENCE = 0.95  # confidence that the next generator hides no more than estimated
_IMAGINED = 0.85  # share shown by an imagined generator, which counts in addition to the known ones
_SHOWN_ALONE = 0.1  # least share that an unseen generator is assumed to show if only one generator is known
_LEAST_SHOWN = 0.02


@dataclass(frozen=True, slots=True)
class LeftOut:
    """For each generator: the share of its items that looks real to a detector trained without that generator."""

    labels: tuple[str, ...]  # of the generators that were left out in turn; none where the reference has fewer than two
    hidden: np.ndarray  # (K, 4): share of the generator's items below the threshold, over the share of the real ones
    n: np.ndarray  # (K,) items of each

    @property
    def upper(self) -> np.ndarray:
        """The share `hidden` of each generator's items that look real, plus one standard error, (K, 4)."""
        below = np.clip(self.hidden * SHARES, 0, 1)
        error = np.sqrt((below * (1 - below) + 1 / self.n[:, None]) / self.n[:, None])
        upper: np.ndarray = (below + error) / SHARES
        return upper


NOTHING_LEFT_OUT = LeftOut((), np.empty((0, len(SHARES))), np.empty(0, dtype=np.int64))


def leave_one_out(
    vectors: np.ndarray,
    component: np.ndarray,
    digests: np.ndarray,
    labels: Sequence[str],
    generators: Sequence[str],
    *,
    n_real: int,
    seed: int,
    device: str = "cpu",
) -> LeftOut:
    """Train the detector once without each generator, and count how many of that generator's items then look real.

    `component` (n,) numbers the components of `vectors` (n, d), named by `labels` (m + K,): first the `n_real` real
    sources, then the generators. `generators` are left out in turn; simulated stand-ins are neither left out nor used
    for training here. A random sample of at most 2,000 items per component is used.
    """
    if len(generators) < 2:
        return NOTHING_LEFT_OUT
    teachers = [*range(n_real), *(labels.index(generator) for generator in generators)]
    rows = _sampled(component, digests, teachers, seed)
    vectors, digests = vectors[rows], digests[rows]
    component = np.searchsorted(teachers, component[rows])
    hidden, sizes = [], []
    for generator in range(n_real, len(teachers)):
        kept = component != generator
        others = component[kept] - (component[kept] > generator)
        detector, own = fit_detector(vectors[kept], others, digests[kept], n_real=n_real, seed=seed, device=device)
        scores = detector.evidence(vectors[~kept], digests[~kept]).scores
        hidden.append(_hidden_below([own.scores[others == k] for k in range(n_real)], scores))
        sizes.append(len(scores))
    return LeftOut(tuple(generators), np.array(hidden), np.array(sizes))


def _hidden_below(real: Sequence[np.ndarray], scores: np.ndarray) -> list[float]:
    """Share of `scores` below each quantile of real scores, divided by its level; the maximum over real sources."""
    found = []
    for share in SHARES:
        thresholds = [np.quantile(of_source, share) for of_source in real]
        found.append(float((scores <= max(thresholds)).mean()) / share)
    return found


def may_hide(left_out: LeftOut, *, count: int | None = None) -> np.ndarray:
    """Share of an unseen generator's items that may look real at each of 4 thresholds, relative to real items, (4,).

    Let s be the share of a generator's items that does not look real, and E = −log s. Assume that the generators, known
    and unseen, are exchangeable and that E is exponential with an unknown mean. Then E of a new generator exceeds a
    times the largest of K known values with probability E[exp(−a·max)] = K! Γ(1 + a) / Γ(K + 1 + a), the Laplace
    transform of the maximum of K exponentials. The factor a is chosen so that the E of a new generator exceeds a times
    the largest known E with probability one in twenty. A hypothetical generator is added to the known ones; the share
    .85 of its items does not look real. Without the hypothetical generator, K similar generators whose items never look
    real would wrongly suggest that no generator's items look real. With a single known generator, none can be left out,
    so one tenth of an unknown generator's items is assumed not to look real. At the threshold with the share .85 of
    real items below it, this assumption was true for all of 8 pairs of language models and for 22 of 25 pairs of image
    generators. `count` is the number K of known generators; its default is the number of generators left out.
    """
    known = max(1, len(left_out.labels)) if count is None else count
    if known == 1:
        return np.full(len(SHARES), 1 - _SHOWN_ALONE)
    least = np.min([np.full(len(SHARES), _IMAGINED), *(1 - left_out.upper)], axis=0)
    shown = np.clip(least, _LEAST_SHOWN, 1) ** _beyond(known)
    hidden: np.ndarray = 1 - np.maximum(shown, _LEAST_SHOWN)
    return hidden


def _beyond(count: int) -> float:
    """Factor a in `may_hide`: the largest plausible ratio of a new generator's E to the maximum of `count` known E."""

    def surplus(a: float) -> float:
        logs = special.gammaln(count + 1) + special.gammaln(1 + a) - special.gammaln(count + 1 + a)
        return float(logs) - math.log(1 - _CONFIDENCE)

    return float(optimize.brentq(surplus, 0.0, 1 / (1 - _CONFIDENCE)))


def _sampled(component: np.ndarray, digests: np.ndarray, components: Sequence[int], seed: int) -> np.ndarray:
    """Ascending row numbers of at most 2,000 items per component, sampled by a hash of the contents."""
    keys = sample_keys([row.tobytes().hex() for row in digests], seed=seed)
    chosen = [
        members[np.argsort(keys[members], kind="stable")[:_MOST]]
        for members in (np.flatnonzero(component == k) for k in components)
    ]
    return np.sort(np.concatenate(chosen))
