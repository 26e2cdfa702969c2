"""The synthetic fraction of a set: corrected counts, a histogram mixture, and an interval from both sides' counts."""

import math
from dataclasses import dataclass, replace

import numpy as np

from auditor.anchor import real_side_bound, unseen_guard
from auditor.calibration import Calibration, ScoreCounts
from auditor.goodness import fit_p_value
from auditor.intervals import Measure
from auditor.known_fit import generator_weights, histogram_mixture, known_fit, probabilistic_adjusted_count

__all__ = ["FractionEstimate", "estimate_fraction"]

MINIMUM_SEPARATION = 0.25  # total variation below which scores cannot tell real from synthetic
FIT_LEVEL = 0.005  # p-value under which the incoming scores are no mixture of the reference's components


@dataclass(frozen=True, slots=True)
class FractionEstimate:
    """The synthetic fraction among the items of one set, or why it cannot be told."""

    estimate: float  # nan unless determined
    low: float
    high: float
    level: float
    status: str  # determined | bounds | undetermined
    method: str
    reason: str | None
    by_generator: dict[str, Measure]
    if_reference_matches: Measure  # given that every real item comes from the reference's sources
    estimators: dict[str, float]  # point estimates of each method
    fit_p_value: float
    separation: float
    n: int


def estimate_fraction(
    calibration: Calibration,
    observed: ScoreCounts,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    is_sample: bool = False,
    assume_reference_complete: bool = False,
    assume_generators_complete: bool = False,
) -> FractionEstimate:
    """The fraction of synthetic items among the items counted in `observed`.

    The interval accounts for the incoming scores and for the reference's own. It concerns this set and no larger
    population unless `is_sample`. Its upper end allows for an unseen generator, unless the generators are declared
    complete; scores that are no mixture of the reference's components make the answer undetermined. Costs the same at
    any n.
    """
    if len(calibration.components) == 1:
        return _no_generators(observed.n, level)
    weights, weight_draws = generator_weights(calibration, observed, rng=rng)
    known = known_fit(calibration, observed, weights, weight_draws, level=level, is_sample=is_sample)
    guarded = known
    if not assume_generators_complete:
        guarded = replace(
            known, high=max(known.high, unseen_guard(calibration, observed, level=level, is_sample=is_sample))
        )
    answer = FractionEstimate(
        estimate=known.value,
        low=guarded.low,
        high=guarded.high,
        level=level,
        status="determined",
        method="score-weighted-count",
        reason=None,
        by_generator=_by_generator(calibration.labels[1:], known, weights, weight_draws, level),
        if_reference_matches=guarded,
        estimators={
            "adjusted-count": probabilistic_adjusted_count(calibration, observed, weights),
            "histogram-mixture": histogram_mixture(calibration, observed, weights),
            "score-weighted-count": known.value,
        },
        fit_p_value=fit_p_value(calibration, observed, weights, rng=rng),
        separation=calibration.separation,
        n=observed.n,
    )
    return _withheld_where_unsure(answer, known, calibration, observed, assume_reference_complete)


def _withheld_where_unsure(
    answer: FractionEstimate,
    known: Measure,
    calibration: Calibration,
    observed: ScoreCounts,
    assume_reference_complete: bool,
) -> FractionEstimate:
    """The answer, unless the scores do not separate, the generators score as real, or the fit is rejected."""
    if calibration.separation < MINIMUM_SEPARATION:
        reason = (
            f"the encoder's scores hardly separate the reference's real items from its synthetic ones (total "
            f"variation {calibration.separation:.2f}, expected {MINIMUM_SEPARATION} or more): try another encoder"
        )
        return _withheld(answer, reason, Measure(math.nan, 0.0, 1.0, observed.n, reason=reason))
    if known.reason is not None:
        return _withheld(answer, known.reason, known)
    if answer.fit_p_value < FIT_LEVEL:
        reason = (
            f"the scores are no mixture of the reference's components (p = {answer.fit_p_value:.3g}): an unseen "
            "generator or another real source is present, and without labels the two cannot be told apart"
        )
        bound = real_side_bound(calibration, observed, level=answer.level)
        conditional = Measure(math.nan, bound, 1.0, observed.n, reason="known generators do not explain these scores")
        withheld = _withheld(answer, reason, conditional)
        if not assume_reference_complete:
            return withheld
        return replace(withheld, low=bound, status="bounds", method="real-side-bound")
    return answer


def _no_generators(n: int, level: float) -> FractionEstimate:
    reason = "the reference holds no synthetic examples: rebuild it with --synthetic LABEL=SRC"
    nothing = Measure(math.nan, 0.0, 1.0, n, reason=reason)
    return FractionEstimate(
        math.nan, 0.0, 1.0, level, "undetermined", "none", reason, {}, nothing, {}, math.nan, 0.0, n
    )  # fmt: skip


def _withheld(answer: FractionEstimate, reason: str, conditional: Measure) -> FractionEstimate:
    """The answer with nothing told but the reason and what holds if the reference matches."""
    return replace(
        answer,
        estimate=math.nan,
        low=0.0,
        high=1.0,
        status="undetermined",
        method="none",
        reason=reason,
        by_generator={},
        if_reference_matches=conditional,
    )


def _by_generator(
    labels: tuple[str, ...], known: Measure, weights: np.ndarray, draws: np.ndarray, level: float
) -> dict[str, Measure]:
    """Each generator's share of the whole set: its weight times the fraction, both ends moved against it."""
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return {
        label: Measure(
            known.value * w, known.low * min(lo, w), known.high * max(hi, w), known.n
        )
        for label, w, lo, hi in zip(labels, weights, low, high, strict=True)
    }  # fmt: skip
