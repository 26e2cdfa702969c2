import numpy as np
import pytest
from scipy import stats

from auditor.evidence.calibration import Calibration, ScoreCounts
from auditor.fraction.composition import Composition
from auditor.fraction.real_side import (
    Anchor,
    anchors_of_contrast,
    anchors_of_counts,
    real_side_bound,
    real_side_estimate,
    real_side_limit,
    unseen_guard,
)
from auditor.fraction.set_classifier import Contrast
from auditor.statistics.moments import Moments

NOTHING_HIDES = np.zeros(4)


def contrast(rng, *, fraction, synthetic, known=None, n=300, n_real=300):
    """Scores of exactly that many synthetic items, of a law given by a sampler, among standard normal real ones."""
    count = round(fraction * n)
    incoming = np.concatenate([rng.normal(size=n - count), synthetic(count)])
    scores = () if known is None else (known(n_real),)
    return Contrast((rng.normal(size=n_real),), scores, np.sort(incoming), np.full(1 + len(scores), n_real), 0.0)


def far(rng):
    return lambda count: rng.normal(9, 1, count)


def near(rng):
    return lambda count: rng.normal(1.5, 1, count)


def one_source(generators):
    return Composition(
        np.ones(1), np.ones(generators) / max(1, generators), np.ones((2, 1)), np.ones((2, generators)), np.zeros(2)
    )


def anchors(found, sampling=0.0):
    return anchors_of_contrast(found, one_source(len(found.known)), NOTHING_HIDES, sampling=sampling)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("law", [far, near])
def test_the_lower_bound_rarely_exceeds_the_truth_whatever_the_generator(law, fraction, rng):
    draws = [contrast(rng, fraction=fraction, synthetic=law(rng)) for _ in range(400)]
    found = [real_side_bound(anchors(draw), level=0.95) for draw in draws]
    assert np.mean(np.array(found) <= fraction) >= 0.92  # .95 with 15 items above the last threshold; error .011


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("law", [far, near])
def test_the_upper_bound_holds_for_generators_that_hide_as_the_known(law, fraction, rng):
    draws = [contrast(rng, fraction=fraction, synthetic=law(rng), known=law(rng)) for _ in range(400)]
    found = [real_side_limit(anchors(draw), level=0.95) for draw in draws]
    assert np.mean(np.array(found) >= fraction) >= 0.89  # .93 where nothing is real and a quarter hides


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(("law", "bias"), [(far, 0.02), (near, 0.06)])
def test_the_estimate_is_near_the_truth_on_average(law, bias, fraction, rng):
    draws = [contrast(rng, fraction=fraction, synthetic=law(rng), known=law(rng)) for _ in range(400)]
    found = [real_side_estimate(anchors(draw)) for draw in draws]
    assert np.mean(found) == pytest.approx(fraction, abs=bias)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5])
def test_the_guard_lies_above_the_truth_with_known_generators(fraction, rng):
    draws = [contrast(rng, fraction=fraction, synthetic=near(rng), known=near(rng)) for _ in range(400)]
    found = [unseen_guard(anchors(draw), level=0.95) for draw in draws]
    assert np.mean(np.array(found) >= fraction) >= 0.90  # the tightest of three one-sided 95 % bounds


def test_the_standard_error_is_that_of_repeated_draws(rng):
    draws = [anchors(contrast(rng, fraction=0.4, synthetic=far(rng)))[0.7] for _ in range(3000)]
    spread = np.std([draw.missing for draw in draws])
    assert np.mean([draw.error for draw in draws]) == pytest.approx(spread, rel=0.06)


def test_a_small_sample_of_a_larger_set_adds_its_composition(rng):
    missing = []
    for _ in range(3000):
        fraction = rng.binomial(300, 0.4) / 300
        missing.append(anchors(contrast(rng, fraction=fraction, synthetic=far(rng)), sampling=1.0)[0.85])
    spread = np.std([draw.missing for draw in missing])
    assert np.mean([draw.error for draw in missing]) == pytest.approx(spread, rel=0.06)


def test_histograms_and_scores_of_the_same_items_agree(rng):
    sizes = (400, 400, 250)
    scores = [rng.normal(shift, 1, size) for shift, size in zip((0, 3, 1), sizes, strict=True)]
    edges = np.quantile(scores[0], [0.5, 0.7, 0.85, 0.95])

    def counts(values):
        moments = Moments(len(values), np.zeros(2), np.zeros((2, 2)))
        histogram = np.bincount(np.searchsorted(edges, values, side="left"), minlength=5)
        return ScoreCounts(histogram, moments)

    calibration = Calibration(("real", "known"), edges, (counts(scores[0]), counts(scores[1])))
    by_counts = anchors_of_counts(calibration, counts(scores[2]), one_source(1), NOTHING_HIDES, sampling=0.0)
    by_score = anchors(
        Contrast((scores[0],), (scores[1],), np.sort(scores[2]), np.array([len(scores[0]), len(scores[1])]), 0.0)
    )
    for share in (0.5, 0.7, 0.85, 0.95):
        a, b = by_counts[share], by_score[share]
        np.testing.assert_allclose([a.missing, a.error, *a.hidden], [b.missing, b.error, *b.hidden], rtol=1e-12)


def test_shares_that_add_up_to_more_than_one_by_rounding_give_no_warning(rng):
    histograms = rng.dirichlet(np.ones(5), 200) * 60
    moments = Moments(60, np.zeros(2), np.zeros((2, 2)))
    above = next(h for h in histograms if np.cumsum(h / h.sum())[-1] > 1)
    real = np.array([0.0, 0.0, 0.0, 0.0, 60.0])  # all thresholds lie at the last edge
    calibration = Calibration(
        ("real", "known"), np.arange(4.0), (ScoreCounts(real, moments), ScoreCounts(above / above.sum() * 60, moments))
    )
    found = anchors_of_counts(calibration, ScoreCounts(real, moments), one_source(1), NOTHING_HIDES, sampling=0.0)
    assert all(anchor.hidden == (1.0,) for anchor in found.values())


def test_generators_that_hide_altogether_bound_nothing(rng):
    def same(count):
        return rng.normal(size=count)

    found = anchors(contrast(rng, fraction=0.2, synthetic=same, known=same))
    assert real_side_limit(found, level=0.95) == 1.0


def test_a_share_that_is_noticed_lies_so_many_errors_from_none(rng):
    found = anchors_of_contrast(
        contrast(rng, fraction=0.0, synthetic=far(rng)), one_source(0), np.full(4, 0.5), sampling=0
    )
    for anchor in found.values():
        noticed = anchor.noticed(2.8)
        error = np.sqrt((1 - anchor.share) / anchor.share * (1 / 300 + 1 / 300))
        assert noticed * (1 - 0.5) == pytest.approx(2.8 * error)


def test_what_an_unseen_generator_may_hide_raises_the_guard(rng):
    found = contrast(rng, fraction=0.1, synthetic=far(rng), known=far(rng))
    guards = [
        unseen_guard(anchors_of_contrast(found, one_source(1), np.full(4, hidden), sampling=0.0), level=0.95)
        for hidden in (0.0, 0.5, 0.9)
    ]
    assert guards[1] == pytest.approx(2 * guards[0])
    assert guards[2] == 1.0


@pytest.mark.parametrize(("n", "n_real"), [(90, 100), (40, 60), (200, 300), (1000, 300)])
@pytest.mark.parametrize("share", [0.85, 0.95])
def test_the_low_end_is_above_a_clean_set_as_rarely_as_promised_in_small_samples_too(share, n, n_real, rng):
    """The threshold is a quantile of the reference's items, so the share of real items above it follows a beta law."""
    z = stats.norm.ppf(1 - 0.025 / 2)
    above = rng.binomial(n, rng.beta((1 - share) * n_real + 0.5, share * n_real + 0.5, size=4000))
    counts, times = np.unique(above, return_counts=True)
    lows = [
        Anchor(
            share=share, left=(1 - count / n) / share, hidden=(), unseen=0.0, mean_hidden=0.0, n=n, n_real=n_real,
            sampling=0.0,
        ).lower(z)
        for count in counts.tolist()
    ]  # fmt: skip
    assert times[np.array(lows) > 0].sum() / times.sum() <= 0.02
