"""What a reference can detect, computed before any audit, and what to add to the reference to improve it."""

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
    """Separation and real-looking share of each generator, and what audits of 200, 1,000 and 10,000 items can detect.

    `smallest_noticed` is the smallest share of a set that an unseen generator must have made to be detected with
    probability .8, if the share `may_hide` of its items looks real. `clean_high` is the value below which the upper end
    of the fraction's interval stays for four in five sets without synthetic items. `clean_verdict` is the default
    policy's verdict on a set whose interval has the upper end `clean_high`. The numbers `smallest_noticed`, `may_hide`
    and `clean_high` are 1 if the reference can detect nothing.
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
    """Total variation, with interval, between each generator and the real source most like it, keyed by generator."""
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
    """Shortfalls in an unlucky set of n real items; four in five such sets have a smaller upper end of the interval."""
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
    """Advice on what to add to the reference, with the effect on a clean set of 1,000 items if it can be computed."""

    def high(generators: int, n_real: int) -> float:
        return unseen_guard(_of_clean_set(may_hide(left_out, count=max(1, generators)), _TYPICAL, n_real), level=level)

    n_real, n_generators = _n_real(calibration), int((~calibration.is_simulated).sum())
    added, now = [], high(n_generators, n_real)
    if n_generators < _ENOUGH_GENERATORS:
        missing = _ENOUGH_GENERATORS - n_generators
        added.append(
            f"{missing} more generator{'s' if missing > 1 else ''} with at least 300 items each: the upper end of the "
            f"synthetic fraction of a clean set of {_TYPICAL} items falls from {now:.2f} to "
            f"{high(_ENOUGH_GENERATORS, n_real):.2f}, if items of the new generators look real no more often than "
            "those of a known generator that is left out (otherwise, intervals correctly become wider)"
        )
    added += [
        f"more generators similar to {label}: when left out, {100 * hidden[0]:.0f} % of its items looked real"
        for label, hidden in zip(left_out.labels, left_out.hidden, strict=True)
        if hidden[0] > _WORST
    ]
    more = high(n_generators, 4 * n_real)
    if now - more >= _WORTHWHILE:
        added.append(
            f"more real items: with {4 * n_real} real items, the upper end of the synthetic fraction of a clean set of "
            f"{_TYPICAL} items falls from {now:.2f} to {more:.2f}"
        )
    return added
