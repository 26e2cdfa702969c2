"""Features of what a team knows: their values where a formula gives them, and what each tier adds."""

import math

import numpy as np
import pytest

from auditor import audit
from auditor.arrays import source_of_array
from auditor.reference.component import encode_part
from auditor.reference.reference import EncoderRole, build_reference
from auditor.risk.inputs import TIERS, AuditFigures, ForecastInputs, features_of, figures_of, workflow_class
from auditor.risk.recursion import Plan
from auditor.risk.sample_statistics import facts_of
from indexes.encoders import load_encoder

FIGURES = AuditFigures(200, 0.2, 0.1, 0.9, 0.95, 0.9, 0.9, 1.0, 1.0, 2.0, 0.01, 2000, 3.0)
PLAN = Plan("fresh", 8, 200, 100, 100, 0.9)


def known(tier, plan=PLAN):
    rng = np.random.default_rng(0)
    real = rng.normal(size=(100, 3))
    first, second = facts_of(0.9 * rng.normal(size=(100, 3)), real, real), facts_of(rng.normal(size=(100, 3)), real)
    return ForecastInputs(plan, FIGURES, first if tier != TIERS[0] else None, second if tier == TIERS[2] else None)


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
    assert workflow_class(Plan(workflow, 8, 100, 100, n_real)) == expected


def test_figures_are_those_of_an_audit(rng):
    rows = rng.normal(size=(360, 4)).astype(np.float32)
    encoder = load_encoder("embeddings:4")
    parts = [
        encode_part(label, [source_of_array(part)], [encoder], batch_size=256, threads=1)
        for label, part in (("real", rows[:120]), ("g", rows[120:240] + 3))
    ]
    role = EncoderRole(encoder.spec, encoder.fingerprint, encoder.sees, encoder.kind)
    result = audit(rows[240:], build_reference("r", parts, evidence=role, semantic=role, seed=0))
    found, vendi = figures_of(result), result["diversity"]["measures"]["vendi"]
    assert found.n == 120
    assert found.vendi == vendi["value"] / vendi["reference"]
    assert found.fraction == result["synthetic_fraction"]["if_reference_matches"]["estimate"]
    assert found.floor * np.trace(np.cov(rows[:120].T)) == pytest.approx(result["fidelity"]["scale"]["frechet"])
    assert all(math.isfinite(value) for value in features_of(ForecastInputs(PLAN, found), tier="audit").values())


def test_an_undetermined_fraction_is_the_middle_of_what_is_left_open():
    open_end = {"estimate": None, "low": 0.2, "high": 1.0}
    none = {name: {"value": None, "reference": None} for name in ("vendi", "effective_rank", "coverage", "recall")}
    fidelity = {name: {"value": None, "reference": None} for name in ("precision", "density", "frechet")}
    result = {
        "n_items": 10,
        "synthetic_fraction": {"estimate": None, "low": 0.0, "high": 1.0, "if_reference_matches": open_end},
        "diversity": {"measures": none},
        "fidelity": {"measures": fidelity, "scale": None},
    }
    found = figures_of(result)
    assert (found.fraction, found.fraction_width) == (pytest.approx(0.6), pytest.approx(0.8))
    assert math.isnan(found.vendi)
