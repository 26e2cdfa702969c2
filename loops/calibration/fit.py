"""Fit the risk model to finished loops, and measure its skill on held-out model families and data sets."""

from collections.abc import Callable, Sequence
from typing import Any

from auditor.risk.inputs import TIERS
from auditor.risk.model import RiskModel
from indexes.errors import InputError
from loops.calibration.rows import CalibrationRow
from loops.calibration.tier_fit import LEVEL, fit_tier, table_of
from loops.calibration.validation import held_out, share_alone, skill_of

__all__ = ["calibrate"]

_FEWEST_ROWS, _FEWEST_FAMILIES, _FEWEST_DATA = 40, 3, 2  # both are held out in turn
_RESAMPLES = 40  # bootstrap draws of families for the interval of a probability


def calibrate(rows: Sequence[CalibrationRow], *, on_progress: Callable[[str], None] = lambda line: None) -> RiskModel:
    """A risk model fitted to all `rows`, with its forecast skill on held-out model families and data sets."""
    families, data = {row.family for row in rows}, {row.data for row in rows}
    if len(rows) < _FEWEST_ROWS or len(families) < _FEWEST_FAMILIES or len(data) < _FEWEST_DATA:
        raise InputError(
            f"got {len(rows)} loops of {len(families)} families on {len(data)} data sets, expected at least "
            f"{_FEWEST_ROWS} loops of {_FEWEST_FAMILIES} families on {_FEWEST_DATA} data sets: run more loops"
        )
    tiers = {}
    for tier in TIERS:
        table = table_of(rows, tier)
        on_progress(f"{tier}: validating on {len(families)} families and {len(data)} data sets")
        tiers[tier] = fit_tier(table, skill_of(held_out(rows, tier)), resamples=_RESAMPLES)
    horizon = rows[0].outputs.shape[1]
    manifest: dict[str, Any] = {
        "rows": len(rows),
        "families": sorted(families),
        "data": sorted(data),
        "keys": [row.key for row in rows],
        "row_families": [row.family for row in rows],
        "row_data": [row.data for row in rows],
        "fewest_samples": min(facts.n for row in rows for facts in (row.known.model, row.known.pilot) if facts),
        "share_alone": skill_of(share_alone(rows)),
    }
    workflows = tuple(sorted({row.known.plan.workflow for row in rows}))
    return RiskModel(tiers, horizon, LEVEL, workflows, manifest)
