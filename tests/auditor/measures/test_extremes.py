"""Every measure on arrays of any type, scale, offset and shape: the right number, a stated reason, or InputError."""

import math

import numpy as np
import pytest

from auditor.measures.cmmd import cmmd
from auditor.measures.effective_rank import effective_rank_interval
from auditor.measures.frechet import frechet
from auditor.measures.intrinsic_dimension import intrinsic_dimension
from auditor.measures.kid import kid
from auditor.measures.neighbour_entropy import neighbour_entropy
from auditor.measures.prdc import prdc
from auditor.measures.sliced_wasserstein import sliced_wasserstein
from auditor.measures.vendi import vendi
from indexes.errors import InputError


def alone(measure):
    """A measure of one set as a measure of two."""
    return lambda real, candidate, level: [measure(candidate, level=level)]


def together(measure):
    return lambda real, candidate, level: [measure(real, candidate, level=level)]


MEASURES = {
    "frechet": together(frechet),
    "kid": together(kid),
    "cmmd": together(cmmd),
    "sliced_wasserstein": together(sliced_wasserstein),
    "neighbour_entropy": together(neighbour_entropy),
    "prdc": lambda real, candidate, level: list(prdc(real, candidate, level=level).values()),
    "vendi": alone(vendi),
    "effective_rank": alone(lambda rows, level: effective_rank_interval(rows, level=level or 0.95)),
    "intrinsic_dimension": alone(intrinsic_dimension),
}
FREE_OF_SCALE = [name for name in MEASURES if name not in {"frechet", "kid"}]
FREE_OF_OFFSET = [name for name in MEASURES if name not in {"kid", "vendi"}]


def numbers(name, real, candidate):
    found = MEASURES[name](real, candidate, 0.95)
    return [number for measure in found for number in (measure.estimate, measure.low, measure.high)]


def sets_of_few_digits(rng):
    return rng.integers(-40, 40, (50, 4)), rng.integers(-30, 40, (40, 4))


@pytest.mark.parametrize("name", MEASURES)
def test_every_kind_of_array_gives_the_same_numbers(name, rng):
    real, candidate = sets_of_few_digits(rng)
    expected = numbers(name, real.astype(np.float64), candidate.astype(np.float64))
    assert not np.isnan(expected).any()
    for cast in (np.float32, np.int8, np.asfortranarray, np.ndarray.tolist, np.ma.asarray):
        converted = [cast(rows) if not isinstance(cast, type) else rows.astype(cast) for rows in (real, candidate)]
        assert numbers(name, *converted) == expected


@pytest.mark.parametrize("name", FREE_OF_SCALE)
@pytest.mark.parametrize("scale", [2.0**-950, 1e-200, 1e-30, 1e30, 1e200, 2.0**900])
def test_the_scale_changes_nothing(name, scale, rng):
    real, candidate = sets_of_few_digits(rng)
    assert numbers(name, scale * real, scale * candidate) == pytest.approx(numbers(name, real, candidate), rel=1e-9)


@pytest.mark.parametrize("name", FREE_OF_OFFSET)
@pytest.mark.parametrize("offset", [1e6, -1e8, 2.0**45])
def test_the_offset_changes_nothing(name, offset, rng):
    real, candidate = sets_of_few_digits(rng)
    assert numbers(name, real + offset, candidate + offset) == pytest.approx(numbers(name, real, candidate), rel=1e-9)


def nan_in(rows):
    return np.where(np.arange(rows.size).reshape(rows.shape) == 5, np.nan, rows)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: rows[:, 0],
        lambda rows: rows[:0],
        lambda rows: rows[:, :0],
        lambda rows: [],
        lambda rows: rows[None],
        lambda rows: np.ma.masked_greater(rows, 1),
        lambda rows: rows * 1j,
        lambda rows: rows.astype(str),
        lambda rows: [[1.0, 2.0], [3.0]],
        nan_in,
        lambda rows: np.where(rows > 1, np.inf, rows),
    ],
)
def test_unusable_arrays_are_refused_in_one_line(name, spoil, rng):
    real, candidate = rng.normal(size=(40, 4)), rng.normal(size=(30, 4))
    with pytest.raises(InputError) as caught:
        MEASURES[name](real, spoil(candidate), 0.95)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in MEASURES if MEASURES[name].__qualname__.startswith("together")])
def test_sets_of_different_widths_are_refused(name, rng):
    with pytest.raises(InputError, match="width 4 and candidate vectors of width 3"):
        MEASURES[name](rng.normal(size=(40, 4)), rng.normal(size=(30, 3)), 0.95)


def huge_row(rows):
    return np.concatenate([rows[:-1], 1e6 * rows[-1:]])


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize(
    "change",
    [
        lambda real, candidate: (real[:, :1], candidate[:, :1]),
        lambda real, candidate: (real[:2], candidate[:2]),
        lambda real, candidate: (real[:7], candidate[:6]),
        lambda real, candidate: (np.ones_like(real), candidate),
        lambda real, candidate: (real, np.ones_like(candidate)),
        lambda real, candidate: (np.ones_like(real), np.zeros_like(candidate)),
        lambda real, candidate: (huge_row(real), candidate),
        lambda real, candidate: (real, huge_row(candidate)),
        lambda real, candidate: (huge_row(real), huge_row(candidate)),
        lambda real, candidate: (np.tile(real, (9, 1)), np.tile(candidate[:3], (40, 1))),
        lambda real, candidate: (real, 1e-200 * candidate),
        lambda real, candidate: (1e-200 * real, candidate),
        lambda real, candidate: (real, candidate + 1e40),
    ],
)
@pytest.mark.parametrize("level", [None, 0.95])
def test_unusual_sets_have_a_number_in_its_interval_or_a_reason(name, change, level, rng):
    try:
        found = MEASURES[name](*change(rng.normal(size=(50, 4)), rng.normal(0.3, 0.8, (40, 4))), level)
    except InputError:
        return
    for measure in found:
        assert math.isfinite(measure.estimate) or measure.reason
        has_interval = measure.low <= measure.estimate <= measure.high
        assert has_interval or measure.reason or level is None


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("factor", [100, 1e3])
def test_a_far_row_does_not_change_the_balls_of_the_others(side, factor):
    rng = np.random.default_rng(side)
    sets = [rng.normal(size=(60, 4)), rng.normal(0.4, 0.8, (40, 4))]
    sets[side][3] *= factor
    real, candidate = sets
    across = np.sqrt(((real[:, None] - candidate) ** 2).sum(2))
    own, theirs = (np.sort(np.sqrt(((rows[:, None] - rows) ** 2).sum(2)), axis=1)[:, 5] for rows in sets)
    inside = across <= own[:, None]
    expected = {
        "precision": inside.any(0).mean(),
        "recall": (across <= theirs).any(1).mean(),
        "density": inside.sum(0).mean() / 5,
        "coverage": inside.any(1).mean(),
    }
    assert {name: measure.estimate for name, measure in prdc(real, candidate).items()} == pytest.approx(expected)


@pytest.mark.parametrize("side", [0, 1])
def test_a_ball_that_float32_cannot_resolve_is_a_stated_reason(side, rng):
    sets = [rng.normal(size=(60, 4)), rng.normal(size=(40, 4))]
    sets[side][3] *= 1e6
    for measure in prdc(*sets, level=0.95).values():
        assert math.isnan(measure.estimate)
        assert "10000 times as far from the median" in measure.reason


@pytest.mark.parametrize("shrink", [1e-9, 1e-20, 1e-200])
def test_a_tiny_candidate_set_has_balls_of_its_own_size(shrink):
    rng = np.random.default_rng(1)
    candidate = rng.normal(size=(40, 2))
    real = np.concatenate([rng.normal(size=(30, 2)), shrink * rng.normal(size=(30, 2))])
    found = prdc(real, shrink * candidate)["recall"].estimate
    near = prdc(real[30:] / shrink, candidate)["recall"].estimate  # the other real rows are outside all balls
    assert found == pytest.approx(near / 2)


def test_the_entropy_of_a_tiny_set_is_the_logarithm_of_its_scale(rng):
    rows = rng.normal(3, 1, (40, 3))
    assert neighbour_entropy(rows, 2.0**-900 * rows).estimate == pytest.approx(-900 * math.log(2))


@pytest.mark.parametrize("k", [0, -1, 30])
def test_balls_without_a_neighbour_are_refused(k, rng):
    with pytest.raises(InputError, match="expected k ≥ 1"):
        prdc(rng.normal(size=(40, 3)), rng.normal(size=(30, 3)), k=k)
