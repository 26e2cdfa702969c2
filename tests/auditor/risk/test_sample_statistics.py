"""Facts of samples against closed forms, and against the same measures by other functions."""

import math
from dataclasses import fields

import numpy as np
import pytest

from auditor.measures.prdc import prdc
from auditor.records import record_document
from auditor.risk.sample_statistics import statistics_of
from indexes.errors import InputError


def normal(n, rng, scale=1.0, width=6):
    return (scale * rng.normal(size=(n, width))).astype(np.float32)


def test_a_second_real_sample_measures_as_real(rng):
    """2,000 items: standard errors of variance and log variance are 0.013 and 0.009."""
    found = statistics_of(normal(2000, rng), normal(2000, rng), normal(2000, rng))
    assert found.n == 2000
    assert found.frechet < 0.01
    for ratio in (found.vendi, found.effective_rank, found.variance, found.spacing, found.to_training):
        assert ratio == pytest.approx(1, abs=0.06)
    assert found.log_det == pytest.approx(0, abs=0.05)
    assert found.density == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_scaled_samples_show_the_scale(scale, rng):
    """Squared distances go as scale², the log variance as 2 log scale, Fréchet over total variance as (1 − scale)²."""
    found = statistics_of(normal(3000, rng, scale), normal(3000, rng))
    assert found.variance == pytest.approx(scale**2, rel=0.06)
    assert found.log_det == pytest.approx(2 * math.log(scale), abs=0.06)
    assert found.frechet == pytest.approx((1 - scale) ** 2, rel=0.1)
    assert found.spacing == pytest.approx(scale**2, rel=0.15)
    assert math.isnan(found.to_training)


def test_neighbour_measures_are_those_of_prdc(rng):
    ours, real = normal(300, rng, 1.3), normal(300, rng)
    found, expected = statistics_of(ours, real), prdc(real, ours)
    for name in ("precision", "recall", "density", "coverage"):
        assert getattr(found, name) == expected[name].estimate


def test_a_model_that_memorises_lies_on_its_training_items(rng):
    training = normal(200, rng)
    assert statistics_of(training, normal(200, rng), training).to_training == 0


def test_units_do_not_matter(rng):
    ours, real, training = normal(300, rng, 0.8), normal(300, rng), normal(300, rng)
    plain, scaled = statistics_of(ours, real, training), statistics_of(100 * ours, 100 * real, 100 * training)
    for name, value in record_document(plain).items():
        assert getattr(scaled, name) == pytest.approx(value, rel=1e-3)


def test_a_lost_direction_has_a_finite_log_variance(rng):
    ours = normal(100, rng)
    ours[:, 0] = 0
    assert statistics_of(ours, normal(100, rng)).log_det == pytest.approx(math.log(1e-3) / 6, abs=0.2)


def test_of_unequal_numbers_as_many_count_as_both_have(rng):
    ours, real = normal(500, rng), normal(120, rng)
    assert statistics_of(ours, real) == statistics_of(ours[:120], real)


@pytest.mark.parametrize(("n", "width"), [(19, 6), (100, 5)])
def test_too_few_rows_and_another_width_are_refused(n, width, rng):
    with pytest.raises(InputError, match="expected 20 or more rows of equal width"):
        statistics_of(normal(n, rng, width=width), normal(100, rng))


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 1e4), (1e-20, 0.0), (1e15, 0.0)])
def test_scale_and_offset_change_only_the_vendi_score(scale, offset, rng):
    real, ours, training = rng.normal(size=(80, 4)), 0.8 * rng.normal(size=(80, 4)), rng.normal(size=(80, 4))
    plain = statistics_of(ours, real, training)
    moved = statistics_of(*(scale * rows + offset for rows in (ours, real, training)))
    for field in fields(plain):
        if field.name != "vendi":
            assert getattr(moved, field.name) == pytest.approx(getattr(plain, field.name), rel=1e-5), field.name
