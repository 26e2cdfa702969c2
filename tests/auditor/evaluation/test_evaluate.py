"""Scores of draws: compared with an audit, a hand-made list, and the beta quantiles of Clopper and Pearson."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

import auditor
from auditor.answers import FractionStatus
from auditor.evaluation import (
    EvaluatedDraw,
    Items,
    Pair,
    Scenario,
    draws_of,
    estimate_draw,
    evaluate_reference,
    fit_reference,
    holds,
    mean_of,
    share_of,
    status_of_answer,
    status_of_estimate,
    summarise,
)
from auditor.policy import Status
from auditor.records import read_record, record_document
from auditor.reference.component import encode_part
from auditor.statistics.intervals import Measure
from indexes.encoders import load_encoder
from indexes.sources.memory import source_of_array

PAIR = Pair("real", ("a", "b"), "a")


def scenario(**changes) -> Scenario:
    return Scenario("A test.", (PAIR,), **{"reference": 60, "sizes": (60,), "prevalences": (0.0, 0.25), **changes})


@pytest.fixture(scope="module")
def items() -> Items:
    """Two generators on either side of the real items, which overlap a little with both."""
    rng, sizes = np.random.default_rng(0), {"real": (180, 0.0), "a": (160, 3.0), "b": (160, -3.0)}
    vectors = np.concatenate([rng.normal(size=(n, 5)) + shift * np.eye(5)[0] for n, shift in sizes.values()])
    vectors = vectors.astype(np.float32)
    part = encode_part("all", [source_of_array(vectors)], [load_encoder("embeddings")], batch_size=256, threads=1)
    return Items(vectors, part.digests, np.repeat(list(sizes), [n for n, _ in sizes.values()]))


@pytest.fixture(scope="module")
def evaluated(items: Items) -> tuple[EvaluatedDraw, ...]:
    return evaluate_reference(scenario(), items, 0, name="x")


def draw(
    truth: float,
    stated: tuple[float, float, float],
    *,
    status: FractionStatus = "determined",
    verdict: Status = "pass",
    known: tuple[float, float, float] = (math.nan, 0.0, 1.0),
) -> EvaluatedDraw:
    """A draw with made-up answers (estimate, low, high)."""
    answers = [Measure(e, low=low, high=high) for e, low, high in (stated, known)]
    return EvaluatedDraw(
        pair=PAIR, n=100, prevalence=truth, truth=truth, status=status, stated=answers[0],
        if_reference_matches=answers[0], if_generators_known=answers[1], verdict=verdict, separation=0.5,
        departure=math.nan, fit_p_value=0.5, smallest_noticed=0.1, may_hide=0.2,
    )  # fmt: skip


MADE_UP = [
    draw(0.0, (0.01, 0.0, 0.04)),
    draw(0.0, (0.1, 0.05, 0.15), verdict="fail"),  # misses the truth
    draw(0.3, (math.nan, 0.1, 0.9), status="bounds", verdict="undetermined", known=(0.35, 0.3, 0.4)),
    draw(0.3, (0.1, 0.05, 0.15), verdict="warn", known=(0.2, 0.1, 0.25)),  # misses, and is let through
]


# the estimate


def test_a_draw_is_estimated_as_an_audit_of_the_same_items_is(items: Items) -> None:
    drawn = draws_of(scenario(prevalences=(0.25,)), items, 1, name="x")[0]
    real, *generators = drawn.components
    reference = auditor.build_reference(
        real=real, synthetic=dict(zip(PAIR.known, generators, strict=True)), encoder="embeddings", seed=drawn.seed
    )
    audited = auditor.audit(drawn.incoming, reference, seed=drawn.seed).synthetic_fraction
    found = estimate_draw(drawn, fit_reference(drawn))
    assert (found.status, found.separation) == (audited.status, audited.separation)
    for here, there in [
        (found.low, audited.low),
        (found.high, audited.high),
        (found.if_generators_known.estimate, audited.if_generators_known.estimate),
        (found.if_reference_matches.high, audited.if_reference_matches.high),
    ]:
        assert here == pytest.approx(there, abs=1e-6)


def test_every_draw_of_a_reference_is_evaluated_beside_its_truth(evaluated: tuple[EvaluatedDraw, ...]) -> None:
    assert [(each.pair, each.n, each.prevalence, each.truth) for each in evaluated] == [
        (PAIR, 60, 0.0, 0.0), (PAIR, 60, 0.25, 0.25),
    ]  # fmt: skip
    assert all(holds(each.stated, each.truth) for each in evaluated)


def test_the_same_reference_is_evaluated_alike_again(items: Items, evaluated: tuple[EvaluatedDraw, ...]) -> None:
    again = evaluate_reference(scenario(), items, 0, name="x")
    assert [record_document(each) for each in again] == [record_document(each) for each in evaluated]


def test_a_declaration_narrows_the_stated_interval(items: Items) -> None:
    drawn = draws_of(scenario(prevalences=(0.25,)), items, 0, name="x")[0]
    fitted = fit_reference(drawn)
    found, declared = (estimate_draw(drawn, fitted, complete=complete) for complete in (False, True))
    assert declared.high - declared.low < found.high - found.low
    assert declared.low == found.if_generators_known.low


def test_a_scenario_whose_sets_are_all_left_out_has_no_draws(items: Items) -> None:
    assert evaluate_reference(scenario(sizes=(5000,)), items, 0, name="x") == ()


def test_an_evaluated_draw_comes_back_from_its_document() -> None:
    document = record_document(MADE_UP[2])
    assert document["stated"]["estimate"] is None
    assert record_document(read_record(EvaluatedDraw, document, where="here")) == document


# the status


@pytest.mark.parametrize(
    ("interval", "status"),
    [((0.0, 0.01), "pass"), ((0.0, 0.06), "warn"), ((0.0, 0.5), "undetermined"), ((0.25, 0.5), "fail")],
)
def test_the_status_of_an_answer_is_that_of_the_default_policy(interval: tuple[float, float], status: Status) -> None:
    assert status_of_answer(Measure(math.nan, low=interval[0], high=interval[1])) == status


def test_an_undetermined_estimate_is_undetermined(items: Items) -> None:
    real_only = Scenario("None.", (Pair("real", (), "a"),), reference=80, sizes=(60,), prevalences=(0.0,))
    drawn = draws_of(real_only, items, 0, name="x")[0]
    assert status_of_estimate(estimate_draw(drawn, fit_reference(drawn))) == "undetermined"


# the scores


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (7, 7), (1, 1), (3, 10), (57, 60)])
@pytest.mark.parametrize("level", [0.95, 0.8])
def test_the_limits_of_a_share_are_quantiles_of_beta_distributions(hits: int, n: int, level: float) -> None:
    found, tail = share_of([True] * hits + [False] * (n - hits), level=level), (1 - level) / 2
    low = stats.beta.ppf(tail, hits, n - hits + 1) if hits else 0.0
    high = stats.beta.ppf(1 - tail, hits + 1, n - hits) if hits < n else 1.0
    assert (found.estimate, found.n) == (hits / n, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize("measure", [share_of([]), mean_of([]), mean_of([math.nan])])
def test_nothing_to_count_is_not_a_number_and_says_why(measure: Measure) -> None:
    assert not measure.is_known
    assert (measure.n, bool(measure.reason)) == (0, True)


def test_a_mean_is_of_the_numbers_that_are_known() -> None:
    assert mean_of([1.0, math.nan, 2.0]) == mean_of([1.0, 2.0])
    assert (mean_of([1.0, 2.0]).estimate, mean_of([1.0, 2.0]).n) == (1.5, 2)


@pytest.mark.parametrize(
    ("truth", "slack", "is_held"), [(0.1, 0.0, True), (0.3, 0.0, True), (0.31, 0.0, False), (0.31, 0.02, True)]
)
def test_an_interval_holds_its_ends_and_what_lies_between(truth: float, slack: float, is_held: bool) -> None:
    assert holds(Measure(0.2, low=0.1, high=0.3), truth, slack=slack) is is_held


def shares(draws: Sequence[EvaluatedDraw]) -> list[tuple[float, int | None]]:
    found = summarise(draws)
    measures = (
        found.stated.coverage, found.coverage_if_determined, found.let_through, found.clean_failed,
        found.clean_cleared, *(found.status[name] for name in ("determined", "bounds", "undetermined")),
    )  # fmt: skip
    return [(measure.estimate, measure.n) for measure in measures]


def test_a_summary_of_a_hand_made_list_counts_what_stands_there() -> None:
    assert shares(MADE_UP) == [(0.5, 4), (1 / 3, 3), (0.5, 2), (0.5, 2), (0.5, 2), (0.75, 4), (0.25, 4), (0.0, 4)]


def test_errors_and_widths_of_a_hand_made_list_are_means() -> None:
    found = summarise(MADE_UP)
    assert found.stated.error.estimate == pytest.approx((0.01 + 0.1 + 0.2) / 3)
    assert (found.stated.error.n, found.stated.width.n) == (3, 4)
    assert found.stated.width.estimate == pytest.approx((0.04 + 0.1 + 0.8 + 0.1) / 4)
    assert found.if_generators_known.error.estimate == pytest.approx((0.05 + 0.1) / 2)
    assert found.if_generators_known.coverage.estimate == 0.75
    assert (found.draws, found.separation.estimate, found.may_hide.estimate) == (4, 0.5, pytest.approx(0.2))
