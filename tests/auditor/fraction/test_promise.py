"""What a reference promises is what sets against it get."""

import numpy as np
import pytest

from auditor.evidence.calibration import Calibration, ScoreCounts
from auditor.fraction.composition import Composition
from auditor.fraction.promise import promise_of
from auditor.fraction.real_side import anchors_of_counts, unseen_guard
from auditor.fraction.unseen_generators import NOTHING_LEFT_OUT, SHARES, LeftOut, may_hide
from auditor.statistics.moments import Moments

BINS = np.array([0.5, 0.2, 0.15, 0.1, 0.05])  # between the real items' quantiles


def counts(law, n):
    return ScoreCounts(np.round(np.asarray(law) * n), Moments(n, np.zeros(2), np.zeros((2, 2))))


def calibration(generators=3, n_real=500, simulated=(), law=BINS):
    components = [counts(law, n_real), *(counts([0, 0, 0, 0.1, 0.9], 300) for _ in range(generators))]
    labels = ("real", *(f"g{k}" for k in range(generators)))
    return Calibration(labels, np.arange(4.0), tuple(components), 1, frozenset(simulated))


def table(hidden, count=3):
    return LeftOut(tuple(f"g{k}" for k in range(count)), np.full((count, 4), hidden), np.full(count, 300))


@pytest.mark.parametrize("n", [200, 1000])
def test_four_clean_sets_of_five_get_a_lower_high_end(n, rng):
    left_out, found = table(0.2), []
    promised = promise_of(calibration(), left_out).at[str(n)].clean_high
    one = Composition(np.ones(1), np.ones(3) / 3, np.ones((2, 1)), np.ones((2, 3)) / 3, np.zeros(2))
    for _ in range(400):
        drawn = calibration(law=rng.multinomial(500, BINS) / 500)
        observed = counts(rng.multinomial(n, BINS) / n, n)
        anchors = anchors_of_counts(drawn, observed, one, may_hide(left_out), sampling=0.0)
        found.append(unseen_guard(anchors, level=0.95))
    assert promised == pytest.approx(np.quantile(found, 0.8), rel=0.15)


def test_a_share_that_is_noticed_is_noticed_in_four_sets_of_five(rng):
    known, left_out = calibration(), table(0.2)
    promised = promise_of(known, left_out).at["1000"].smallest_noticed
    hidden = may_hide(left_out)
    best = int(np.argmin([np.sqrt((1 - q) / q) / (1 - h) for q, h in zip(SHARES, hidden, strict=True)]))
    q, h = SHARES[best], hidden[best]
    reference = rng.binomial(500, q, 20_000) / 500  # where the threshold really lies
    below = rng.binomial(1000, (1 - promised) * q + promised * h * q, 20_000) / 1000
    missing = 1 - below / q
    error = np.sqrt((1 - q) / q * (1 / 1000 + 1 / 500))
    noisy = missing + (reference - q) / q
    assert np.mean(noisy > 1.96 * error) == pytest.approx(0.8, abs=0.05)


def test_more_items_and_less_hidden_promise_more():
    at = promise_of(calibration(), table(0.2)).at
    assert at["200"].smallest_noticed > at["1000"].smallest_noticed > at["10000"].smallest_noticed
    assert promise_of(calibration(), table(0.6)).at["1000"].clean_high > at["1000"].clean_high


def test_each_generator_has_its_separation_with_an_interval():
    found = promise_of(calibration(2), table(0.2, 2)).separation
    assert set(found) == {"g0", "g1"}
    assert all(each.low < each.estimate <= each.high for each in found.values())
    assert found["g0"].estimate == pytest.approx(0.85, abs=0.03)  # ½ Σ |p − q|


def test_what_to_add_names_generators_kinds_and_real_items():
    added = " ".join(promise_of(calibration(1), NOTHING_LEFT_OUT).add)
    assert "2 more generators with at least 300 items each" in added
    assert "more real items: with 2000" in added
    assert "more generators similar to g0" in " ".join(promise_of(calibration(), table(0.6)).add)
    assert promise_of(calibration(4, n_real=5000), table(0.1, 4)).add == ()
    assert "more real items" not in " ".join(promise_of(calibration(), table(1.0)).add)  # they would change nothing


@pytest.mark.parametrize("known", [calibration(0), calibration(1, simulated=["g0"])])
def test_a_reference_without_trusted_generators_promises_nothing(known):
    at = promise_of(known, NOTHING_LEFT_OUT).at["1000"]
    assert (at.smallest_noticed, at.may_hide, at.clean_high) == (1.0, 1.0, 1.0)
    assert at.clean_verdict == "undetermined"


@pytest.mark.parametrize(("hidden", "verdict"), [(0.0, "warn"), (0.9, "undetermined")])
def test_the_verdict_on_a_clean_set_is_that_of_its_high_end(hidden, verdict):
    assert promise_of(calibration(), table(hidden)).at["1000"].clean_verdict == verdict
