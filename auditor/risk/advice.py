"""Advice on a forecast risk: the risk under other workflows, the real data needed, and the largest synthetic share."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from auditor.answers import Advice, FreshRealData, LargestSyntheticShare, LeavesTolerance, PlanForecast
from auditor.event import Event
from auditor.plan import Plan
from auditor.risk.inputs import ForecastInputs
from auditor.risk.model import Forecast, RiskModel
from auditor.risk.recursion import origin_shares
from auditor.workflows import workflow_named

__all__ = ["advise"]

_ALTERNATIVES = ("replace", "augment", "accumulate", "fresh")
_REAL = np.concatenate([[0.0], np.exp2(np.arange(-4, 2.1, 0.25))])  # real items a generation, over the initial ones
_SHARES = np.arange(0.05, 0.96, 0.05)  # of model-made items in a training set


def advise(known: ForecastInputs, model: RiskModel, forecast: Forecast, *, event: Event, limit: float) -> Advice:
    """Advice on how to keep the upper end of a plan's risk interval at or below `limit`.

    A pilot run is evidence only for its own plan; forecasts of other plans do not use the pilot's measurements.
    """
    return Advice(
        limit=limit,
        leaves_tolerance=_leaving(forecast, event),
        plans=tuple(_beside(plan, known, model, event) for plan in _alternatives(known.plan)),
        fresh_real_data=_fresh_real_data(known, model, event, limit),
        largest_synthetic_share=_largest_share(known, model, event, limit),
    )


def _leaving(forecast: Forecast, event: Event) -> LeavesTolerance:
    """The first generation at which the forecast violates each limit of the autophagy event."""
    ratio, diversity = forecast.trajectory["frechet_ratio"], forecast.trajectory["diversity_ratio"]

    def first(beyond: Sequence[bool]) -> int | None:
        return next((t for t, found in enumerate(beyond, start=1) if found and t > 1), None)

    return LeavesTolerance(
        frechet_ratio=first([m.estimate > event.frechet_ratio for m in ratio]),
        diversity_ratio=first([m.estimate < event.diversity_ratio for m in diversity]),
    )


def _alternatives(plan: Plan) -> Iterator[Plan]:
    """Yield the plan, then the same plan under other workflows, with counts of 0 items set to the initial number."""
    n_initial, n_real, n_synthetic = plan.sizes
    yield plan
    for name in _ALTERNATIVES:
        if name != plan.workflow:
            other = replace(plan, workflow=name, n_real=n_real or n_initial, n_synthetic=n_synthetic or n_initial)
            yield other.for_set(n_initial)


def _asked(plan: Plan, known: ForecastInputs) -> ForecastInputs:
    return replace(known, plan=plan, pilot=known.pilot if plan == known.plan else None)


def _beside(plan: Plan, known: ForecastInputs, model: RiskModel, event: Event) -> PlanForecast:
    found = model.predict(_asked(plan, known), event=event)
    return PlanForecast(
        plan=plan, tier=found.tier, status=found.status, probability=found.probability, last=found.courses[-1]
    )


def _fresh_real_data(known: ForecastInputs, model: RiskModel, event: Event, limit: float) -> FreshRealData:
    """Smallest number of new real items per generation for which, and above which, the risk stays within the limit."""
    plan, known = known.plan, replace(known, pilot=None)
    n_initial, _, n_synthetic = plan.sizes
    amounts = [n for n in sorted({round(n_initial * share) for share in _REAL.tolist()}) if n + n_synthetic > 0]
    plans = [replace(plan, workflow="fresh", n_real=n) for n in amounts]
    fits = _fits(plans, known, model, event, limit)
    least = len(fits) - int(np.cumprod(fits[::-1]).sum())
    if least == len(fits):
        return FreshRealData(n_real=None, tier=known.tier, reason=_none(plans, known, model, event, limit))
    return FreshRealData(n_real=amounts[least], tier=known.tier, reason=None)


def _largest_share(known: ForecastInputs, model: RiskModel, event: Event, limit: float) -> LargestSyntheticShare:
    """Largest share of synthetic items in a training set up to which the risk stays within the limit."""
    plan, known = known.plan, replace(known, pilot=None)
    _, n_real, _ = plan.sizes
    if workflow_named(plan.workflow).real not in ("fixed", "fresh") or n_real == 0:
        reason = f"{plan.workflow} has no real items to add, so the workflow itself determines the synthetic share"
        return LargestSyntheticShare(share=None, n_synthetic=None, tier=known.tier, reason=reason)
    plans = [replace(plan, n_synthetic=round(n_real * share / (1 - share))) for share in _SHARES.tolist()]
    most = int(np.cumprod(_fits(plans, known, model, event, limit)).sum())
    if most == 0:
        reason = _none(plans, known, model, event, limit)
        return LargestSyntheticShare(share=None, n_synthetic=None, tier=known.tier, reason=reason)
    largest = plans[most - 1]
    share = 1 - float(origin_shares(largest)[-1, 0])  # of the last training set, which may hold earlier samples too
    return LargestSyntheticShare(share=round(share, 2), n_synthetic=largest.n_synthetic, tier=known.tier, reason=None)


def _fits(plans: Sequence[Plan], known: ForecastInputs, model: RiskModel, event: Event, limit: float) -> np.ndarray:
    """Whether the risk of each plan stays within the limit, (m,) bool; False if the risk is not determined."""
    found = [model.probability(_asked(plan, known), event=event) for plan in plans]
    return np.array([chance.status == "determined" and chance.value.high <= limit for chance in found])


def _none(plans: Sequence[Plan], known: ForecastInputs, model: RiskModel, event: Event, limit: float) -> str:
    least = min(plans, key=_syntheticness)
    found = model.probability(_asked(least, known), event=event)
    if found.status != "determined":
        return f"the forecast is {found.status}: {found.reason}"
    amounts = f"{least.n_real} real and {least.n_synthetic} synthetic items"
    return f"even with {amounts} the risk is up to {found.value.high:.2f}, expected at most {limit:g}"


def _syntheticness(plan: Plan) -> tuple[float, int]:
    """Sort key of plans: fewest synthetic items per real item first; among equals, most real items first."""
    _, n_real, n_synthetic = plan.sizes
    return n_synthetic / max(n_real, 1), -n_real
