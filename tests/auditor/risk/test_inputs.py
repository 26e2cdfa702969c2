"""Features of what a team knows: their values where a formula gives them, and what each tier adds."""

import math

import numpy as np
import pytest

from auditor import audit
from auditor.answers import Diversity, Fidelity
from auditor.plan import Plan
from auditor.reference import build_reference
from auditor.risk.inputs import TIERS, AuditFigures, ForecastInputs, features_of, figures_of, workflow_class
from auditor.risk.sample_statistics import statistics_of
from auditor.statistics.intervals import Measure

FIGURES = AuditFigures(
    n=200,
    fraction=0.2,
    fraction_width=0.1,
    vendi=0.9,
    effective_rank=0.95,
    coverage=0.9,
    recall=0.9,
    precision=1.0,
    density=1.0,
    frechet=2.0,
    floor=0.01,
    floor_items=2000,
    rank=3.0,
)
PLAN = Plan("fresh", generations=8, n_initial=200, n_synthetic=100, n_real=100, bias=0.9)


def known(tier, plan=PLAN):
    rng = np.random.default_rng(0)
    real = rng.normal(size=(100, 3))
    first, second = (
        statistics_of(0.9 * rng.normal(size=(100, 3)), real, real),
        statistics_of(rng.normal(size=(100, 3)), real),
    )
    return ForecastInputs(
        plan=plan, audit=FIGURES, model=first if tier != TIERS[0] else None, pilot=second if tier == TIERS[2] else None
    )


@pytest.mark.parametrize("tier", TIERS)
def test_what_is_known_names_its_tier(tier):
    assert known(tier).tier == tier


def test_each_tier_adds_features():
    sizes = [len(features_of(known(tier), tier=tier)) for tier in TIERS]
    assert sizes[0] < sizes[1] < sizes[2]


def test_more_may_be_known_than_a_tier_uses():
    assert features_of(known("pilot"), tier="audit") == features_of(known("audit"), tier="audit")


def test_the_plan_gives_its_closed_forms():
    """Half synthetic: S_8(½) = (1 − s^16)/(1 − s²) and S_8(1) = ((1 − s^8)/(1 − s))² with s = ½."""
    found = features_of(known("audit"), tier="audit")
    assert found["synthetic_share"] == 0.5
    assert found["log_growth_independent"] == pytest.approx(math.log((1 - 0.5**16) / 0.75))
    assert found["log_growth_coherent"] == pytest.approx(2 * math.log((1 - 0.5**8) / 0.5))
    assert (found["is_fresh"], found["is_synthetic"]) == (1, 0)
    assert found["bias_lost"] == pytest.approx(0.1)
    assert found["fraction"] == 0.2


@pytest.mark.parametrize(
    ("workflow", "n_real", "expected"),
    [("replace", 0, "synthetic"), ("fresh", 0, "synthetic"), ("fresh", 50, "fresh"), ("augment", 50, "fixed"),
     ("accumulate", 0, "pool"), ("augment-accumulate", 50, "pool"), ("curated", 0, "synthetic")],
)  # fmt: skip
def test_workflows_fall_into_classes(workflow, n_real, expected):
    assert workflow_class(Plan(workflow, generations=8, n_initial=100, n_synthetic=100, n_real=n_real)) == expected


def test_figures_are_those_of_an_audit(rng):
    rows = rng.normal(size=(360, 4)).astype(np.float32)
    result = audit(
        rows[240:], build_reference(real=rows[:120], synthetic={"g": rows[120:240] + 3}, encoder="embeddings")
    )
    found = figures_of(result.n_items, result.synthetic_fraction, result.diversity, result.fidelity)
    vendi = result.diversity.measures["vendi"]
    assert found.n == 120
    assert found.vendi == vendi.estimate / vendi.reference
    assert found.fraction == result.synthetic_fraction.if_reference_matches.estimate
    assert found.floor * np.trace(np.cov(rows[:120].T)) == pytest.approx(result.fidelity.scale.frechet)
    assert all(
        math.isfinite(value) for value in features_of(ForecastInputs(plan=PLAN, audit=found), tier="audit").values()
    )


def test_an_undetermined_fraction_is_the_middle_of_what_is_left_open(make):
    missing, open_end = Measure(math.nan), Measure(math.nan, low=0.2, high=1.0)
    fraction = make.fraction(Measure(math.nan, low=0.0, high=1.0), if_reference_matches=open_end)
    diversity = Diversity(
        loss=missing, measures=dict.fromkeys(("vendi", "effective_rank", "coverage", "recall"), missing)
    )
    fidelity = Fidelity(measures=dict.fromkeys(("precision", "density", "frechet"), missing), scale=None)
    found = figures_of(10, fraction, diversity, fidelity)
    assert (found.fraction, found.fraction_width) == (pytest.approx(0.6), pytest.approx(0.8))
    assert math.isnan(found.vendi)
