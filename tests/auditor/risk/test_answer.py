"""The answer about the risk, from a model of a known law."""

from dataclasses import replace

import numpy as np
import pytest

from auditor.event import Event
from auditor.plan import Plan
from auditor.policy import Policy, Threshold
from auditor.risk.answer import answer_risk, check_risk, known_of, no_risk
from auditor.risk.model import load_risk_model
from indexes.errors import InputError

LIMIT = Threshold(0.2, 0.5, "estimate")


@pytest.fixture(scope="module")
def model(law_model):
    return load_risk_model(law_model)


@pytest.fixture(scope="module")
def known(law_rows):
    return next(row.known for row in law_rows if row.known.plan.workflow == "fresh")


@pytest.fixture(scope="module")
def answer(model, known):
    return answer_risk(known, model, Policy(), space="embeddings:6")


def test_an_answer_names_its_plan_its_event_its_space_and_its_model(answer, model, known):
    assert (answer.plan, answer.event, answer.space) == (known.plan, Event(), "embeddings:6")
    assert answer.model == model.identity
    assert [entry.generation for entry in answer.trajectory] == list(range(1, known.plan.generations + 1))


def test_an_answer_is_the_forecast_of_the_highest_tier_known(answer, model, known):
    assert answer.tier == "pilot"
    assert answer.next_tier is None
    assert answer.probability == model.predict(known, event=Event()).probability
    alone = answer_risk(replace(known, pilot=None, model=None), model, Policy(), space=None)
    assert (alone.tier, alone.next_tier.tier) == ("audit", "model-samples")
    assert alone.next_tier.skill == model.tiers["model-samples"].skill["fresh"]


def test_the_advice_keeps_to_the_policy_s_warning(model, known):
    strict = answer_risk(known, model, Policy(mad_risk=Threshold(0.05, 0.5, "estimate")), space=None)
    assert strict.advice.limit == 0.05
    assert strict.advice.plans[0].plan == known.plan
    assert strict.advice.plans[0].probability == strict.probability


@pytest.mark.parametrize(("estimate", "status"), [(0.1, "pass"), (0.3, "warn"), (0.6, "fail")])
def test_a_determined_probability_is_judged(answer, estimate, status):
    told = replace(answer, status="determined", probability=replace(answer.probability, estimate=estimate))
    assert check_risk(LIMIT, told).status == status


@pytest.mark.parametrize("compare", ["estimate", "interval"])
@pytest.mark.parametrize("status", ["extrapolated", "undetermined"])
def test_a_probability_that_is_not_determined_decides_nothing(answer, status, compare):
    doubtful = replace(answer, status=status, reason="no loop is like it")
    probability = replace(answer.probability, estimate=0.9, low=0.8, high=0.95)
    found = check_risk(replace(LIMIT, compare=compare), replace(doubtful, probability=probability))
    assert (found.status, found.reason) == ("undetermined", f"{status}: no loop is like it")


def test_where_nothing_can_be_said_there_is_a_reason_and_no_number():
    plan = Plan("fresh", generations=4)
    found = no_risk(plan, "nobody asked", policy=Policy(mad_event=Event(when="ever")), space=None)
    assert (found.status, found.reason, found.probability.reason) == ("undetermined", "nobody asked", "nobody asked")
    assert np.isnan([found.probability.estimate, found.probability.low, found.probability.high]).all()
    assert (found.plan, found.event.when, found.trajectory, found.advice) == (plan, "ever", (), None)
    assert check_risk(LIMIT, found).status == "undetermined"


def test_samples_raise_the_tier_and_cannot_be_given_twice(known, rng):
    real, training = rng.normal(size=(100, 4)), rng.normal(size=(100, 4))
    first, second = rng.normal(size=(60, 4)), 0.9 * rng.normal(size=(60, 4))
    asked = {"real": real, "training": training}
    assert known_of(known.plan, known.audit, **asked).tier == "audit"
    assert known_of(known.plan, known.audit, **asked, model_samples=first).tier == "model-samples"
    assert known_of(known.plan, known.audit, **asked, model_samples=first, pilot=second).tier == "pilot"
    with pytest.raises(InputError, match="give samples of the second generation"):
        known_of(known.plan, known.audit, **asked, model_samples=first, pilot=first)
    with pytest.raises(InputError, match="without samples of the first model"):
        known_of(known.plan, known.audit, **asked, pilot=second)
