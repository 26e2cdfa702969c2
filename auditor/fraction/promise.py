"""What a reference can promise before any audit, and what to add to improve it."""

import math

import numpy as np
from scipy import stats

from auditor.answers import Promise, PromiseForSize
from auditor.evidence.calibration import Calibration
from auditor.fraction.estimate import problem_of
from auditor.fraction.real_side import Anchor, smallest_noticed, unseen_guard
from auditor.fraction.unseen_generators import SHARES, LeftOut, may_hide
from auditor.policy import Policy, status_of
from auditor.statistics.intervals import Measure

__all__ = ["SIZES", "promise_of"]

SIZES = (200, 1000, 10_000)  # sizes of sets for which the promise is stated
_ENOUGH_GENERATORS = 3
_WORST = 0.5  # share that a left-out generator hides, above which others of its kind are advised
_WORTHWHILE = 0.02  # more real items are advised only if they lower the high end of a clean set by this much
_LUCK = 0.5  # standard errors: the tightest of three bounds exceeds its expectation by that many in one set of five
_NOTHING = PromiseForSize(smallest_noticed=1.0, may_hide=1.0, clean_high=1.0, clean_verdict="undetermined")
_TYPICAL = 1000  # items of the set by which additions are judged


def promise_of(
    calibration: Calibration, left_out: LeftOut, *, level: float = 0.95, distrust: str | None = None
) -> Promise:
    """Each generator's separation, the share it hides when left out, and what sets of 200, 1,000 and 10,000 items show.

    `smallest_noticed`: the share of an unseen generator that is noticed with probability .8, if the share `may_hide` of
    its items looks real. `clean_high`: four in five sets without synthetic items get a lower high end. `clean_verdict`:
    the verdict of the default policy on `clean_high`. All three numbers are 1 if nothing can be said.
    """
    hidden, tells = may_hide(left_out), distrust is None and problem_of(calibration) is None
    at = {str(n): _at(calibration, hidden, n, level) if tells else _NOTHING for n in SIZES}
    return Promise(
        separation=_separation(calibration, level),
        left_out={
            label: {f"{share:g}": round(float(value), 4) for share, value in zip(SHARES, shares, strict=True)}
            for label, shares in zip(left_out.labels, left_out.hidden, strict=True)
        },
        may_hide={f"{share:g}": round(float(value), 4) for share, value in zip(SHARES, hidden, strict=True)},
        at=at,
        add=tuple(_additions(calibration, left_out, level)) if tells or not calibration.n_generators else (),
    )


def _separation(calibration: Calibration, level: float) -> dict[str, Measure]:
    """Generator → total variation, with its interval, from the real source that the generator resembles most."""
    z = float(stats.norm.ppf((1 + level) / 2))
    found = {}
    for k, label in enumerate(calibration.labels[calibration.n_real :]):
        worst = int(calibration.separations[:, k].argmin())
        value, error = float(calibration.separations[worst, k]), float(calibration.separation_errors[worst, k])
        low, high = max(0.0, value - z * error), min(1.0, value + z * error)
        found[label] = Measure(round(value, 4), low=round(low, 4), high=round(high, 4))
    return found


def _at(calibration: Calibration, hidden: np.ndarray, n: int, level: float) -> PromiseForSize:
    anchors = _of_clean_set(hidden, n, _n_real(calibration))
    noticed, hiding = smallest_noticed(anchors, level=level)
    high = unseen_guard(anchors, level=level)
    status = status_of(Policy().synthetic_fraction, high)
    return PromiseForSize(
        smallest_noticed=round(noticed, 4),
        may_hide=round(hiding, 4),
        clean_high=round(high, 4),
        clean_verdict="undetermined" if status == "fail" else status,
    )


def _of_clean_set(hidden: np.ndarray, n: int, n_real: int) -> dict[float, Anchor]:
    """Anchors of a set of n real items with bad luck: four in five such sets get a lower upper end."""
    return {
        share: Anchor(
            share=share,
            left=1 - _LUCK * math.sqrt((1 - share) / share * (1 / n + 1 / n_real)),
            hidden=(),
            unseen=float(unseen),
            mean_hidden=0.0,
            n=n,
            n_real=n_real,
            sampling=0.0,
        )
        for share, unseen in zip(SHARES, hidden, strict=True)
    }


def _n_real(calibration: Calibration) -> int:
    return int(calibration.sizes[: calibration.n_real].sum())


def _additions(calibration: Calibration, left_out: LeftOut, level: float) -> list[str]:
    """Advice on what to add to the reference; where it can be computed, the effect on a clean set of 1,000 items."""

    def high(generators: int, n_real: int) -> float:
        return unseen_guard(_of_clean_set(may_hide(left_out, count=max(1, generators)), _TYPICAL, n_real), level=level)

    n_real, n_generators = _n_real(calibration), int((~calibration.is_simulated).sum())
    added, now = [], high(n_generators, n_real)
    if n_generators < _ENOUGH_GENERATORS:
        missing = _ENOUGH_GENERATORS - n_generators
        added.append(
            f"{missing} more generator{'s' if missing > 1 else ''}, 300 items or more of each: the high end of a clean "
            f"set of {_TYPICAL} falls from {now:.2f} to {high(_ENOUGH_GENERATORS, n_real):.2f} if they hide no more "
            "than the known ones when left out (if they hide more, intervals become wider, and rightly so)"
        )
    added += [
        f"other generators of the kind of {label}: when left out, it hid {100 * hidden[0]:.0f} % of its items"
        for label, hidden in zip(left_out.labels, left_out.hidden, strict=True)
        if hidden[0] > _WORST
    ]
    more = high(n_generators, 4 * n_real)
    if now - more >= _WORTHWHILE:
        added.append(
            f"real items: with {4 * n_real} of them the high end of a clean set of {_TYPICAL} falls from {now:.2f} to "
            f"{more:.2f}"
        )
    return added
