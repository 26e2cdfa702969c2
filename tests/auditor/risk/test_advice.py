"""Advice from a model of a known law: it must keep to its limit, and grow with what is asked."""

from dataclasses import replace

import numpy as np
import pytest

from auditor.event import Event
from auditor.risk.advice import advise
from auditor.risk.model import load_risk_model


@pytest.fixture(scope="module")
def narrow(law_model):
    """The model as it is: it has seen some shares and sizes, and says so of all others."""
    return load_risk_model(law_model)


@pytest.fixture(scope="module")
def model(narrow):
    """The same as if it had seen every share and size."""
    seen = {
        tier: replace(m, lowest=np.full(len(m.names), -np.inf), highest=np.full(len(m.names), np.inf), reach=np.inf)
        for tier, m in narrow.tiers.items()
    }
    return replace(narrow, tiers=seen)


def test_nothing_is_advised_that_no_loop_of_the_calibration_was_like(narrow, known):
    found = advice(narrow, known, limit=0.99)
    for name, value in (("fresh_real_data", "n_real"), ("largest_synthetic_share", "share")):
        amount = getattr(getattr(found, name), value)
        if amount is not None:
            n_real = amount if value == "n_real" else known.plan.n_real
            n_synthetic = known.plan.n_synthetic if value == "n_real" else found.largest_synthetic_share.n_synthetic
            plan = replace(known.plan, n_real=n_real, n_synthetic=n_synthetic)
            assert narrow.predict(replace(known, plan=plan)).status == "determined"
        else:
            assert "the calibration has" in str(getattr(found, name).reason)


@pytest.fixture(scope="module")
def known(law_rows):
    """A loop whose first model is poor: without real data it goes MAD."""
    row = max(
        (r for r in law_rows if r.known.plan.workflow == "fresh"), key=lambda r: r.outputs[0, -1] - r.outputs[0, 0]
    )
    return replace(row.known, pilot=None)


def advice(model, known, *, limit=0.2, event=None):
    event = event or Event()
    return advise(known, model, model.predict(known, event=event), event=event, limit=limit)


def test_the_advised_fresh_data_keep_the_risk_at_the_limit_and_less_does_not(model, known):
    advised = advice(model, known).fresh_real_data
    assert advised.reason is None
    assert advised.n_real > 0

    def risk(n_real):
        return model.predict(replace(known, plan=replace(known.plan, n_real=n_real))).probability

    assert risk(advised.n_real).high <= 0.2
    assert risk(round(advised.n_real * 0.8)).high > 0.2


def test_a_lower_limit_asks_for_more_fresh_data_and_a_smaller_share(model, known):
    known = replace(known, plan=replace(known.plan, n_real=known.plan.n_initial))
    strict, lenient = (advice(model, known, limit=limit) for limit in (0.15, 0.6))
    assert strict.fresh_real_data.n_real > lenient.fresh_real_data.n_real
    assert strict.largest_synthetic_share.share < lenient.largest_synthetic_share.share


def test_a_limit_that_nothing_meets_says_so(model, known):
    found = advice(model, known, limit=0.0)
    for name, value in (("fresh_real_data", "n_real"), ("largest_synthetic_share", "share")):
        assert getattr(getattr(found, name), value) is None
        assert "expected at most 0" in str(getattr(found, name).reason)


def test_workflows_stand_side_by_side_the_planned_one_first(model, known):
    found = advice(model, known).plans
    assert [w.plan.workflow for w in found] == ["fresh", "replace", "augment", "accumulate"]
    assert [w.plan.n_real > 0 for w in found] == [True, False, True, False]
    levels = {w.plan.workflow: w.last.frechet_level.estimate for w in found}
    assert levels["replace"] > levels["augment"]


def test_a_pilot_tells_of_the_one_plan_it_was_run_for(model, law_rows):
    known = next(r.known for r in law_rows if r.known.plan.workflow == "fresh")
    tiers = [w.tier for w in advice(model, known).plans]
    assert tiers == ["pilot", "model-samples", "model-samples", "model-samples"]


def test_tolerance_is_left_where_the_course_crosses_the_limits(model, known):
    forecast = model.predict(known)
    left = advice(model, known).leaves_tolerance.frechet_ratio
    ratios = forecast.trajectory["frechet_ratio"]
    crossed = [t for t, m in enumerate(ratios, start=1) if m.estimate > 2]
    assert left == (crossed[0] if crossed else None)


def test_a_workflow_without_real_data_has_no_share_to_choose(model, known):
    plan = replace(known.plan, workflow="replace", n_real=0)
    found = advice(model, replace(known, plan=plan)).largest_synthetic_share
    assert found.share is None
    assert "no real items" in str(found.reason)
