"""What to do about a risk: the same under other workflows, the real data and the share of own samples it takes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from auditor.event import Event
from auditor.risk.inputs import ForecastInputs
from auditor.risk.model import Forecast, RiskModel
from auditor.risk.recursion import Plan, origin_shares
from auditor.risk.workflows import workflow_named

__all__ = ["advise"]

_ALTERNATIVES = ("replace", "augment", "accumulate", "fresh")
_REAL = np.concatenate([[0.0], np.exp2(np.arange(-4, 2.1, 0.25))])  # real items a generation, over the initial ones
_SHARES = np.arange(0.05, 0.96, 0.05)  # of model-made items in a training set


def advise(
    known: ForecastInputs, model: RiskModel, forecast: Forecast, *, event: Event, limit: float
) -> dict[str, Any]:
    """What follows for a plan if the upper end of the probability's interval is to be at most `limit`.

    A pilot tells of the one plan it was run for: what is said of any other rests on the tier below it.
    """
    return {
        "limit": limit,
        "leaves_tolerance": _leaving(forecast, event),
        "workflows": [_beside(plan, known, model, event) for plan in _alternatives(known.plan)],
        "fresh_real_data": _fresh_real_data(known, model, event, limit),
        "largest_synthetic_share": _largest_share(known, model, event, limit),
    }


def _leaving(forecast: Forecast, event: Event) -> dict[str, dict[str, int | None]]:
    """The first generation at which the forecast is beyond a limit of the event; its band is so at the second."""
    ratio, diversity = forecast.trajectory["frechet_ratio"], forecast.trajectory["diversity_ratio"]

    def first(beyond: Sequence[bool]) -> int | None:
        return next((t for t, found in enumerate(beyond, start=1) if found and t > 1), None)

    return {
        "frechet_ratio": {"expected": first([m.value > event.frechet_ratio for m in ratio])},
        "diversity_ratio": {"expected": first([m.value < event.diversity_ratio for m in diversity])},
    }


def _alternatives(plan: Plan) -> Iterator[Plan]:
    """The plan and its like under the other workflows, with as many real items as it has, or as the data hold."""
    n_real = plan.n_real or plan.n_initial
    n_synthetic = plan.n_synthetic or plan.n_initial
    yield plan
    for name in _ALTERNATIVES:
        if name != plan.workflow:
            has_real = workflow_named(name).real in ("fixed", "fresh")
            yield replace(plan, workflow=name, n_real=n_real if has_real else 0, n_synthetic=n_synthetic)


def _asked(plan: Plan, known: ForecastInputs) -> ForecastInputs:
    return replace(known, plan=plan, pilot=known.pilot if plan == known.plan else None)


def _beside(plan: Plan, known: ForecastInputs, model: RiskModel, event: Event) -> dict[str, Any]:
    found = model.predict(_asked(plan, known), event=event).as_json()
    last: Mapping[str, Any] = found["trajectory"][-1]
    names = ("frechet_level", "frechet_ratio", "diversity_ratio")
    return {
        "name": plan.workflow, "n_real": plan.n_real, "n_synthetic": plan.n_synthetic, "tier": found["tier"],
        "status": found["status"], "probability": found["probability"], **{name: last[name] for name in names},
    }  # fmt: skip


def _fresh_real_data(known: ForecastInputs, model: RiskModel, event: Event, limit: float) -> dict[str, Any]:
    """The least real data, new in every generation, from which on the risk keeps to the limit."""
    plan, known = known.plan, replace(known, pilot=None)
    sizes = sorted({round(plan.n_initial * share) for share in _REAL.tolist()})
    plans = [replace(plan, workflow="fresh", n_real=n) for n in sizes if n + plan.n_synthetic > 0]
    fits = _fits(plans, known, model, event, limit)
    least = len(fits) - int(np.cumprod(fits[::-1]).sum())
    if least == len(fits):
        return {"n_real": None, "tier": known.tier, "reason": _none(plans, known, model, event, limit)}
    return {"n_real": plans[least].n_real, "tier": known.tier, "reason": None}


def _largest_share(known: ForecastInputs, model: RiskModel, event: Event, limit: float) -> dict[str, Any]:
    """The largest share of model-made items in a training set up to which the risk keeps to the limit."""
    plan, known = known.plan, replace(known, pilot=None)
    if workflow_named(plan.workflow).real not in ("fixed", "fresh") or plan.n_real == 0:
        reason = f"{plan.workflow} has no real items beside its own: its share is what the workflow makes it"
        return {"share": None, "n_synthetic": None, "tier": known.tier, "reason": reason}
    plans = [replace(plan, n_synthetic=round(plan.n_real * share / (1 - share))) for share in _SHARES.tolist()]
    most = int(np.cumprod(_fits(plans, known, model, event, limit)).sum())
    if most == 0:
        reason = _none(plans, known, model, event, limit)
        return {"share": None, "n_synthetic": None, "tier": known.tier, "reason": reason}
    largest = plans[most - 1]
    share = 1 - float(origin_shares(largest)[-1, 0])  # of the last training set, which may hold earlier samples too
    return {"share": round(share, 2), "n_synthetic": largest.n_synthetic, "tier": known.tier, "reason": None}


def _fits(plans: Sequence[Plan], known: ForecastInputs, model: RiskModel, event: Event, limit: float) -> np.ndarray:
    """Whether the risk of each plan keeps to the limit, (m,) bool; one that is not determined does not."""
    found = [model.probability(_asked(plan, known), event=event) for plan in plans]
    return np.array([chance.status == "determined" and chance.value.high <= limit for chance in found])


def _none(plans: Sequence[Plan], known: ForecastInputs, model: RiskModel, event: Event, limit: float) -> str:
    least = min(plans, key=lambda plan: (plan.n_synthetic / max(plan.n_real, 1), -plan.n_real))
    found = model.probability(_asked(least, known), event=event)
    if found.status != "determined":
        return f"the forecast is {found.status}: {found.reason}"
    amounts = f"{least.n_real} real beside {least.n_synthetic} made items"
    return f"even {amounts} leave a risk of up to {found.value.high:.2f}, expected {limit:g}"
