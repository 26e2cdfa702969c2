"""The whole answer on simulated vectors: generators that the reference does not know, foreign real items, copies."""

from functools import cache, partial

import numpy as np
import pytest

from auditor.evidence.calibration import calibration_of, count_scores
from auditor.evidence.detector import fit_detector
from auditor.evidence.near_duplicates import copy_groups, design_effect
from auditor.fraction.estimate import estimate_fraction
from auditor.fraction.set_classifier import contrast_with
from auditor.fraction.unseen_generators import LeftOut

WIDTH, REFERENCE, DRAWS = 24, 200, 10


def kind(axis, n, rng, distance=3.5):
    """Items that depart from the real ones along one axis; axis None is real."""
    rows = rng.normal(size=(n, WIDTH)).astype(np.float32)
    if axis is not None:
        rows[:, axis] += distance
    return rows


def digests_of(rows):
    made = np.zeros((len(rows), 16), dtype=np.uint8)
    made[:] = np.ascontiguousarray(rows[:, :4]).view(np.uint8)
    return made


SIBLINGS = LeftOut(tuple("abcdefgh"), np.zeros((8, 4)), np.full(8, 500))  # generators that all show when left out


@cache
def reference(known, sources, number):
    """A reference with generators along the `known` axes and real sources along `sources`, besides axis None."""
    rng = np.random.default_rng([number, *known, *sources])
    components = [kind(axis, REFERENCE, rng) for axis in (None, *sources, *known)]
    vectors, component = np.concatenate(components), np.repeat(range(len(components)), REFERENCE)
    return (
        components,
        component,
        *fit_detector(vectors, component, digests_of(vectors), n_real=1 + len(sources), seed=number),
    )


def answer(parts, known, rng, number=0, copies=1, sources=(), simulated=(), **changes):
    """The answer for a set of parts (axis, n, …), each item `copies` times, against the reference of that number."""
    components, component, detector, own = reference(tuple(known), tuple(sources), number)
    distinct = np.concatenate([kind(axis, n // copies, rng, *far) for axis, n, *far in parts])
    incoming = np.repeat(distinct, copies, axis=0)
    labels = ("real", *(f"s{k}" for k in sources), *(f"g{k}" for k in known))
    calibration = calibration_of(own, component, labels, frozenset(f"g{k}" for k in simulated))
    observed = count_scores(detector.evidence(incoming, digests_of(incoming)), calibration.edges)
    contrast = partial(contrast_with, components, incoming, n_real=1 + len(sources), seed=number)
    effect = design_effect(np.bincount(copy_groups(incoming, beside=np.concatenate(components))))
    return estimate_fraction(
        calibration, observed, rng=np.random.default_rng(number), contrast=contrast, copies=effect, **changes
    )


def answers(parts, known, rng, draws=DRAWS, **changes):
    """Answers for as many sets, each against a reference of its own."""
    return [answer(parts, known, rng, number, **changes) for number in range(draws)]


def share(found, test):
    return np.mean([test(answer) for answer in found])


def holds(truth):
    return lambda found: found.if_reference_matches.low - 1e-9 <= truth <= found.if_reference_matches.high + 1e-9


@pytest.mark.parametrize(("generators", "error", "width"), [(1, 0.08, 0.25), (6, 0.13, 0.4)])
def test_half_of_an_unseen_generator_gives_bounds_that_hold_it(generators, error, width, rng):
    found = answers([(None, 100), (20, 100)], range(1, 1 + generators), rng, draws=DRAWS if generators == 1 else 4)
    assert share(found, lambda f: f.status == "bounds") == 1
    assert share(found, lambda f: f.low == 0 and f.high >= f.if_reference_matches.high) == 1
    assert share(found, holds(0.5)) >= 0.8
    assert np.mean([f.if_reference_matches.estimate for f in found]) == pytest.approx(0.5, abs=error)
    assert np.mean([f.if_reference_matches.estimate - f.if_reference_matches.low for f in found]) < width


def test_known_generators_alone_are_determined(rng):
    found = answers([(None, 140), (1, 40), (2, 20)], (1, 2), rng, assume_generators_complete=True)
    assert share(found, lambda f: f.status == "determined") >= 0.9
    assert share(found, lambda f: f.low <= 0.3 <= f.high) >= 0.8


def test_few_items_of_known_generators_are_determined_where_those_left_out_all_showed(rng):
    found = answers([(None, 190), (1, 10)], (1,), rng, left_out=SIBLINGS)
    assert share(found, lambda f: f.status == "determined") >= 0.7
    assert share(found, holds(0.05)) >= 0.8


def test_a_set_of_another_real_source_is_never_determined(rng):
    found = answers([(15, 200)], (1,), rng, draws=5)
    assert {f.status for f in found} == {"bounds"}


def test_another_real_source_on_the_far_side_of_the_generator_does_not_hide_it(rng):
    """It looks more real than the reference, so that what is missing of the real share is too little."""
    found = answers([(1, 210, -1.5), (1, 90)], (1,), rng, left_out=SIBLINGS)
    assert share(found, lambda f: f.low <= 0.3 <= f.high) >= 0.9
    assert share(found, lambda f: f.if_generators_known.low <= 0.3 <= f.if_generators_known.high) >= 0.9


def test_a_condition_never_widens_the_answer(rng):
    found = answers([(None, 100), (20, 100)], (1,), rng, draws=4, left_out=SIBLINGS)
    found += answers([(15, 200)], (1,), rng, draws=4, left_out=SIBLINGS)
    found += answers([(1, 140, -1.5), (1, 60)], (1,), rng, draws=4, left_out=SIBLINGS)
    found += answers([(None, 140), (1, 60)], (1,), rng, draws=4, left_out=SIBLINGS)
    for f in found:
        for condition in (f.if_reference_matches, f.if_generators_known):
            assert f.low <= condition.low <= condition.high <= f.high
            assert f.if_both.high - f.if_both.low <= condition.high - condition.low + 1e-9


@pytest.mark.parametrize("of_second", [0, 70, 140])
def test_a_real_source_that_the_reference_was_taught_is_real(of_second, rng):
    parts = [(None, 140 - of_second), (15, of_second), (1, 60)]
    found = answers(parts, (1,), rng, sources=(15,))
    assert share(found, lambda f: np.isfinite(f.if_both.estimate)) >= 0.8
    assert share(found, holds(0.3)) >= 0.8
    assert share(found, lambda f: f.if_both.low <= 0.3 <= f.if_both.high) >= 0.7
    assert np.mean([f.by_source["s15"].estimate for f in found]) == pytest.approx(of_second / 140, abs=0.06)
    assert share(found, lambda f: f.by_source["s15"].low <= of_second / 140 <= f.by_source["s15"].high) >= 0.8


def test_an_unseen_generator_among_two_real_sources_gives_bounds_that_hold_it(rng):
    found = answers([(None, 60), (15, 60), (20, 80)], (1,), rng, sources=(15,))
    assert share(found, lambda f: f.status == "bounds") >= 0.9
    assert share(found, holds(0.4)) >= 0.8


def test_a_source_that_looks_like_a_generator_leaves_the_fraction_undetermined(rng):
    found = answer([(None, 100), (1, 100)], (1,), rng, sources=(1,))
    assert found.status in ("undetermined", "bounds")
    assert (found.low, found.estimate) == (0, pytest.approx(np.nan, nan_ok=True))


def test_stand_ins_alone_bound_nothing_from_above(rng):
    found = answers([(None, 140), (1, 60)], (1,), rng, simulated=(1,))
    assert {(f.status, f.low, f.high) for f in found} == {("undetermined", 0, 1)}
    assert share(found, lambda f: 0.1 < f.if_reference_matches.low <= 0.3) >= 0.8
    assert {f.if_reference_matches.high for f in found} == {1}
    assert "simulated" in found[0].reason


def test_a_generator_unlike_the_stand_ins_is_not_bounded_by_them(rng):
    found = answer([(None, 120), (20, 80)], (1,), rng, simulated=(1,))
    assert (found.status, found.if_reference_matches.high) == ("undetermined", 1)
    assert 0.1 < found.if_reference_matches.low <= 0.4


def test_items_that_only_stand_ins_explain_give_bounds(rng):
    found = answers([(None, 140), (1, 30), (2, 30)], (1, 2), rng, simulated=(2,), draws=5)
    assert {f.status for f in found} == {"bounds"}
    assert "stand-ins" in found[0].reason


def test_stand_ins_that_explain_nothing_leave_the_answer_as_it_is(rng):
    found = answers([(None, 140), (1, 60)], (1, 2), rng, simulated=(2,))
    assert share(found, lambda f: np.isfinite(f.if_both.estimate)) >= 0.8
    assert share(found, holds(0.3)) >= 0.8


def test_declaring_the_reference_complete_gives_the_bounds_a_low_end(rng):
    found = answer([(None, 100), (20, 100)], (1,), rng, assume_reference_complete=True)
    conditional = found.if_reference_matches
    assert found.method == "real-side"
    assert (found.low, found.high) == (conditional.low, conditional.high)
    assert 0 < found.low < 0.5 < found.high


def test_declarations_that_the_set_contradicts_are_not_believed(rng):
    both = {"assume_reference_complete": True, "assume_generators_complete": True}
    found = answer([(None, 100), (20, 100)], (1,), rng, **both)
    assert found.status == "bounds"
    assert "the two conditions cannot both hold" in found.reason


def test_declaring_the_generators_complete_narrows_the_answer(rng):
    guarded = answer([(None, 190), (1, 10)], (1,), np.random.default_rng(5))
    plain = answer([(None, 190), (1, 10)], (1,), np.random.default_rng(5), assume_generators_complete=True)
    assert plain.high < guarded.high
    assert guarded.low <= plain.low


def test_a_reference_without_generators_tells_what_the_real_side_says(rng):
    found = answer([(None, 50), (20, 150)], (), rng)
    assert (found.status, found.low, found.high) == ("undetermined", 0, 1)
    assert "--synthetic" in found.reason
    assert found.if_reference_matches.low < 0.75 < found.if_reference_matches.high == 1
    assert found.if_reference_matches.estimate == pytest.approx(0.75, abs=0.1)
    assert np.isnan(found.fit_p_value)


@pytest.mark.parametrize("n", [12, 30])
def test_a_small_set_of_an_unseen_generator_gives_bounds(n, rng):
    found = answers([(20, n)], (1,), rng)
    assert share(found, lambda f: f.status == "bounds") >= 0.9
    assert share(found, lambda f: f.high > 0.9) >= 0.9


def test_near_copies_do_not_pass_for_evidence(rng):
    components, component, detector, own = reference((1,), (), 0)
    drawn = np.concatenate([kind(None, 34, rng), kind(1, 6, rng)])
    incoming = np.repeat(drawn, 5, axis=0) + rng.normal(0, 0.1, (200, WIDTH)).astype(np.float32)
    calibration = calibration_of(own, component, ("real", "g1"))
    observed = count_scores(detector.evidence(incoming, digests_of(incoming)), calibration.edges)
    found = estimate_fraction(
        calibration,
        observed,
        rng=rng,
        contrast=partial(contrast_with, components, incoming, seed=0),
        copies=design_effect(np.bincount(copy_groups(incoming, beside=np.concatenate(components)))),
    )
    assert holds(0.15)(found)
    assert found.if_reference_matches.estimate < 0.3


def test_copies_do_not_pass_for_evidence(rng):
    found = answers([(None, 170), (1, 30)], (1,), rng, copies=5)
    assert share(found, lambda f: np.isfinite(f.if_both.estimate)) >= 0.8
    assert share(found, holds(0.15)) >= 0.8


def test_a_set_of_one_item_many_times_is_answered_by_a_wide_interval(rng):
    found = answer([(None, 200)], (1,), rng, copies=200)
    assert found.high - found.low > 0.3 or found.status != "determined"


def test_real_items_that_are_all_alike_do_not_break_the_answer(rng):
    flat = np.zeros((REFERENCE, WIDTH), dtype=np.float32)
    contrast = contrast_with([flat, kind(1, REFERENCE, rng)], flat.copy(), np.array([1.0, 0.0]), seed=0)
    assert np.isfinite(contrast.departure)
