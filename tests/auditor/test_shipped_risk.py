"""The risk model that ships: what it was made of, and the limits that theory fixes."""

from dataclasses import replace

import numpy as np
import pytest

from auditor.risk.inputs import TIERS
from auditor.risk.model import SHIPPED, risk_model
from loops.calibration.observe import write_observed
from loops.calibration.rows import read_row
from loops.config import LoopConfig
from loops.run import prepare_loop, run_loop


@pytest.fixture(scope="module")
def model():
    return risk_model(None)


def known_of(tmp_path_factory, **changes):
    """What a team would know of a well-specified Gaussian loop, and what then happened, (4, T)."""
    fields = {"n_initial": 400, "n_synthetic": 400, "n_measure": 1000, "chains": 1, "generations": 8, "seed": 5}
    config = LoopConfig(family="gaussian", data="normal:10", **{**fields, **changes})
    folder, loop = tmp_path_factory.mktemp("loop"), prepare_loop(config)
    list(run_loop(loop, folder=folder))
    write_observed(loop, folder)
    row = read_row(folder)
    return row.known, row.outputs


@pytest.fixture(scope="module")
def augmented(tmp_path_factory):
    return known_of(tmp_path_factory, workflow="augment", n_real=400)


@pytest.fixture(scope="module")
def replaced(tmp_path_factory):
    return known_of(tmp_path_factory, workflow="replace", bias=0.7)


def at(known, tier):
    return replace(
        known, model=None if tier == "audit" else known.model, pilot=known.pilot if tier == "pilot" else None
    )


def test_it_says_what_it_was_calibrated_on(model):
    made_of = model.manifest
    assert made_of["rows"] == len(made_of["row_families"]) >= 400
    assert made_of["row_families"].count("unet-diffusion") >= 8
    assert len(made_of["families"]) >= 10
    assert len(made_of["data"]) >= 8
    assert (model.horizon, model.level, model.identity["file"]) == (8, 0.9, SHIPPED)


@pytest.mark.parametrize("tier", TIERS)
def test_its_forecasts_beat_the_base_rate_and_the_synthetic_share_on_unseen_families_and_data(model, tier):
    found, alone = model.tiers[tier].skill["all"], model.manifest["share_alone"]["all"]
    for name in ("brier_skill", "spearman_frechet_ratio", "spearman_frechet_level", "spearman_diversity_ratio"):
        assert found[name] > max(alone[name], 0) + 0.05, name
    assert found["calibration_error"] <= 0.06
    assert 0.85 <= found["coverage"] <= 0.95
    assert all(skill["coverage"] >= 0.82 for skill in model.tiers[tier].skill.values())


@pytest.mark.parametrize("tier", TIERS)
def test_where_its_skill_over_the_base_rate_of_a_workflow_class_may_be_chance_it_is_undetermined(model, tier, replaced):
    """Fully synthetic loops go MAD nine times of ten: an audit alone tells no more."""
    found = {kind: s for kind, s in model.tiers[tier].skill.items() if kind != "all"}
    poor = {k for k, s in found.items() if s["brier_skill_in_class"] <= s["brier_skill_in_class_error"]}
    assert poor == ({"synthetic"} if tier == "audit" else set())
    assert (model.predict(at(replaced[0], tier)).status == "undetermined") == (tier == "audit")


@pytest.mark.parametrize("tier", TIERS)
def test_without_synthetic_data_there_is_no_risk_beyond_the_family_s_own(model, augmented, tier):
    """A Gaussian retrained on the same real data is the same Gaussian."""
    known = at(augmented[0], tier)
    found = model.predict(replace(known, pilot=None, plan=replace(known.plan, n_synthetic=0)))
    ratio = found.trajectory["frechet_ratio"][-1]
    assert found.probability.estimate < 0.3
    assert ratio.low < 1 < ratio.high
    assert 0.7 < ratio.estimate < 1.4


@pytest.mark.parametrize("tier", TIERS)
def test_a_well_specified_gaussian_with_fixed_real_data_does_not_go_mad(model, augmented, tier):
    known, outputs = augmented
    assert np.exp(outputs[1, -1]) < 2
    found = model.predict(at(known, tier))
    assert found.probability.estimate < 0.5
    assert found.trajectory["diversity_ratio"][-1].estimate > 0.8


@pytest.mark.parametrize("tier", TIERS)
def test_a_fully_synthetic_loop_with_sampling_bias_loses_diversity(model, replaced, tier):
    known, outputs = replaced
    assert np.exp(outputs[2, -1]) < 0.5
    found = model.predict(at(known, tier))
    assert found.trajectory["diversity_ratio"][-1].estimate < 0.8
    assert found.status == "undetermined" or found.probability.estimate > 0.5


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("loop", ["augmented", "replaced"])
def test_more_fresh_real_data_never_raise_the_level(model, request, tier, loop):
    known = request.getfixturevalue(loop)[0]
    plan = replace(known.plan, workflow="fresh")
    asked = [replace(known, plan=replace(plan, n_real=n)) for n in (0, 10, 47, 100, 333, 1000, 5000)]
    levels = model.tiers[tier].expected(asked, tier)[:, 0]
    assert (np.diff(levels, axis=0) <= 1e-9).all()
