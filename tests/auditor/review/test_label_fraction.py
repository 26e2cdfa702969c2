"""The fraction from labels: exact cases, and coverage and width on simulated labellers."""

import numpy as np
import pytest
from scipy import stats

from auditor.review.label_fraction import ErrorCounts, LabelCounts, estimate_with_labels, tails
from auditor.review.sampling import draw_review
from indexes.errors import InputError

N_LABELS, N_KNOWN = 50, 10  # the defaults of a review: labels, and known answers of either kind


def counts_of(sizes, answered, synthetic, real=(0, 0), generated=(0, 0)) -> LabelCounts:
    return LabelCounts(
        np.array(sizes), np.array(answered), np.array(synthetic), ErrorCounts(*real), ErrorCounts(*generated)
    )  # fmt: skip


def labelled(
    fraction: float, auroc: float, errors: tuple[float, float], rng: np.random.Generator, *, items: int = 1000,
    known: int = N_KNOWN,
) -> LabelCounts:  # fmt: skip
    """A labelled draw from a set of this fraction whose scores (normal, equal variances) have this AUROC."""
    truth = np.arange(items) < round(fraction * items)
    shift = np.sqrt(2) * stats.norm.ppf(auroc)
    log_odds = shift * (rng.standard_normal(items) + shift * truth) - shift**2 / 2
    names = [str(i) for i in range(items)]
    draw = draw_review(names, log_odds, rng.random(items), n=N_LABELS, seed=int(rng.integers(2**31)))
    says = np.where(truth[draw.rows], rng.random(len(draw.rows)) >= errors[1], rng.random(len(draw.rows)) < errors[0])
    h = len(draw.sizes)
    synthetic = np.bincount(draw.strata, weights=says, minlength=h).astype(int)
    wrong = [int(rng.binomial(known, e)) for e in errors]
    return LabelCounts(
        draw.sizes,
        np.bincount(draw.strata, minlength=h),
        synthetic,
        ErrorCounts(known, wrong[0]),
        ErrorCounts(known, wrong[1]),
    )


def coverage(fraction: float, auroc: float, errors: tuple[float, float], draws: int, rng: np.random.Generator) -> float:
    """Share of simulated reviews whose interval holds the truth: those where neither tail rejects it."""
    held = [min(tails(labelled(fraction, auroc, errors, rng), fraction, rng=rng)) > 0.025 for _ in range(draws)]
    return float(np.mean(held))


def width(
    fraction: float, auroc: float, errors: tuple[float, float], rng: np.random.Generator, draws: int = 2
) -> float:
    found = [estimate_with_labels(labelled(fraction, auroc, errors, rng), rng=rng).fraction for _ in range(draws)]
    return float(np.mean([f.high - f.low for f in found]))


# cases with a known answer


def test_one_stratum_without_error_gives_the_exact_binomial_interval(rng: np.random.Generator) -> None:
    """Clopper & Pearson's, for a set so large that drawing without replacement makes no difference."""
    for hits in (0, 5, 20, 40):
        found = estimate_with_labels(counts_of([10**7], [40], [hits]), rng=rng).fraction
        exact = stats.binomtest(hits, 40).proportion_ci(0.95, method="exact")
        assert found.estimate == pytest.approx(hits / 40, abs=1e-6)
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.015)  # of 1000 draws


def test_a_census_without_error_is_known_exactly(rng: np.random.Generator) -> None:
    found = estimate_with_labels(counts_of([30, 20], [30, 20], [3, 18]), rng=rng).fraction
    assert found.estimate == pytest.approx(21 / 50)
    assert found.high - found.low < 4 / 50  # the search stops within two items of either side


def test_perfect_strata_give_an_interval_far_narrower_than_a_plain_sample(rng: np.random.Generator) -> None:
    stratified = estimate_with_labels(counts_of([500, 500], [25, 25], [0, 25]), rng=rng).fraction
    plain = estimate_with_labels(counts_of([1000], [50], [25]), rng=rng).fraction
    assert stratified.estimate == pytest.approx(0.5)
    assert stratified.high - stratified.low < 0.65 * (plain.high - plain.low)


def test_strata_count_by_their_size(rng: np.random.Generator) -> None:
    found = estimate_with_labels(counts_of([900, 100], [20, 20], [2, 18]), rng=rng).fraction
    assert found.estimate == pytest.approx(0.9 * 0.1 + 0.1 * 0.9, abs=1e-6)


def test_the_estimate_is_rogan_and_gladens(rng: np.random.Generator) -> None:
    """(m − e0)/(1 − e0 − e1), many known answers and one stratum."""
    found = estimate_with_labels(counts_of([10**6], [200], [80], (1000, 100), (1000, 200)), rng=rng)
    assert found.fraction.estimate == pytest.approx((0.4 - 0.1) / 0.7, abs=0.002)
    assert (found.error_on_real.estimate, found.error_on_synthetic.estimate) == (0.1, 0.2)


def test_error_rates_come_with_intervals(rng: np.random.Generator) -> None:
    found = estimate_with_labels(counts_of([1000], [50], [10], (10, 0), (10, 3)), rng=rng)
    assert found.error_on_real.low == 0 < found.error_on_real.high < 0.3
    assert 0 < found.error_on_synthetic.low < 0.3 < found.error_on_synthetic.high


def test_labels_by_the_toss_of_a_coin_tell_nothing(rng: np.random.Generator) -> None:
    found = estimate_with_labels(counts_of([1000], [50], [25], (10, 5), (10, 5)), rng=rng).fraction
    assert np.isnan(found.estimate)
    assert (found.low, found.high) == (0, 1)
    assert "no better than chance" in str(found.reason)


def test_fewer_known_answers_widen_the_interval(rng: np.random.Generator) -> None:
    few = estimate_with_labels(counts_of([1000], [50], [15], (10, 1), (10, 1)), rng=rng).fraction
    many = estimate_with_labels(counts_of([1000], [50], [15], (500, 50), (500, 50)), rng=rng).fraction
    assert few.high - few.low > 1.2 * (many.high - many.low)


def test_a_set_that_stands_for_a_larger_one_has_a_wider_interval(rng: np.random.Generator) -> None:
    counts = counts_of([60, 60], [25, 25], [3, 20])
    of_set = estimate_with_labels(counts, rng=np.random.default_rng(1)).fraction
    of_more = estimate_with_labels(counts, rng=np.random.default_rng(1), is_sample=True).fraction
    assert of_more.low < of_set.low
    assert of_more.high > of_set.high


def test_a_stratum_without_an_answer_is_joined_to_its_neighbour(rng: np.random.Generator) -> None:
    pooled = counts_of([10, 20, 30, 40], [0, 5, 0, 6], [0, 1, 0, 2]).pooled()
    assert (pooled.sizes.tolist(), pooled.answered.tolist(), pooled.synthetic.tolist()) == ([60, 40], [5, 6], [1, 2])


def test_the_same_labels_and_seed_give_the_same_answer() -> None:
    counts = counts_of([400, 600], [20, 30], [18, 4], (10, 1), (10, 2))
    first, second = (estimate_with_labels(counts, rng=np.random.default_rng(5)) for _ in range(2))
    assert first == second


def test_strata_of_any_size_are_possible(rng: np.random.Generator) -> None:
    found = estimate_with_labels(counts_of([5 * 10**9, 4], [40, 4], [4, 4]), rng=rng).fraction
    assert 0.02 < found.low < 0.1 < found.high < 0.3


def test_too_few_labels_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="9 items of the set are labelled real or synthetic, expected at least 10"):
        estimate_with_labels(counts_of([100], [9], [1]), rng=rng)


@pytest.mark.parametrize(
    ("answered", "synthetic", "real"),
    [([11], [1], (0, 0)), ([5], [6], (0, 0)), ([5], [-1], (0, 0)), ([5], [1], (2, 3))],
)
def test_counts_that_cannot_be_are_refused(
    answered: list[int], synthetic: list[int], real: tuple[int, int]
) -> None:  # fmt: skip
    with pytest.raises(InputError, match="check the counts"):
        counts_of([10], answered, synthetic, real)


# simulated labellers; tolerances are 2.5 standard errors of the share of draws below .93


@pytest.mark.parametrize(
    ("fraction", "auroc", "error"),
    [(0.0, 0.99, 0.1), (0.25, 0.85, 0.2), (0.5, 0.99, 0.1), (1.0, 0.5, 0.2), (0.05, 0.5, 0)],
)
def test_the_interval_holds_the_truth(fraction: float, auroc: float, error: float, rng: np.random.Generator) -> None:
    assert coverage(fraction, auroc, (error, error), 60, rng) > 0.93 - 2.5 * np.sqrt(0.93 * 0.07 / 60)


@pytest.mark.parametrize(("auroc", "widest"), [(0.99, 0.25), (0.5, 0.5)])
def test_without_error_the_interval_is_narrow_and_with_good_scores_far_more_so(
    auroc: float, widest: float, rng: np.random.Generator
) -> None:
    assert width(0.25, auroc, (0, 0), rng) < widest


@pytest.mark.slow
@pytest.mark.parametrize("errors", [(0, 0), (0.1, 0.1), (0.2, 0.2), (0.1, 0.2), (0.2, 0.1)])
@pytest.mark.parametrize("auroc", [0.99, 0.85, 0.5])
def test_coverage_over_all_fractions(auroc: float, errors: tuple[float, float]) -> None:
    """100 draws each: no case below .93 by more than 3 standard errors, nor all six together by more than one."""
    rng, draws = np.random.default_rng(7), 100
    found = [coverage(f, auroc, errors, draws, rng) for f in (0, 0.05, 0.25, 0.5, 0.75, 1)]
    error = np.sqrt(0.93 * 0.07 / draws)
    assert min(found) > 0.93 - 3 * error
    assert np.mean(found) > 0.93 - error / np.sqrt(6)


@pytest.mark.slow
@pytest.mark.parametrize("fraction", [0, 0.05, 0.25, 0.5, 0.75, 1])
@pytest.mark.parametrize(("auroc", "widest"), [(0.99, 0.25), (0.85, 0.45), (0.5, 0.5)])
def test_width_over_all_fractions(auroc: float, widest: float, fraction: float) -> None:
    assert width(fraction, auroc, (0, 0), np.random.default_rng(8), draws=20) < widest
