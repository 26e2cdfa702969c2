"""The synthetic fraction on scores drawn from known laws: coverage, bias, the test of fit and its refusals."""

import math

import numpy as np
import pytest
from scipy import special, stats

from auditor.evidence.calibration import ScoreCounts, calibration_of, count_scores
from auditor.evidence.detector import Evidence
from auditor.fraction import goodness_of_fit as goodness
from auditor.fraction.adjusted_count import histogram_mixture, probabilistic_adjusted_count
from auditor.fraction.composition import Composition, composition_of
from auditor.fraction.estimate import estimate_fraction, problem_of
from auditor.fraction.goodness_of_fit import fit_p_value
from auditor.fraction.unseen_generators import LeftOut
from auditor.statistics.moments import Moments

ONE = Composition(np.ones(1), np.ones(1), np.ones((2, 1)), np.ones((2, 1)), np.zeros(2))


def evidence_of(posteriors):
    return Evidence(posteriors, np.zeros(posteriors.shape, dtype=np.float32))


def drawn(sizes, separation, rng):
    """Exact posteriors of items around the corners of a simplex: the real ones at 0, generator k at separation·eₖ."""
    centres = np.concatenate([np.zeros((1, len(sizes) - 1)), separation * np.eye(len(sizes) - 1)])
    rows = np.repeat(centres, sizes, axis=0) + rng.normal(size=(sum(sizes), len(sizes) - 1))
    return special.softmax(-((rows[:, None] - centres) ** 2).sum(2) / 2, axis=1)


def reference(sizes, separation, rng):
    labels = ("real", *(f"g{k}" for k in range(1, len(sizes))))
    return calibration_of(evidence_of(drawn(sizes, separation, rng)), np.repeat(range(len(sizes)), sizes), labels)


def incoming(calibration, sizes, separation, rng, foreign=None):
    """Counts of a set with so many items of each component, and items whose scores are `foreign`."""
    posteriors = drawn(sizes, separation, rng)
    if foreign is not None:
        synthetic = special.expit(foreign)
        posteriors = np.concatenate([posteriors, np.stack([1 - synthetic, synthetic], axis=1)])
    return count_scores(evidence_of(posteriors), calibration.edges)


def sizes_of(shares, n):
    synthetic = [round(n * share) for share in shares[1:]]
    return [n - sum(synthetic), *synthetic]


def simulated(reference_sizes, separation, n, shares, draws, rng):
    """Estimates of a fraction drawn `draws` times with a fresh reference each time, and the true fraction."""
    sizes = sizes_of(shares, n)
    found = []
    for _ in range(draws):
        calibration = reference(reference_sizes, separation, rng)
        observed = incoming(calibration, sizes, separation, rng)
        found.append(estimate_fraction(calibration, observed, rng=rng, assume_generators_complete=True))
    return found, sum(sizes[1:]) / n


@pytest.fixture
def unrejected(monkeypatch):
    """With one draw the test of fit cannot reject: every interval is seen, and in a tenth of the time."""
    monkeypatch.setattr(goodness, "_FIT_DRAWS", 1)


def coverage(found, truth):
    return np.mean([e.low - 1e-9 <= truth <= e.high + 1e-9 for e in found])


@pytest.mark.usefixtures("unrejected")
@pytest.mark.parametrize("fraction", [0.0, 0.02, 0.3, 1.0])
@pytest.mark.parametrize("separation", [1.0, 2.5, 8.0])
def test_the_interval_holds_the_truth(separation, fraction, rng):
    found, truth = simulated((300, 300), separation, 1000, (1 - fraction, fraction), 300, rng)
    assert coverage(found, truth) >= 0.92  # nominal 0.95; standard error 0.0126


@pytest.mark.slow
@pytest.mark.usefixtures("unrejected")
@pytest.mark.parametrize("n", [200, 1000, 20_000])
@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("separation", [1.0, 2.5, 4.0, 8.0])
@pytest.mark.parametrize("sizes", [(100, 100), (100, 5000), (5000, 100), (2000, 2000)])
def test_the_interval_holds_the_truth_over_a_wide_grid(sizes, separation, fraction, n, rng):
    found, truth = simulated(sizes, separation, n, (1 - fraction, fraction), 500, rng)
    assert coverage(found, truth) >= 0.9  # standard error 0.01; the least of 192 cases


@pytest.mark.usefixtures("unrejected")
@pytest.mark.parametrize(("sizes", "fraction"), [((100, 5000), 0.0), ((5000, 100), 0.3), ((5000, 100), 1.0)])
def test_an_uneven_reference_still_holds_the_truth(sizes, fraction, rng):
    found, truth = simulated(sizes, 4.0, 1000, (1 - fraction, fraction), 200, rng)
    assert coverage(found, truth) >= 0.9  # standard error 0.015


@pytest.mark.usefixtures("unrejected")
@pytest.mark.parametrize(("n", "fraction"), [(5, 0.0), (5, 1.0), (5, 0.4), (1, 0.0), (1, 1.0)])
def test_a_tiny_set_still_holds_the_truth(n, fraction, rng):
    found, truth = simulated((300, 300), 2.5, n, (1 - fraction, fraction), 200, rng)
    assert coverage(found, truth) >= 0.9


@pytest.mark.usefixtures("unrejected")
def test_the_estimate_is_unbiased_inside_the_unit_interval(rng):
    found, truth = simulated((500, 500), 2.0, 1000, (0.7, 0.3), 200, rng)
    estimates = np.array([e.if_both.estimate for e in found])
    assert abs(estimates.mean() - truth) < 0.005  # its standard deviation is about 0.02


@pytest.mark.usefixtures("unrejected")
def test_the_interval_narrows_with_the_set_and_with_the_reference(rng):
    def width(sizes, n):
        return np.mean([e.high - e.low for e in simulated(sizes, 2.0, n, (0.7, 0.3), 10, rng)[0]])

    assert width((300, 300), 100) > 1.3 * width((300, 300), 2000) > 1.3 * 1.3 * width((5000, 5000), 2000)


@pytest.mark.usefixtures("unrejected")
@pytest.mark.parametrize("shares", [(1.0, 0.0, 0.0), (0.8, 0.2, 0.0), (0.0, 0.5, 0.5)])
@pytest.mark.parametrize("separation", [2.5, 6.0])
def test_with_two_generators_the_interval_and_their_shares_hold_the_truth(separation, shares, rng):
    found, truth = simulated((300, 300, 300), separation, 500, shares, 60, rng)
    assert coverage(found, truth) >= 0.86  # standard error 0.028
    for label, share in zip(("g1", "g2"), shares[1:], strict=True):
        assert coverage([e.by_generator[label] for e in found], share) >= 0.86


def test_with_three_generators_the_shares_add_to_the_fraction(rng):
    calibration = reference((300, 200, 200, 200), 4.0, rng)
    found = estimate_fraction(calibration, incoming(calibration, (500, 300, 0, 200), 4.0, rng), rng=rng)
    assert found.if_both.estimate == pytest.approx(0.5, abs=0.04)  # its standard deviation is about 0.01
    assert sum(m.estimate for m in found.by_generator.values()) == pytest.approx(found.if_both.estimate)
    assert found.by_generator["g2"].estimate < 0.03


def test_generator_weights_find_the_composition(rng):
    calibration = reference((2000, 2000, 2000), 3.0, rng)
    found = composition_of(calibration, incoming(calibration, (5000, 4000, 1000), 3.0, rng), rng=rng)
    assert found.synthetic == pytest.approx([0.8, 0.2], abs=0.03)
    np.testing.assert_allclose(found.synthetic_draws.sum(1), 1)
    assert abs(found.synthetic[0] - 0.8) < 4 * found.synthetic_draws[:, 0].std()
    assert found.real.tolist() == [1.0]


def test_one_generator_has_all_the_weight(rng):
    calibration = reference((100, 100), 3.0, rng)
    found = composition_of(calibration, incoming(calibration, (9, 9), 3.0, rng), rng=rng)
    assert found.synthetic.tolist() == [1.0]
    assert (found.synthetic_draws == 1).all()


@pytest.mark.parametrize("method", [histogram_mixture, probabilistic_adjusted_count])
def test_the_other_estimators_agree_on_a_large_set(method, rng):
    calibration = reference((20_000, 20_000), 2.0, rng)
    assert method(calibration, incoming(calibration, (14_000, 6000), 2.0, rng), ONE) == pytest.approx(0.3, abs=0.02)


def test_the_adjusted_count_is_its_formula(rng):
    calibration = reference((400, 400), 2.0, rng)
    observed = incoming(calibration, (70, 30), 2.0, rng)
    a, b, m = (c.posteriors.mean[1] for c in (*calibration.components, observed))
    assert probabilistic_adjusted_count(calibration, observed, ONE) == pytest.approx((m - a) / (b - a))


def test_the_histogram_mixture_maximises_the_likelihood(rng):
    calibration = reference((400, 300), 2.0, rng)
    observed = incoming(calibration, (70, 30), 2.0, rng)
    bins = len(observed.histogram)
    real, synthetic = ((c.histogram + 0.5 / bins) / (c.n + 0.5) for c in calibration.components)
    fractions = np.linspace(0, 1, 20_001)[:, None]
    likelihood = (observed.histogram * np.log((1 - fractions) * real + fractions * synthetic)).sum(1)
    assert histogram_mixture(calibration, observed, ONE) == pytest.approx(
        float(fractions[likelihood.argmax(), 0]), abs=1e-4
    )


@pytest.mark.parametrize(("sizes", "separation", "n"), [((300, 300), 2.0, 1000), ((300, 300), 8.0, 1000)])
def test_the_fit_is_rarely_rejected_where_it_holds(sizes, separation, n, rng):
    found, _ = simulated(sizes, separation, n, (0.8, 0.2), 120, rng)
    p = np.array([e.fit_p_value for e in found])
    assert np.mean(p < 0.005) <= 0.03  # standard error 0.006
    assert np.mean(p < 0.05) <= 0.11  # standard error 0.02
    assert 0.3 < np.mean(p < 0.5) < 0.65  # standard error 0.046


@pytest.mark.parametrize(("n", "share"), [(400, 0.2), (5000, 0.1)])
def test_a_foreign_component_is_noticed(n, share, rng):
    noticed = 0
    for _ in range(20):
        calibration = reference((1000, 1000), 4.0, rng)
        foreign = rng.normal(0, 0.5, round(n * share))
        sizes = sizes_of((0.8, 0.2), n - len(foreign))
        noticed += fit_p_value(calibration, incoming(calibration, sizes, 4.0, rng, foreign), ONE, rng=rng) < 0.005
    assert noticed >= 18


def foreign_set(rng, **options):
    calibration = reference((1000, 1000), 4.0, rng)
    observed = incoming(calibration, (600, 0), 4.0, rng, foreign=rng.normal(0, 0.5, 400))
    return estimate_fraction(calibration, observed, rng=rng, **options)


def test_a_set_with_a_foreign_component_has_bounds_and_says_why(rng):
    found = foreign_set(rng)
    assert found.status == "bounds"
    assert math.isnan(found.estimate)
    assert found.low == 0.0
    assert found.high >= found.if_reference_matches.high
    assert "unseen generator or another real source" in found.reason


def test_declaring_the_reference_complete_moves_what_holds_then_to_the_top(rng):
    found = foreign_set(rng, assume_reference_complete=True)
    conditional = found.if_reference_matches
    assert (found.low, found.high) == (conditional.low, conditional.high)
    assert 0.2 < found.low <= 0.4 <= found.high
    assert conditional.estimate == pytest.approx(0.4, abs=0.1)


def test_where_generators_are_known_what_lies_outside_is_another_real_source(rng):
    found = foreign_set(rng, assume_generators_complete=True)
    assert (found.status, found.low) == ("bounds", 0.0)
    assert found.high == found.if_generators_known.high <= 0.5
    assert "another real source" in found.reason


def test_conditions_that_the_set_contradicts_give_no_estimate(rng):
    found = foreign_set(rng)
    assert math.isnan(found.if_both.estimate)
    assert "the two conditions cannot both hold" in found.if_both.reason


def test_with_one_known_generator_a_stranger_may_hide_most_of_its_items(rng):
    calibration = reference((1000, 1000), 6.0, rng)
    found = estimate_fraction(calibration, incoming(calibration, (900, 100), 6.0, rng), rng=rng)
    assert (found.status, math.isnan(found.estimate)) == ("bounds", True)
    assert found.low <= 0.1
    assert found.high > 0.4
    assert "a generator that the reference lacks may hide" in found.reason
    assert found.if_both.estimate == pytest.approx(0.1, abs=0.01)
    assert found.if_generators_known == found.if_both


def test_what_was_left_out_and_shown_narrows_the_stated_interval(rng):
    calibration = reference((1000, 500, 500, 500), 6.0, rng)
    observed = incoming(calibration, (950, 20, 20, 10), 6.0, rng)
    shown = LeftOut(("g1", "g2", "g3"), np.zeros((3, 4)), np.full(3, 500))
    hidden = LeftOut(("g1", "g2", "g3"), np.full((3, 4), 0.5), np.full(3, 500))
    narrow, wide = (estimate_fraction(calibration, observed, rng=rng, left_out=table) for table in (shown, hidden))
    assert narrow.status == "determined"
    assert narrow.low <= 0.05 <= narrow.high < wide.high
    assert narrow.power.smallest_noticed < wide.power.smallest_noticed
    assert narrow.power.may_hide < wide.power.may_hide


def test_a_set_without_the_known_generators_has_a_narrow_interval_under_both_conditions(rng):
    calibration = reference((300, 300, 300, 300), 3.0, rng)
    for _ in range(10):  # the shares of generators that are hardly there are unknown, which must not matter
        found = estimate_fraction(calibration, incoming(calibration, (200, 0, 0, 0), 3.0, rng), rng=rng)
        assert found.if_both.high < 0.2


def test_a_reference_that_separates_by_luck_alone_is_refused(rng):
    lucky = 0
    for _ in range(40):
        calibration = reference((60, 60), 0.55, rng)  # total variation .22
        lucky += problem_of(calibration) is None
    assert lucky <= 2


@pytest.mark.usefixtures("unrejected")
@pytest.mark.parametrize("unseen", [6, 15, 30])
def test_the_guard_holds_a_few_items_of_an_unseen_generator_that_the_known_fit_misses(unseen, rng):
    guarded, plain = [], []
    left_out = LeftOut(tuple("abcdefghij"), np.zeros((10, 4)), np.full(10, 500))  # the guard at its tightest
    for _ in range(100):
        calibration = reference((300, 300), 4, rng)
        observed = incoming(calibration, [300 - unseen, 0], 4, rng, foreign=rng.normal(-1.5, 1, size=unseen))
        guarded.append(estimate_fraction(calibration, observed, rng=rng, left_out=left_out))
        plain.append(estimate_fraction(calibration, observed, rng=rng, assume_generators_complete=True))
    assert coverage(guarded, unseen / 300) >= 0.90
    assert coverage(plain, unseen / 300) < 0.5
    assert all(g.high >= p.high and g.low <= p.low for g, p in zip(guarded, plain, strict=True))


def test_scores_that_hardly_separate_are_undetermined(rng):
    calibration = reference((500, 500), 0.1, rng)
    found = estimate_fraction(calibration, incoming(calibration, (50, 50), 0.1, rng), rng=rng)
    assert found.status == "undetermined"
    assert "try another encoder" in found.reason


def test_generators_that_score_as_more_real_than_the_real_items_are_undetermined(rng):
    posteriors = drawn((300, 300), 5.0, rng)
    calibration = calibration_of(evidence_of(posteriors[:, ::-1]), np.repeat([0, 1], 300), ("real", "g"))
    observed = count_scores(evidence_of(drawn((100, 0), 5.0, rng)[:, ::-1]), calibration.edges)
    found = estimate_fraction(calibration, observed, rng=rng)
    assert found.status == "undetermined"
    assert found.reason == "items of known generators score no higher than real items"


def test_equal_scores_throughout_are_undetermined(rng):
    even = np.full((200, 2), 0.5)
    calibration = calibration_of(evidence_of(even), np.repeat([0, 1], 100), ("real", "g"))
    found = estimate_fraction(calibration, count_scores(evidence_of(even[:9]), calibration.edges), rng=rng)
    assert (found.status, found.low, found.high) == ("undetermined", 0.0, 1.0)


def test_a_reference_without_generators_is_undetermined(rng):
    certain = np.ones((100, 1))
    calibration = calibration_of(evidence_of(certain), np.zeros(100, dtype=int), ("real",))
    found = estimate_fraction(calibration, count_scores(evidence_of(certain[:9]), calibration.edges), rng=rng)
    assert found.status == "undetermined"
    assert "--synthetic" in found.reason


def test_a_hundred_million_items_are_answered_by_the_reference_alone(rng):
    calibration = reference((300, 300), 4.0, rng)
    n = 10**8
    histogram = np.round((0.7 * calibration.densities[0] + 0.3 * calibration.densities[1]) * n).astype(np.int64)
    mean = 0.7 * calibration.components[0].posteriors.mean + 0.3 * calibration.components[1].posteriors.mean
    observed = ScoreCounts(histogram, Moments(n, mean * n, np.outer(mean, mean) * n))
    found = estimate_fraction(calibration, observed, rng=rng)
    assert found.if_both.estimate == pytest.approx(0.3, abs=1e-3)
    assert 0.005 < found.if_both.high - found.if_both.low < 0.1


def test_a_sample_has_the_wider_interval_of_the_set_it_stands_for(rng):
    calibration = reference((2000, 2000), 6.0, rng)
    observed = incoming(calibration, (140, 60), 6.0, rng)
    complete = {"rng": rng, "assume_generators_complete": True}
    of_set = estimate_fraction(calibration, observed, **complete)
    of_sample = estimate_fraction(calibration, observed, is_sample=True, **complete)
    expected = 2 * stats.norm.ppf(0.975) * math.sqrt(0.3 * 0.7 / 200)
    assert of_sample.high - of_sample.low == pytest.approx(expected, rel=0.15)
    assert of_set.high - of_set.low < 0.3 * expected


@pytest.mark.usefixtures("unrejected")
def test_the_interval_for_a_sample_holds_the_fraction_of_the_population(rng):
    held, calibration = 0, reference((2000, 2000), 4.0, rng)
    for _ in range(300):
        synthetic = rng.binomial(200, 0.3)
        observed = incoming(calibration, (200 - synthetic, synthetic), 4.0, rng)
        found = estimate_fraction(calibration, observed, rng=rng, is_sample=True)
        held += found.low <= 0.3 <= found.high
    assert held / 300 >= 0.91  # one reference for all: standard error 0.0126 and its own error


def test_a_higher_level_gives_a_wider_interval(rng):
    calibration = reference((300, 300), 2.0, rng)
    observed = incoming(calibration, (140, 60), 2.0, rng)
    found = [estimate_fraction(calibration, observed, rng=rng, level=level) for level in (0.8, 0.99)]
    for narrow, wide in ([(each.low, each.high) for each in found], [(e.if_both.low, e.if_both.high) for e in found]):
        assert wide[0] < narrow[0] < narrow[1] <= wide[1]


def test_the_same_seed_gives_the_same_answer(rng):
    calibration = reference((300, 300, 300), 3.0, rng)
    observed = incoming(calibration, (100, 60, 40), 3.0, rng)
    first, second = (estimate_fraction(calibration, observed, rng=np.random.default_rng(3)) for _ in range(2))
    assert repr(first) == repr(second)  # nan differs from itself


def test_too_few_items_for_a_classifier_leave_the_fraction_undetermined(rng):
    calibration = reference((300, 300), 3.0, rng)
    observed = incoming(calibration, [6, 2], 3.0, rng)
    found = estimate_fraction(calibration, observed, rng=rng, contrast=lambda shares: None)
    assert (found.status, found.low, found.high) == ("undetermined", 0, 1)
    assert "8 items: too few to tell" in found.reason
    declared = {"assume_reference_complete": True, "assume_generators_complete": True}
    trusted = estimate_fraction(calibration, observed, rng=rng, contrast=lambda shares: None, **declared)
    assert trusted.if_both.estimate == pytest.approx(0.25, abs=0.15)
    assert trusted.low <= 0.25 <= trusted.high
