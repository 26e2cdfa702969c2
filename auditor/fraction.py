"""The synthetic fraction of a set: what known generators explain, whether anything else is there, and the answer."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from auditor.anchor import (
    Anchor,
    anchors_of_contrast,
    anchors_of_counts,
    real_side_bound,
    real_side_estimate,
    real_side_limit,
    unseen_guard,
)
from auditor.calibration import Calibration, ScoreCounts
from auditor.choice import COUNT, MIXTURE, choose_estimator
from auditor.composition import Composition, composition_of
from auditor.contrast import Contrast
from auditor.goodness import fit_p_value
from auditor.intervals import Measure
from auditor.known_fit import histogram_mixture, known_fit, probabilistic_adjusted_count

__all__ = ["REAL_SIDE", "FractionEstimate", "estimate_fraction", "problem_of"]

REAL_SIDE = "real-side"  # the method of answers that rest on the real side alone

_Contraster = Callable[[np.ndarray], Contrast | None]

_MINIMUM_SEPARATION = 0.25  # total variation below which scores cannot tell real from synthetic
_FIT_LEVEL = 0.005  # p-value under which the incoming scores are no mixture of the reference's components
_DEPARTURE = 2.8  # of the classifier test, above which something else is there; by chance its deviation is about 1.3
_MILD_LEVEL, _MILD_DEPARTURE = 0.05, 2.0  # both of which together say the same
_BLIND = 0.8  # of a known generator's items below the median real score: that classifier, being linear, says nothing
_PLAIN_DEPARTURE = 5.0
_HELD_BACK = 0.05  # by which the lower end may follow the real side
_RESEMBLANCE = 0.02  # share that looks like stand-ins for generators from which something else is there
_ONLY_SIMULATED = (
    "the reference's generators are all simulated from its real part: they show what resembles them and bound nothing "
    "else; rebuild it with --synthetic LABEL=SRC"
)
_NO_GENERATORS = "the reference holds no synthetic examples: rebuild it with --synthetic LABEL=SRC"


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
    by_source: dict[str, Measure]  # of several real sources: shares within the real part, if all of it is theirs
    if_reference_matches: Measure  # given that every real item comes from the reference's sources
    estimators: dict[str, float]  # point estimates of each method
    fit_p_value: float
    departure: float  # of this set's classifier test, in standard errors; nan where none could be trained
    separation: float
    n: int


def estimate_fraction(
    calibration: Calibration,
    observed: ScoreCounts,
    *,
    rng: np.random.Generator,
    contrast: _Contraster | None = None,
    level: float = 0.95,
    copies: float = 1.0,
    distinct: int | None = None,
    distrust: str | None = None,
    is_sample: bool = False,
    assume_reference_complete: bool = False,
    assume_generators_complete: bool = False,
) -> FractionEstimate:
    """The fraction of synthetic items among the items counted in `observed`.

    First the known generators are fitted. `contrast` trains a classifier for this very set, given the fitted mixture's
    shares (m + K,); it and a test of the scores say whether anything else is there. If not, the answer is that fit, its
    interval widened by what could go unnoticed. If so, it is bounds: between 0 and what the real side leaves; should
    all real items come from the reference's sources, an interval that no generator's score enters. Intervals account
    for the incoming scores and the reference's own; they concern this set and no larger one unless `is_sample`. Copies
    of an item tell no more than one: `copies` is their design effect, `distinct` how many items there are without them,
    at most as many as were looked at. `distrust` is a reason why the reference's scores are not to be believed.
    """
    n, observed = observed.n, observed.thinned(copies)
    doubts = _doubts(calibration, observed, contrast, rng=rng, level=level, is_sample=is_sample)
    answer = replace(_answer(doubts, calibration, observed, level), n=n)
    if distrust is not None:
        return _undetermined(answer, distrust, Measure(math.nan, 0.0, 1.0, n, reason=distrust))
    if doubts.is_untested and not (assume_reference_complete and assume_generators_complete):
        found = f"{n} items" if distinct in (None, n) else f"{distinct} distinct items (of {n})"
        reason = f"{found}: too few to tell whether the set is like the reference at all; audit more together"
        known = doubts.known if assume_generators_complete else Measure(math.nan, 0.0, 1.0, n, reason=reason)
        return _undetermined(answer, reason, known)
    if doubts.outside:
        bounds = _bounded(answer, doubts, level)
        if assume_reference_complete and assume_generators_complete:
            return replace(bounds, reason=f"{bounds.reason}; both were declared to be absent")
        if assume_reference_complete:
            return _declared_complete(bounds)
        if not doubts.has_trusted:
            return _undetermined(bounds, doubts.problem or _NO_GENERATORS, bounds.if_reference_matches)
        return bounds
    if doubts.problem is not None:
        low = answer.low if doubts.problem == _ONLY_SIMULATED else 0.0
        return _undetermined(answer, doubts.problem, Measure(math.nan, low, 1.0, observed.n, reason=doubts.problem))
    if assume_generators_complete:
        return replace(answer, low=doubts.known.low, high=doubts.known.high, if_reference_matches=doubts.known)
    return answer


@dataclass(frozen=True, slots=True)
class _Doubts:
    """The fit of the known generators, and all that speaks against it."""

    known: Measure
    method: str  # of its estimate
    count: float  # the estimate by corrected count
    composition: Composition
    fit_p_value: float
    departure: float  # nan where no classifier could be trained
    by_score: Mapping[float, Anchor]  # of the reference's own detector
    anchors: Mapping[float, Anchor]  # of this set's classifier; else the same
    problem: str | None  # why the known fit tells nothing
    is_untested: bool  # whether a classifier was wanted and there were too few items for it
    has_trusted: bool  # whether the reference knows a generator that is no stand-in
    resembles: float  # share of the set that stand-ins explain at least

    @property
    def has_known(self) -> bool:
        """Whether the reference holds any generator, be it a stand-in."""
        return len(self.composition.synthetic) > 0

    @property
    def outside(self) -> bool:
        """Whether something in the set is neither like the real items nor like the known generators."""
        jointly = self.fit_p_value < _MILD_LEVEL and self.departure > _MILD_DEPARTURE
        stand_in = self.has_trusted and self.resembles > _RESEMBLANCE
        return stand_in or jointly or self.fit_p_value < _FIT_LEVEL or self.departure > _DEPARTURE

    @property
    def plainly(self) -> bool:
        """Whether that is beyond the doubt in which the known fit deserves a hearing."""
        return self.problem is not None or self.fit_p_value < _FIT_LEVEL or self.departure > _PLAIN_DEPARTURE


def _doubts(
    calibration: Calibration,
    observed: ScoreCounts,
    contraster: _Contraster | None,
    *,
    rng: np.random.Generator,
    level: float,
    is_sample: bool,
) -> _Doubts:
    composition = composition_of(calibration, observed, rng=rng)
    known, p_value, method = Measure(math.nan, 0.0, 1.0, observed.n), math.nan, COUNT
    by_score: dict[float, Anchor] = {}
    problem = problem_of(calibration)
    if calibration.n_generators:
        known = known_fit(calibration, observed, composition, level=level, is_sample=is_sample)
        p_value = fit_p_value(calibration, observed, composition, rng=rng)
        problem = known.reason or problem_of(calibration)
        by_score = anchors_of_counts(calibration, observed, composition, sampling=float(is_sample))
    count, fraction = known.value, 0.0 if math.isnan(known.value) else known.value
    contrast = None if contraster is None else contraster(composition.shares(fraction))
    anchors = by_score
    if contrast is not None:
        left_out = max(0.0, 1 - contrast.effective_n / observed.n)
        anchors = anchors_of_contrast(contrast, composition, sampling=1.0 if is_sample else left_out)
    if problem is None:
        method = choose_estimator(calibration, composition, observed.n, rng=rng)
        known = known if method == COUNT else _with_value(known, histogram_mixture(calibration, observed, composition))
    departure = math.nan if contrast is None else contrast.departure
    of_stand_ins = composition.synthetic_draws @ calibration.is_simulated
    return _Doubts(
        known=known,
        method=method,
        count=count,
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


def _with_value(measure: Measure, value: float) -> Measure:
    """Another point estimate under the same interval, which grows to hold it."""
    return replace(measure, value=value, low=min(measure.low, value), high=max(measure.high, value))


def problem_of(calibration: Calibration) -> str | None:
    """Why no set can be determined by a reference with these scores; None if there is no such reason."""
    if calibration.n_generators == 0:
        return _NO_GENERATORS
    return _hardly_separates(calibration) or (_ONLY_SIMULATED if calibration.is_simulated.all() else None)


def _hardly_separates(calibration: Calibration) -> str | None:
    if calibration.separation >= _MINIMUM_SEPARATION:
        return None
    return (
        f"the encoder's scores hardly separate the reference's real items from its synthetic ones (total variation "
        f"{calibration.separation:.2f}, expected {_MINIMUM_SEPARATION} or more): try another encoder"
    )


def _answer(doubts: _Doubts, calibration: Calibration, observed: ScoreCounts, level: float) -> FractionEstimate:
    """The answer if the known generators are all there is, with an interval for what could go unnoticed."""
    known, composition, m = doubts.known, doubts.composition, calibration.n_real
    estimators, by_generator, by_source = {}, {}, {}
    if doubts.has_known:
        by_generator = _shares_of(
            calibration.labels[m:], known, composition.synthetic, composition.synthetic_draws, level
        )
        estimators = {
            "adjusted-count": probabilistic_adjusted_count(calibration, observed, composition),
            MIXTURE: histogram_mixture(calibration, observed, composition),
            COUNT: doubts.count,
        }
    if doubts.anchors:
        estimators["real-side"] = real_side_estimate(doubts.anchors)
    if m > 1:
        whole = Measure(1.0, 1.0, 1.0, observed.n)
        by_source = _shares_of(calibration.labels[:m], whole, composition.real, composition.real_draws, level)
    guarded = _guarded(doubts, level)
    return FractionEstimate(
        estimate=known.value,
        low=guarded.low,
        high=guarded.high,
        level=level,
        status="determined",
        method=doubts.method,
        reason=None,
        by_generator=by_generator,
        by_source=by_source,
        if_reference_matches=guarded,
        estimators=estimators,
        fit_p_value=doubts.fit_p_value,
        departure=doubts.departure,
        separation=calibration.separation,
        n=observed.n,
    )


def _guarded(doubts: _Doubts, level: float) -> Measure:
    """The known fit, its upper end no lower than the guard for unseen generators and its lower end held back.

    The guard is of the reference's detector and of this set's classifier: what the first never saw may look real to it.
    An unseen generator that scores as more synthetic than the known ones, or a few foreign real items, raise the
    estimate: where the real side alone proves less, the lower end follows it by up to `_HELD_BACK`.
    """
    known = doubts.known
    if not doubts.by_score or math.isnan(known.value):
        return known
    guard = unseen_guard(doubts.by_score, level=level)
    if max(doubts.anchors[0.5].hidden) < _BLIND:
        guard = max(guard, unseen_guard(doubts.anchors, level=level))
    z = float(stats.norm.ppf((1 + level) / 2))
    proven = max(doubts.by_score[q].lower(z) for q in (0.85, 0.95))
    low = max(0.0, known.low - _HELD_BACK, min(known.low, proven))
    return replace(known, low=low, high=max(known.high, guard))


def _bounded(answer: FractionEstimate, doubts: _Doubts, level: float) -> FractionEstimate:
    """Bounds by the real side; while the evidence against the known fit is mild, its interval stays inside them."""
    value, low = real_side_estimate(doubts.anchors), real_side_bound(doubts.anchors, level=level)
    high = real_side_limit(doubts.anchors, level=level) if doubts.has_trusted else 1.0
    if not doubts.plainly:
        value = (value + real_side_estimate(doubts.by_score)) / 2
        low = min(low, answer.low, real_side_bound(doubts.by_score, level=level))
        high = max(high, answer.high)
    value = float(np.clip(value, 0, 1))
    low, high = min(low, value), max(high, value)
    return replace(
        answer,
        estimate=math.nan,
        low=0.0,
        high=high,
        status="bounds",
        method=REAL_SIDE,
        reason=_what_is_outside(doubts),
        by_generator={},
        if_reference_matches=Measure(value, low, high, answer.n),
    )


def _what_is_outside(doubts: _Doubts) -> str:
    known = "neither real items nor known generators" if doubts.has_known else "none of the real items"
    tests = [f"test of fit p = {doubts.fit_p_value:.2g}"] if doubts.fit_p_value < _MILD_LEVEL else []
    if doubts.departure > _MILD_DEPARTURE:
        tests.append(f"departure {doubts.departure:.1f}, by chance under {_DEPARTURE}")
    if doubts.has_trusted and doubts.resembles > _RESEMBLANCE:
        known = "simulated stand-ins and no known generator"
        tests.append(f"share {doubts.resembles:.2f} or more")
    return (
        f"part of the set is like {known} of the reference ({', '.join(tests)}): an unseen generator or another real "
        "source is present, which cannot be told apart without labels (madaudit review)"
    )


def _declared_complete(answer: FractionEstimate) -> FractionEstimate:
    """What holds if all real items come from the reference's sources, as the user declares."""
    conditional = answer.if_reference_matches
    return replace(
        answer,
        estimate=conditional.value,
        low=conditional.low,
        high=conditional.high,
        status="determined",
        reason="an unseen generator is present; all real items are declared to come from the reference's sources",
    )


def _undetermined(answer: FractionEstimate, reason: str, conditional: Measure) -> FractionEstimate:
    """No estimate, beyond what holds if all real items come from the reference's sources."""
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


def _shares_of(
    labels: tuple[str, ...], side: Measure, weights: np.ndarray, draws: np.ndarray, level: float
) -> dict[str, Measure]:
    """Each component's share of the set: its weight times its side's, both ends moved against it."""
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return {
        label: Measure(side.value * w, side.low * min(lo, w), side.high * max(hi, w), side.n)
        for label, w, lo, hi in zip(labels, weights, low, high, strict=True)
    }
