"""Estimate the synthetic fraction of simulated sets as an audit does; summarise error, coverage and interval width."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, get_args

import numpy as np
from scipy import stats

from auditor.answers import FractionStatus
from auditor.evaluation.protocols import Draw, Items, Pair, Scenario, draws_of
from auditor.evidence.calibration import Calibration, calibration_of, count_scores
from auditor.evidence.detector import Detector, component_labels, fit_detector
from auditor.evidence.near_duplicates import copy_groups, design_effect
from auditor.fraction.estimate import FractionEstimate, estimate_fraction
from auditor.fraction.set_classifier import Contrast, contrast_with
from auditor.fraction.unseen_generators import LeftOut, leave_one_out
from auditor.policy import Policy, Status, check
from auditor.records import Number
from auditor.statistics.intervals import Measure
from indexes.device import compute_threads

__all__ = [
    "Accuracy",
    "EvaluatedDraw",
    "FittedReference",
    "Mapper",
    "Summary",
    "estimate_draw",
    "evaluate_draw",
    "evaluate_reference",
    "fit_reference",
    "holds",
    "is_open",
    "mean_of",
    "share_of",
    "status_of_answer",
    "status_of_estimate",
    "summarise",
]

_THRESHOLD = Policy().synthetic_fraction
_ROUNDING = 1e-9  # an interval may miss the true fraction by this much

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


class Mapper(Protocol):
    """Applies a function to each of several values, in order, like the built-in `map`; may use other processes."""

    def __call__(self, work: Callable[[_Given], _Made], values: Iterable[_Given], /) -> Iterable[_Made]:
        """Results of the function `work`, in the order of the values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedReference:
    """The parts of a built reference that are needed to estimate a synthetic fraction."""

    component: np.ndarray  # (n,) number of each item's component, the real sources first
    vectors: np.ndarray  # (n, d)
    detector: Detector
    calibration: Calibration
    left_out: LeftOut
    nearest: np.ndarray  # (n,) ascending: distance of each item to the nearest other item


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedDraw:
    """The estimated fractions of one simulated set, and its true fraction."""

    pair: Pair
    n: int  # requested number of items in the set
    prevalence: float  # requested synthetic fraction
    truth: float  # synthetic fraction of the set
    status: FractionStatus
    stated: Measure
    if_reference_matches: Measure
    if_generators_known: Measure
    verdict: Status  # of the default policy's check of the fraction
    separation: float  # total variation between real and synthetic scores of the reference
    departure: Number
    fit_p_value: Number
    smallest_noticed: float
    may_hide: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Accuracy of one kind of estimate over several simulated sets."""

    coverage: Measure  # share of the intervals that contain the true fraction
    error: Measure  # mean absolute error, over the sets with an estimate
    width: Measure  # mean width of the interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Accuracy of the estimates over several simulated sets; the intervals of shares come from `share_of`."""

    draws: int
    status: Mapping[FractionStatus, Measure]  # share of the sets with this status
    stated: Accuracy
    coverage_if_determined: Measure  # coverage of the stated intervals, over the sets with status determined
    if_reference_matches: Accuracy
    if_generators_known: Accuracy
    let_through: Measure  # share of pass or warn, over the sets whose true fraction reaches the default policy's `fail`
    clean_failed: Measure  # share of fail, over the sets without synthetic items
    clean_cleared: Measure  # share of pass or warn, over the sets without synthetic items
    separation: Measure  # mean
    may_hide: Measure  # mean


def fit_reference(draw: Draw) -> FittedReference:
    """Fit the reference of a simulated set in the same way as a reference build."""
    vectors, digests = np.concatenate(draw.components), np.concatenate(draw.component_digests)
    component = component_labels([len(part) for part in draw.components])
    detector, own = fit_detector(vectors, component, digests, n_real=draw.n_real, seed=draw.seed)
    return FittedReference(
        component=component,
        vectors=vectors,
        detector=detector,
        calibration=calibration_of(own, component, draw.labels, effects=detector.effects),
        left_out=leave_one_out(
            vectors, component, digests, draw.labels, draw.pair.known, n_real=draw.n_real, seed=draw.seed
        ),
        nearest=np.sort(own.nearest.min(1)),
    )


def estimate_draw(draw: Draw, fitted: FittedReference, *, complete: bool = False) -> FractionEstimate:
    """Estimate the synthetic fraction of a simulated set with the functions that an audit uses.

    `complete` declares that the reference knows every generator.
    """
    detector = fitted.detector
    observed = count_scores(detector.evidence(draw.incoming, draw.incoming_digests), fitted.calibration.edges)
    near = copy_groups(draw.incoming, beside=fitted.vectors)

    def contrast(shares: np.ndarray) -> Contrast:
        folds = [detector.folds[fitted.component == k] for k in range(len(draw.components))]
        return contrast_with(
            draw.components, draw.incoming, shares, n_real=draw.n_real, seed=draw.seed, folds=folds,
            effects=detector.effects, groups=near,
        )  # fmt: skip

    return estimate_fraction(
        fitted.calibration, observed, rng=np.random.default_rng(draw.seed), contrast=contrast,
        left_out=fitted.left_out, copies=design_effect(np.bincount(near)), assume_generators_complete=complete,
    )  # fmt: skip


def evaluate_draw(draw: Draw, fitted: FittedReference, *, complete: bool = False) -> EvaluatedDraw:
    """Estimate the synthetic fraction of a simulated set, and return the estimates with the true fraction."""
    found = estimate_draw(draw, fitted, complete=complete)
    return EvaluatedDraw(
        pair=draw.pair,
        n=draw.n,
        prevalence=draw.prevalence,
        truth=draw.truth,
        status=found.status,
        stated=Measure(found.estimate, low=found.low, high=found.high, n=found.n, reason=found.reason),
        if_reference_matches=found.if_reference_matches,
        if_generators_known=found.if_generators_known,
        verdict=status_of_estimate(found),
        separation=found.separation,
        departure=found.departure,
        fit_p_value=found.fit_p_value,
        smallest_noticed=found.power.smallest_noticed,
        may_hide=found.power.may_hide,
    )


def evaluate_reference(scenario: Scenario, items: Items, number: int, *, name: str) -> tuple[EvaluatedDraw, ...]:
    """Evaluate, on one thread, all simulated sets of a scenario that use the reference with the given number.

    See `draws_of` for `number` and `name`. Raises InputError if a component of the reference has too few items.
    """
    with compute_threads(1):
        draws = draws_of(scenario, items, number, name=name)
        if not draws:
            return ()
        fitted = fit_reference(draws[0])
        return tuple(evaluate_draw(draw, fitted, complete=scenario.complete) for draw in draws)


def status_of_estimate(found: FractionEstimate) -> Status:
    """Status that the default policy's check of the synthetic fraction gives to an estimate."""
    reason = found.reason if found.status == "undetermined" else None
    stated = Measure(found.estimate, low=found.low, high=found.high)
    return status_of_answer(stated, reason=reason, otherwise=found.if_both)


def status_of_answer(answer: Measure, *, reason: str | None = None, otherwise: Measure | None = None) -> Status:
    """Status that the default policy's fraction check gives to an answer; see `auditor.policy.check` for arguments."""
    return check("synthetic_fraction", _THRESHOLD, answer, reason=reason, otherwise=otherwise).status


def is_open(status: Status) -> bool:
    """Whether a set with this status is accepted: true for pass and warn."""
    return status in ("pass", "warn")


def holds(answer: Measure, truth: float, *, slack: float = _ROUNDING) -> bool:
    """Whether the interval contains the true fraction, with a tolerance of `slack` at both ends."""
    return answer.low <= truth + slack and truth <= answer.high + slack


def share_of(hits: Iterable[bool], *, level: float = 0.95) -> Measure:
    """Share of true values among `hits`, with its interval (Clopper & Pearson 1934); nan if `hits` is empty.

    The interval assumes that the simulated sets are independent. Sets that share a reference or items are not
    independent, and the interval is then too narrow.
    """
    found = np.fromiter(hits, dtype=bool)
    if len(found) == 0:
        return Measure(np.nan, n=0, reason="there is no simulated set of this kind")
    limits = stats.binomtest(int(found.sum()), len(found)).proportion_ci(level, method="exact")
    return Measure(float(found.mean()), low=float(limits.low), high=float(limits.high), n=len(found))


def mean_of(values: Sequence[float] | np.ndarray) -> Measure:
    """Mean of the finite values, without an interval; nan if no value is finite."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if len(known) == 0:
        return Measure(np.nan, n=0, reason="this value is unknown for all simulated sets")
    return Measure(float(known.mean()), n=len(known))


def summarise(draws: Sequence[EvaluatedDraw]) -> Summary:
    """Summarise coverage, error, interval width and verdicts over the given simulated sets."""
    clean = [draw.verdict for draw in draws if draw.truth == 0]
    return Summary(
        draws=len(draws),
        status={status: share_of(draw.status == status for draw in draws) for status in get_args(FractionStatus)},
        stated=_accuracy([(draw.stated, draw.truth) for draw in draws]),
        coverage_if_determined=share_of(
            holds(draw.stated, draw.truth) for draw in draws if draw.status == "determined"
        ),
        if_reference_matches=_accuracy([(draw.if_reference_matches, draw.truth) for draw in draws]),
        if_generators_known=_accuracy([(draw.if_generators_known, draw.truth) for draw in draws]),
        let_through=share_of(is_open(draw.verdict) for draw in draws if draw.truth >= _THRESHOLD.fail),
        clean_failed=share_of(verdict == "fail" for verdict in clean),
        clean_cleared=share_of(is_open(verdict) for verdict in clean),
        separation=mean_of([draw.separation for draw in draws]),
        may_hide=mean_of([draw.may_hide for draw in draws]),
    )


def _accuracy(answers: Sequence[tuple[Measure, float]]) -> Accuracy:
    return Accuracy(
        coverage=share_of(holds(answer, truth) for answer, truth in answers),
        error=mean_of([abs(answer.estimate - truth) for answer, truth in answers]),
        width=mean_of([answer.high - answer.low for answer, _ in answers]),
    )
