"""The result `mad_risk`: the forecast for a plan, the gain from further measurements, and advice."""

import math

import numpy as np

from auditor.answers import KnownSamples, MadRisk, NextTier, Tier
from auditor.plan import Plan
from auditor.policy import Check, Policy, Threshold, check
from auditor.risk.advice import advise
from auditor.risk.inputs import AuditFigures, ForecastInputs, workflow_class
from auditor.risk.model import RiskModel
from auditor.risk.sample_statistics import statistics_of
from auditor.statistics.intervals import Measure
from indexes.errors import InputError

__all__ = ["answer_risk", "check_risk", "known_of", "no_risk"]


def known_of(
    plan: Plan,
    figures: AuditFigures,
    *,
    real: np.ndarray,
    training: np.ndarray,
    model_samples: np.ndarray | None = None,
    pilot: np.ndarray | None = None,
) -> ForecastInputs:
    """The inputs of a forecast: an audit's figures, and statistics of samples (n, d) of the first model and of a pilot.

    `real` (m, d) are the reference's real items and `training` (k, d) are audited items, all as vectors of the semantic
    encoder. Raises InputError if a pilot is given without samples of the first model, or if both have the same samples.
    """
    if model_samples is None and pilot is not None:
        raise InputError("a pilot was given without samples of the first model: also give samples of the first model")
    model, second = (None if rows is None else statistics_of(rows, real, training) for rows in (model_samples, pilot))
    if model is not None and model == second:
        raise InputError(
            "the pilot's samples are the same as those of the first model: give samples of the second generation"
        )
    return ForecastInputs(plan=plan, audit=figures, model=model, pilot=second)


def answer_risk(known: ForecastInputs, model: RiskModel, policy: Policy, *, space: str | None) -> MadRisk:
    """Forecast the risk from all available measurements, with advice; `space` is the encoder's fingerprint."""
    event = policy.mad_event
    forecast = model.predict(known, event=event)
    return MadRisk(
        probability=forecast.probability,
        status=forecast.status,
        reason=forecast.reason,
        event=event,
        plan=known.plan,
        tier=forecast.tier,
        space=space,
        level=forecast.level,
        skill=forecast.skill,
        trajectory=forecast.courses,
        known=KnownSamples(model_samples=known.model, pilot=known.pilot),
        next_tier=_next_tier(forecast.tier, model, workflow_class(known.plan)),
        advice=advise(known, model, forecast, event=event, limit=policy.mad_risk.warn),
        model=model.identity,
    )


def _next_tier(tier: Tier, model: RiskModel, kind: str) -> NextTier | None:
    """Gain from the next tier of measurements: its forecast skill on held-out loops of the same workflow class."""
    tiers = list(model.tiers)
    at = tiers.index(tier)
    if at + 1 == len(tiers):
        return None
    skill = model.tiers[tiers[at + 1]].skill
    return NextTier(tier=tiers[at + 1], skill=skill.get(kind, skill["all"]))


def check_risk(threshold: Threshold, answer: MadRisk) -> Check:
    """Policy check of a forecast risk; an extrapolated probability leaves the check undetermined."""
    reason = None if answer.status == "determined" else f"{answer.status}: {answer.reason}"
    return check("mad_risk", threshold, answer.probability, reason=reason)


def no_risk(plan: Plan | None, reason: str, *, policy: Policy, space: str | None) -> MadRisk:
    """An undetermined risk, with the reason why it cannot be forecast."""
    return MadRisk(
        probability=Measure(math.nan, reason=reason),
        status="undetermined",
        reason=reason,
        event=policy.mad_event,
        plan=plan,
        tier="audit",
        space=space,
    )
