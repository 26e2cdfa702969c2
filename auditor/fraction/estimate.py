"""Synthetic fraction of a set: the share of known generators, tests for unknown content, and the interval."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from auditor.answers import FractionStatus, Power
from auditor.evidence.calibration import Calibration, ScoreCounts
from auditor.fraction.adjusted_count import histogram_mixture, known_fit, probabilistic_adjusted_count
from auditor.fraction.composition import Composition, composition_of
from auditor.fraction.estimator_choice import COUNT, MIXTURE, choose_estimator
from auditor.fraction.goodness_of_fit import fit_p_value
from auditor.fraction.real_side import (
    Anchor,
    anchors_of_contrast,
    anchors_of_counts,
    any_source_limit,
    real_side_bound,
    real_side_estimate,
    real_side_limit,
    smallest_noticed,
    unseen_guard,
)
from auditor.fraction.set_classifier import Contrast
from auditor.fraction.unseen_generators import NOTHING_LEFT_OUT, LeftOut, may_hide
from auditor.statistics.intervals import Measure

__all__ = [
    "MILD_DEPARTURE",
    "MILD_LEVEL",
    "NARROW",
    "REAL_SIDE",
    "FractionEstimate",
    "estimate_fraction",
    "problem_of",
]

REAL_SIDE = "real-side"  # the method of answers that rest on the real side alone

_Contraster = Callable[[np.ndarray], Contrast | None]

_MINIMUM_SEPARATION = 0.25  # total variation below which scores cannot tell real from synthetic
_GATE_LEVEL = 0.975  # level of the separation's lower limit, which must reach the minimum
NARROW = 0.2  # width of an interval up to which an estimate is stated
_FIT_LEVEL = 0.005  # p-value under which the incoming scores are no mixture of the reference's components
_DEPARTURE = 2.8  # classifier test above which something else is there; its standard deviation by chance is about 1.3
MILD_LEVEL, MILD_DEPARTURE = 0.05, 2.0  # something else is there too if both tests cross these limits
_PLAIN_DEPARTURE = 5.0
_RESEMBLANCE = 0.02  # share of the set that looks like stand-ins, above which something else is there
_PROVING = (0.85, 0.95)  # shares of the real items at whose thresholds the real side bounds the low end
_ONLY_SIMULATED = (
    "all generators of the reference are simulated from its real part, so only items that resemble them can be "
    "detected: rebuild the reference with --synthetic LABEL=SRC"
)
_NO_GENERATORS = "the reference holds no synthetic examples: rebuild the reference with --synthetic LABEL=SRC"
_CONTRADICTED = "part of the set is like none of the reference's components, so the two conditions cannot both hold"
_OTHER_SOURCE = (
    "part of the set is like none of the reference's components: under this condition it is from another real source"
)


@dataclass(frozen=True, slots=True)
class FractionEstimate:
    """The share of synthetic items in one set, with intervals, or the reason why this share is unknown.

    The main interval, `low` to `high`, does not assume which generators made the items. An interval under a condition
    is valid only if the condition is true.
    """

    estimate: float  # nan unless determined
    low: float
    high: float
    level: float
    status: FractionStatus
    method: str
    reason: str | None
    by_generator: dict[str, Measure]
    by_source: dict[str, Measure]  # if there are several real sources: shares of the real part, if all of it is theirs
    if_reference_matches: Measure  # every real item comes from the reference's sources
    if_generators_known: Measure  # there is no generator but the known ones
    if_both: Measure
    power: Power
    estimators: dict[str, float]  # point estimates of each method
    fit_p_value: float
    departure: float  # result of this set's classifier test, in standard errors; nan if no classifier could be trained
    separation: float
    n: int

    @property
    def likely(self) -> float:
        """The main estimate, or else the estimate if only known sources and generators occur; nan if neither exists."""
        return self.estimate if math.isfinite(self.estimate) else self.if_both.estimate


def estimate_fraction(
    calibration: Calibration,
    observed: ScoreCounts,
    *,
    rng: np.random.Generator,
    contrast: _Contraster | None = None,
    left_out: LeftOut = NOTHING_LEFT_OUT,
    level: float = 0.95,
    copies: float = 1.0,
    distinct: int | None = None,
    distrust: str | None = None,
    is_sample: bool = False,
    assume_reference_complete: bool = False,
    assume_generators_complete: bool = False,
) -> FractionEstimate:
    """Estimate the fraction of synthetic items among the items counted in `observed`.

    First a mixture of the known sources and generators is fitted to the set's scores. `contrast` is a function that
    takes the fitted mixture's shares (m + K,) and trains a classifier for this set. The classifier and a test of the
    scores show whether the set holds anything besides the known sources and generators. The lower end of the interval
    is the synthetic share proved by a shortfall of items that look confidently real. The upper end of the interval
    allows for an unseen generator whose items look real as often as `left_out` predicts. If the set holds unknown
    content, the lower end of the interval is 0, because that content may come from another real source. Intervals
    include the sampling errors of the incoming scores and of the reference's scores. Intervals are about this set alone
    or, with `is_sample`, about the larger set from which it was drawn. Copies count as one item: `copies` is the design
    effect of copies, and `distinct` the number of distinct items among those examined. `distrust` is a reason why the
    reference's scores are not reliable, or None. With the flag `assume_reference_complete` or
    `assume_generators_complete`, the main estimate and interval are those under that condition.
    """
    n, observed = observed.n, observed.thinned(copies)
    doubts = _doubts(calibration, observed, contrast, left_out, rng=rng, level=level, is_sample=is_sample)
    if distrust is not None:
        answers = replace(_nothing(distrust, n), is_told=False)
    elif doubts.is_untested:
        found = f"{n} items" if distinct in (None, n) else f"{distinct} distinct items (of {n})"
        reason = f"{found}: too few to tell whether the set is like the reference; audit more items together"
        answers = replace(_nothing(reason, n), known=doubts.known, both=doubts.known)
    elif doubts.outside:
        answers = _outside(doubts, level)
    elif doubts.problem is not None:
        answers = _nothing(doubts.problem, n)
        if doubts.problem == _ONLY_SIMULATED:
            low = _guarded(doubts, level).low
            answers = replace(answers, matches=replace(answers.matches, low=low))
    else:
        guarded = _guarded(doubts, level)
        answers = _Answers(guarded, guarded, doubts.known, doubts.known)
    declared = (assume_reference_complete, assume_generators_complete)
    return _estimate(doubts, calibration, answers, answers.given(*declared), level=level, n=n)


@dataclass(frozen=True, slots=True)
class _Answers:
    """Synthetic fraction of a set without any assumption, and under each of three assumptions."""

    stated: Measure
    matches: Measure  # if all real items come from the reference's sources
    known: Measure  # if there is no generator but the known ones
    both: Measure
    is_bounds: bool = False  # whether something lies outside of what trusted generators and real items explain
    is_told: bool = True  # whether the scores are trusted

    def given(self, matches: bool, known: bool) -> Measure:
        """The synthetic fraction under the conditions that the user declared."""
        if matches:
            return self.both if known else self.matches
        return self.known if known else self.stated


def _nothing(reason: str, n: int) -> _Answers:
    nothing = Measure(math.nan, low=0.0, high=1.0, n=n, reason=reason)
    return _Answers(nothing, nothing, nothing, nothing)


@dataclass(frozen=True, slots=True)
class _Doubts:
    """Fit of a mixture of known sources and generators to the set, and the evidence against this mixture."""

    known: Measure
    method: str  # method of the estimate in `known`
    estimators: dict[str, float]  # point estimates of each method
    composition: Composition
    fit_p_value: float
    departure: float  # nan where no classifier could be trained
    by_score: Mapping[float, Anchor]  # anchors of the reference's own detector
    anchors: Mapping[float, Anchor]  # anchors of this set's classifier; without a classifier, `by_score`
    problem: str | None  # why the known fit tells nothing; None if it does
    is_untested: bool  # whether a classifier was requested but there were too few items to train it
    has_trusted: bool  # whether the reference knows a generator that is no stand-in
    resembles: float  # smallest share of the set that stand-ins explain

    @property
    def has_known(self) -> bool:
        """Whether the reference holds any generator, including stand-ins."""
        return len(self.composition.synthetic) > 0

    @property
    def outside(self) -> bool:
        """Whether part of the set is unlike both the reference's real items and its known generators."""
        jointly = self.fit_p_value < MILD_LEVEL and self.departure > MILD_DEPARTURE
        stand_in = self.has_trusted and self.resembles > _RESEMBLANCE
        return stand_in or jointly or self.fit_p_value < _FIT_LEVEL or self.departure > _DEPARTURE

    @property
    def plainly(self) -> bool:
        """Whether the evidence against the fit of known generators is strong enough to ignore that fit."""
        return self.problem is not None or self.fit_p_value < _FIT_LEVEL or self.departure > _PLAIN_DEPARTURE


def _doubts(
    calibration: Calibration,
    observed: ScoreCounts,
    contraster: _Contraster | None,
    left_out: LeftOut,
    *,
    rng: np.random.Generator,
    level: float,
    is_sample: bool,
) -> _Doubts:
    composition = composition_of(calibration, observed, rng=rng)
    known, p_value, method = Measure(math.nan, low=0.0, high=1.0, n=observed.n), math.nan, COUNT
    by_score: dict[float, Anchor] = {}
    hidden = may_hide(left_out)
    problem = problem_of(calibration)
    if calibration.n_generators:
        known = known_fit(calibration, observed, composition, level=level, is_sample=is_sample)
        p_value = fit_p_value(calibration, observed, composition, rng=rng)
        problem = known.reason or problem
        by_score = anchors_of_counts(calibration, observed, composition, hidden, sampling=float(is_sample))
    count, fraction = known.estimate, 0.0 if math.isnan(known.estimate) else known.estimate
    contrast = None if contraster is None else contraster(composition.shares(fraction))
    anchors = by_score
    if contrast is not None:
        unused = max(0.0, 1 - contrast.effective_n / observed.n)
        anchors = anchors_of_contrast(contrast, composition, hidden, sampling=1.0 if is_sample else unused)
    if problem is None:
        method = choose_estimator(calibration, composition, observed.n, rng=rng)
        known = known if method == COUNT else _with_value(known, histogram_mixture(calibration, observed, composition))
    departure = math.nan if contrast is None else contrast.departure
    estimators = _estimators(calibration, observed, composition, count) if calibration.n_generators else {}
    if anchors:
        estimators[REAL_SIDE] = real_side_estimate(anchors)
    of_stand_ins = composition.synthetic_draws @ calibration.is_simulated
    return _Doubts(
        known=known,
        method=method,
        estimators=estimators,
        composition=composition,
        fit_p_value=p_value,
        departure=departure,
        by_score=by_score,
        anchors=anchors,
        problem=problem,
        is_untested=contraster is not None and contrast is None,
        has_trusted=bool((~calibration.is_simulated).any()),
        resembles=known.low * float(np.quantile(of_stand_ins, (1 - level) / 2)),
    )


def _estimators(
    calibration: Calibration, observed: ScoreCounts, composition: Composition, count: float
) -> dict[str, float]:
    """Point estimates, by method, of the share of the set that known generators made."""
    return {
        "adjusted-count": probabilistic_adjusted_count(calibration, observed, composition),
        MIXTURE: histogram_mixture(calibration, observed, composition),
        COUNT: count,
    }


def _with_value(measure: Measure, value: float) -> Measure:
    """Copy of a measure with another point estimate; the interval is widened to include the new estimate."""
    return replace(measure, estimate=value, low=min(measure.low, value), high=max(measure.high, value))


def problem_of(calibration: Calibration) -> str | None:
    """Why a reference with these scores cannot determine the fraction of any set; None if no reason is known."""
    if calibration.n_generators == 0:
        return _NO_GENERATORS
    return _hardly_separates(calibration) or (_ONLY_SIMULATED if calibration.is_simulated.all() else None)


def _hardly_separates(calibration: Calibration) -> str | None:
    low = calibration.separation_low(level=_GATE_LEVEL)
    if low >= _MINIMUM_SEPARATION:
        return None
    return (
        f"the encoder's scores hardly separate the reference's real items from its synthetic ones (total variation "
        f"{calibration.separation:.2f}, its lower limit {low:.2f}, expected {_MINIMUM_SEPARATION} or more): try "
        "another encoder, or add items to the reference"
    )


def _guarded(doubts: _Doubts, level: float) -> Measure:
    """Synthetic fraction fitted with known generators; the interval is widened for generators that the reference lacks.

    The upper end of the interval is at least the mean of two upper limits: one from the reference's detector, one from
    this set's classifier. The mean of two upper limits of normal estimates is an upper limit at the same level, even if
    the estimates are correlated. The lower end of the interval is at most the synthetic share proved by a shortfall of
    items that look confidently real. Without this cap, an unseen generator whose items score higher than those of known
    generators would raise the lower end of the interval too far.
    """
    known = doubts.known
    if not doubts.by_score or math.isnan(known.estimate):
        return known
    guard = (unseen_guard(doubts.by_score, level=level) + unseen_guard(doubts.anchors, level=level)) / 2
    z = float(stats.norm.ppf(1 - (1 - level) / 2 / len(_PROVING)))
    proven = max(doubts.by_score[q].lower(z) for q in _PROVING)
    return replace(known, low=max(0.0, min(known.low, proven)), high=max(known.high, guard))


def _outside(doubts: _Doubts, level: float) -> _Answers:
    """Bounds of the synthetic fraction from the shortfall of items that look confidently real.

    If the evidence against the fit of known generators is mild, the bounds are widened by the interval of that fit.
    Real items from a source outside the reference may look more real than the reference's own items. If a real source
    outside the reference is possible, `any_source_limit` gives the upper bound.
    """
    n, reason = doubts.known.n, _what_is_outside(doubts)
    value, low = real_side_estimate(doubts.anchors), real_side_bound(doubts.anchors, level=level)
    high = real_side_limit(doubts.anchors, level=level) if doubts.has_trusted else 1.0
    if not doubts.plainly:
        guarded = _guarded(doubts, level)
        value = (value + real_side_estimate(doubts.by_score)) / 2
        low = min(low, guarded.low, real_side_bound(doubts.by_score, level=level))
        high = max(high, guarded.high)
    value = float(np.clip(value, 0, 1))
    matches = Measure(value, low=min(low, value), high=max(high, value), n=n)
    problem = doubts.problem
    if not doubts.has_trusted:
        nothing = Measure(math.nan, low=0.0, high=1.0, n=n, reason=problem or _NO_GENERATORS)
        return _Answers(nothing, matches, nothing, replace(matches, estimate=math.nan, reason=_CONTRADICTED))
    stated_high = max(matches.high, any_source_limit(doubts.by_score, level=level, allow_unseen=True))
    of_known = any_source_limit(doubts.by_score, level=level, allow_unseen=False)
    known_high = min(stated_high, max(doubts.known.high, of_known)) if problem is None else stated_high
    high = min(matches.high, known_high)
    return _Answers(
        stated=Measure(math.nan, low=0.0, high=stated_high, n=n, reason=reason),
        matches=matches,
        known=Measure(math.nan, low=0.0, high=known_high, n=n, reason=problem or _OTHER_SOURCE),
        both=Measure(math.nan, low=min(matches.low, high), high=high, n=n, reason=_CONTRADICTED),
        is_bounds=True,
    )


def _estimate(
    doubts: _Doubts, calibration: Calibration, answers: _Answers, stated: Measure, *, level: float, n: int
) -> FractionEstimate:
    """Complete record of the synthetic fraction; a point estimate is given only if its interval is narrow."""
    labels, m, composition = calibration.labels, calibration.n_real, doubts.composition
    is_narrow = math.isfinite(stated.estimate) and stated.high - stated.low <= NARROW
    is_bounded = stated.high - stated.low < 1
    is_known_fit = math.isfinite(stated.estimate) and not doubts.outside
    is_told = answers.is_told and doubts.problem is None
    by_generator, by_source = {}, {}
    if is_known_fit:
        by_generator = _shares_of(labels[m:], stated, composition.synthetic, composition.synthetic_draws, level)
    if m > 1:
        whole = Measure(1.0, low=1.0, high=1.0, n=n)
        by_source = _shares_of(labels[:m], whole, composition.real, composition.real_draws, level)
    noticed, hiding = smallest_noticed(doubts.by_score, level=level) if is_told else (1.0, 1.0)
    return FractionEstimate(
        estimate=stated.estimate if is_narrow else math.nan,
        low=stated.low,
        high=stated.high,
        level=level,
        status="determined" if is_narrow else "bounds" if is_bounded or answers.is_bounds else "undetermined",
        method=doubts.method if is_known_fit else REAL_SIDE if is_bounded else "none",
        reason=None if is_narrow else stated.reason or _why_wide(doubts, stated, level),
        by_generator=by_generator,
        by_source=by_source,
        if_reference_matches=replace(answers.matches, n=n),
        if_generators_known=replace(answers.known, n=n),
        if_both=replace(answers.both, n=n),
        power=Power(smallest_noticed=noticed, may_hide=hiding),
        estimators=doubts.estimators,
        fit_p_value=doubts.fit_p_value,
        departure=doubts.departure,
        separation=calibration.separation,
        n=n,
    )


def _why_wide(doubts: _Doubts, stated: Measure, level: float) -> str:
    """Why the interval is wide although no test found unknown content in the set."""
    _, hidden = smallest_noticed(doubts.by_score, level=level)
    if stated.high * (1 - hidden) - stated.low > NARROW or stated.high <= doubts.known.high:
        return f"{stated.n} items leave the interval wide: audit more items together"
    return (
        f"a generator that the reference lacks may hide up to {100 * hidden:.0f} % of its items among the real ones; "
        f"without such a generator, the estimate is {doubts.known.estimate:.2g}"
    )


def _what_is_outside(doubts: _Doubts) -> str:
    known = "neither real items nor known generators" if doubts.has_known else "none of the real items"
    tests = [f"test of fit p = {doubts.fit_p_value:.2g}"] if doubts.fit_p_value < MILD_LEVEL else []
    if doubts.departure > MILD_DEPARTURE:
        tests.append(f"classifier test {doubts.departure:.1f} standard errors, expected below {_DEPARTURE}")
    if doubts.has_trusted and doubts.resembles > _RESEMBLANCE:
        known = "simulated stand-ins and no known generator"
        tests.append(f"share {doubts.resembles:.2f} or more")
    return (
        f"part of the set is like {known} of the reference ({', '.join(tests)}): an unseen generator or another real "
        "source is present, which cannot be told apart without labels (madaudit review)"
    )


def _shares_of(
    labels: tuple[str, ...], side: Measure, weights: np.ndarray, draws: np.ndarray, level: float
) -> dict[str, Measure]:
    """Each component's share of the set: its weight within the real or synthetic part times the share of that part.

    The lower end of the result is the product of the lower ends of the weight's and the part's intervals, and likewise
    for the upper end.
    """
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return {
        label: Measure(side.estimate * w, low=side.low * min(lo, w), high=side.high * max(hi, w), n=side.n)
        for label, w, lo, hi in zip(labels, weights, low, high, strict=True)
    }
