"""The recursion's forecast from what a tier knows, where a formula gives it."""

from dataclasses import replace

import numpy as np
import pytest

from auditor.plan import Plan
from auditor.risk.course import course_of
from auditor.risk.inputs import TIERS, AuditFigures, ForecastInputs

FIGURES = AuditFigures(
    n=400,
    fraction=0.0,
    fraction_width=0.0,
    vendi=1.0,
    effective_rank=1.0,
    coverage=1.0,
    recall=1.0,
    precision=1.0,
    density=1.0,
    frechet=1.0,
    floor=0.01,
    floor_items=300,
    rank=5.0,
)


@pytest.fixture
def known(make):
    """A first model at four times the floor above it, a second one further away; samples of 300 beside 300."""
    return ForecastInputs(
        plan=Plan("replace", generations=8, n_initial=400, n_synthetic=400),
        audit=FIGURES,
        model=make.facts(0.06, 0.9),
        pilot=make.facts(0.13, 0.9),
    )


@pytest.mark.parametrize("tier", TIERS)
def test_without_synthetic_data_nothing_changes(known, tier):
    plan = replace(known.plan, workflow="augment", n_real=400, n_synthetic=0)
    course = course_of(replace(known, plan=plan), tier=tier)
    assert course.ratio == pytest.approx(np.zeros(8), abs=1e-12)
    assert course.level == pytest.approx(np.full(8, course.level[0]))


def test_samples_of_the_model_give_the_first_level(known):
    """0.06 between two samples of 300 is 0.05 against the real distribution: five floors, less what saturates."""
    assert np.exp(course_of(known, tier="model-samples").level[0]) == pytest.approx(5, rel=0.03)


def test_a_pilot_gives_the_second(known):
    """0.13 is 0.12 against the real distribution, 2.4 times the first."""
    assert np.exp(course_of(known, tier="pilot").ratio[1]) == pytest.approx(2.4, rel=0.01)


@pytest.mark.parametrize("bias", [1.0, 0.9, 0.7])
def test_sampling_bias_is_taken_from_the_variance_of_a_fully_synthetic_loop(known, bias):
    course = course_of(replace(known, plan=replace(known.plan, bias=bias)), tier="audit")
    assert course.variance == pytest.approx(np.log(bias) * np.arange(8))


def test_fixed_real_data_keep_the_variance_above_a_floor(known):
    """q = κ(r + s q) has the fixed point κr/(1 − κs); here κ = .7, r = s = ½."""
    plan = replace(known.plan, workflow="augment", n_real=400, bias=0.7, generations=60)
    course = course_of(replace(known, plan=plan), tier="audit")
    assert np.exp(course.variance[-1]) * 0.7 == pytest.approx(0.35 / (1 - 0.35))


def test_more_fresh_real_data_lower_the_level(known):
    plans = [replace(known.plan, workflow="fresh", n_real=n) for n in (0, 50, 200, 800, 3200)]
    levels = [course_of(replace(known, plan=plan), tier="pilot").level[-1] for plan in plans]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > levels[-1] + 0.5


def test_a_model_that_samples_as_well_as_reality_is_no_error(known, make):
    perfect = replace(known, model=make.facts(0.0, 1.0), pilot=make.facts(0.0, 1.0))
    for tier in TIERS:
        assert np.isfinite(course_of(perfect, tier=tier).level).all()
        assert np.isfinite(course_of(perfect, tier=tier).variance).all()


def test_recall_that_a_pilot_loses_is_lost_again_by_every_generation(known, make):
    """Fully synthetic: the same share in every generation."""
    piloted = replace(known, model=make.facts(0.06, 0.9), pilot=make.facts(0.13, 0.81))
    assert course_of(piloted, tier="pilot").recall == pytest.approx(np.log(0.9) * np.arange(8), rel=1e-2, abs=1e-3)


def test_fixed_real_data_bound_the_loss_of_recall(known, make):
    """Half of every training set is real: √S_t(1) → 2, so that in the end twice the pilot's loss is lost."""
    plan = replace(known.plan, workflow="augment", n_real=400, generations=40)
    piloted = replace(known, plan=plan, model=make.facts(0.06, 0.9), pilot=make.facts(0.13, 0.81))
    assert course_of(piloted, tier="pilot").recall[-1] == pytest.approx(2 * np.log(0.9), rel=1e-2)
