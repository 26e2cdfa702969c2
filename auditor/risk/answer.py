"""The answer `mad_risk`: the forecast for a plan, what knowing more would buy, and what to do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from auditor.event import Event
from auditor.policy import Check, Policy, Threshold, check
from auditor.risk.advice import advise
from auditor.risk.inputs import ForecastInputs, figures_of, workflow_class
from auditor.risk.model import RiskModel
from auditor.risk.recursion import Plan
from auditor.risk.sample_statistics import SampleStatistics, facts_of
from auditor.risk.workflows import workflow_named
from indexes.errors import InputError

__all__ = ["RiskQuestion", "Simulate", "answer_risk", "check_risk", "known_of", "no_risk", "plan_of"]


Simulate = Callable[[Plan, np.ndarray, np.ndarray, Event], dict[str, Any]]  # plan, real, audited vectors, event


@dataclass(frozen=True, slots=True)
class RiskQuestion:
    """How an audited set will be used, and samples of the team's own models, encoded as the reference was."""

    model: RiskModel
    workflow: str
    generations: int
    n_real: int | None = None  # by default as many as the set holds, where the workflow has any
    n_synthetic: int | None = None  # by default as many as the set holds
    bias: float = 1.0  # λ
    model_samples: np.ndarray | None = field(default=None, repr=False)  # (n, d)
    pilot: np.ndarray | None = field(default=None, repr=False)  # (n, d)
    simulate: Simulate | None = field(default=None, repr=False)  # also a simulation on the set's own vectors

    def plan(self, n: int) -> Plan:
        """The plan for a set of n items."""
        return plan_of(
            self.workflow, self.generations, n=n, n_real=self.n_real, n_synthetic=self.n_synthetic, bias=self.bias
        )


def plan_of(
    workflow: str, generations: int, *, n: int, n_real: int | None, n_synthetic: int | None, bias: float
) -> Plan:
    """The plan; by default synthetic items, and real ones where the workflow has any, are as many as the data hold."""
    kind = workflow_named(workflow).real
    real = 0 if kind in ("none", "initial") else n if n_real is None else n_real
    return Plan(workflow, generations, n, n if n_synthetic is None else n_synthetic, real, bias)


def known_of(
    plan: Plan,
    result: Mapping[str, Any],
    *,
    real: np.ndarray,
    training: np.ndarray,
    model_samples: np.ndarray | None = None,
    pilot: np.ndarray | None = None,
) -> ForecastInputs:
    """What a result's figures tell, and what samples of the first model and of a pilot, (n, d), add to them.

    `real` (m, d) are the reference's real items, `training` (k, d) audited ones, all in the semantic space.
    """
    model, second = (None if rows is None else facts_of(rows, real, training) for rows in (model_samples, pilot))
    if model is not None and model == second:
        raise InputError("the pilot's samples are those of the first model: give samples of the second generation")
    return ForecastInputs(plan, figures_of(result), model, second)


def answer_risk(known: ForecastInputs, model: RiskModel, policy: Policy) -> dict[str, Any]:
    """The fields of `mad_risk` at the highest tier that is known."""
    event, plan = policy.mad_event, known.plan
    forecast = model.predict(known, event=event)
    return {
        **forecast.as_json(),
        "workflow": {
            "name": plan.workflow,
            "generations": plan.generations,
            "n_initial": plan.n_initial,
            "n_synthetic": plan.n_synthetic,
            "n_real": plan.n_real,
            "bias": plan.bias,
        },
        "known": {"model_samples": _facts(known.model), "pilot": _facts(known.pilot)},
        "next_tier": _next_tier(forecast.tier, model, workflow_class(plan)),
        "advice": advise(known, model, forecast, event=event, limit=policy.mad_risk.warn),
        "model": model.identity,
    }


def _facts(facts: SampleStatistics | None) -> dict[str, Any] | None:
    return None if facts is None else facts.as_json()


def _next_tier(tier: str, model: RiskModel, kind: str) -> dict[str, Any] | None:
    """What measuring more would buy: the skill of the next tier on held-out loops of the same workflow class."""
    tiers = list(model.tiers)
    at = tiers.index(tier)
    if at + 1 == len(tiers):
        return None
    skill = model.tiers[tiers[at + 1]].skill
    return {"tier": tiers[at + 1], "skill": dict(skill.get(kind, skill["all"]))}


def check_risk(threshold: Threshold, answer: Mapping[str, Any]) -> Check:
    """The check of an answer; a probability that was extrapolated decides nothing."""
    status, reason = answer["status"], answer["reason"]
    return check(
        "mad_risk", threshold, answer["probability"], None if status == "determined" else f"{status}: {reason}"
    )


def no_risk(workflow: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """The fields of `mad_risk` where nothing can be said."""
    return {
        "probability": {"estimate": None, "low": None, "high": None},
        "status": "undetermined",
        "reason": reason,
        "workflow": dict(workflow),
        "horizon": workflow.get("generations"),
        "tier": "audit",
        "trajectory": [],
    }
