"""The risk model on rows drawn from a law that is known: what it must find, hold and refuse."""

import math
from dataclasses import replace

import numpy as np
import pytest

from auditor.event import Event
from auditor.risk.inputs import TIERS
from auditor.risk.model import load_risk_model
from auditor.risk.tier import OUTPUTS
from indexes.errors import ArtifactError, InputError
from loops.calibration.fit import calibrate
from loops.calibration.validation import held_out, reliability, share_alone, skill_of


@pytest.fixture(scope="module")
def rows(law_rows):
    return law_rows


@pytest.fixture(scope="module")
def model(law_model):
    return load_risk_model(law_model)


@pytest.fixture(scope="module")
def fresh(rows):
    """What is known of a loop with fresh data."""
    return next(row.known for row in rows if row.known.plan.workflow == "fresh")


def at_tier(known, tier):
    return replace(
        known, model=None if tier == "audit" else known.model, pilot=known.pilot if tier == "pilot" else None
    )


def test_what_the_law_determines_is_forecast_on_unseen_families_and_data(rows):
    skill = skill_of(held_out(rows, "model-samples"))["all"]
    assert skill["spearman_frechet_ratio"] > 0.9
    assert skill["spearman_diversity_ratio"] > 0.6
    assert skill["brier_skill"] > 0.5


def test_bands_hold_whole_trajectories_as_often_as_they_say(rows):
    """160 trajectories of four outputs at level 0.9: standard error 0.024 were they independent."""
    coverage = skill_of(held_out(rows, "pilot"))["all"]["coverage"]
    assert 0.84 <= coverage <= 0.97


def test_knowing_more_helps(rows):
    errors = [skill_of(held_out(rows, tier))["all"]["brier"] for tier in TIERS[:2]]
    assert errors[1] < errors[0]


def test_a_saved_model_forecasts_the_same(rows, tmp_path):
    model = calibrate(rows[:60])
    model.save(tmp_path / "risk.npz")
    again = load_risk_model(tmp_path / "risk.npz")
    for tier in TIERS:
        known = at_tier(rows[3].known, tier)
        first, second = model.predict(known), again.predict(known)
        assert second.probability.estimate == pytest.approx(first.probability.estimate, abs=1e-4, nan_ok=True)
        assert second.status == first.status
        assert second.skill == first.skill
    assert (tmp_path / "risk.npz").stat().st_size < 500_000


def test_a_forecast_has_every_output_of_every_generation_in_order(model, rows):
    found = model.predict(rows[5].known)
    assert [entry.generation for entry in found.courses] == list(range(1, 9))
    for entry in found.courses:
        for measure in (getattr(entry, name) for name in OUTPUTS):
            assert measure.low <= measure.estimate <= measure.high
    assert found.tier == "pilot"


def test_a_shorter_horizon_is_the_beginning_of_the_longer(model, rows):
    known = rows[5].known
    short, long = (model.predict(replace(known, plan=replace(known.plan, generations=t))) for t in (4, 8))
    assert short.courses == long.courses[:4]


def test_fully_synthetic_loops_are_riskier_than_fresh_data(model, fresh):
    plans = [replace(fresh.plan, workflow=name, n_real=n, bias=0.8) for name, n in (("replace", 0), ("fresh", 800))]
    found = [model.predict(replace(fresh, plan=plan)).trajectory for plan in plans]
    assert found[0]["frechet_level"][-1].estimate > 2 * found[1]["frechet_level"][-1].estimate
    assert found[0]["diversity_ratio"][-1].estimate < found[1]["diversity_ratio"][-1].estimate


def test_stricter_limits_are_crossed_more_often(model, fresh):
    chances = [
        model.predict(fresh, event=Event(frechet_ratio=ratio, diversity_ratio=0.8)).probability.estimate
        for ratio in (1.5, 2.0, 4.0)
    ]
    assert chances[0] >= chances[1] >= chances[2]


def test_the_choice_of_families_is_in_the_probability(model, fresh):
    found = model.predict(replace(fresh, audit=replace(fresh.audit, fraction_width=0.0))).probability
    assert found.low < found.estimate < found.high


def test_the_uncertainty_of_the_audit_is_in_the_probability(model, fresh):
    alone = {
        tier: replace(m, chances={when: found[:1] for when, found in m.chances.items()})
        for tier, m in model.tiers.items()
    }
    model = replace(model, tiers=alone)  # as if other families would have said the same
    sharp, vague = (
        replace(fresh, audit=replace(fresh.audit, fraction=0.3, fraction_low=low, fraction_high=high))
        for low, high in ((0.3, 0.3), (0.1, 0.9))
    )
    narrow, wide = (model.predict(known).probability for known in (sharp, vague))
    assert (narrow.low, narrow.high) == pytest.approx((narrow.estimate, narrow.estimate))
    assert wide.low < wide.estimate < wide.high


def test_more_fresh_real_data_never_raise_the_level(model, rows):
    """Whatever the regression says."""
    for row in rows[:25]:
        plan = replace(row.known.plan, workflow="fresh")
        known = [replace(row.known, plan=replace(plan, n_real=n)) for n in (0, 1, 30, 100, 101, 400, 1600, 5000)]
        for tier in TIERS:
            levels = model.tiers[tier].expected(known, tier)[:, 0]
            assert (np.diff(levels, axis=0) <= 1e-9).all()


def test_what_is_unlike_the_calibration_is_extrapolated(model, fresh, make):
    far = replace(fresh, model=make.facts(500.0, 0.01), pilot=make.facts(5000.0, 0.001))
    assert model.predict(far).status == "extrapolated"
    other = replace(fresh, plan=replace(fresh.plan, workflow="weighted"))
    assert model.predict(other).status == "extrapolated"


def test_a_tier_without_skill_says_so(model, rows):
    """Not even where what skill there is may be chance: it has to exceed its own standard error."""
    for skill, error in ((-0.1, 0.01), (0.02, 0.05)):
        noted = {"all": {"brier_skill_in_class": skill, "brier_skill_in_class_error": error}}
        poor = {tier: replace(m, skill=noted) for tier, m in model.tiers.items()}
        found = replace(model, tiers=poor).predict(rows[0].known)
        assert (found.status, found.probability.low, found.probability.high) == ("undetermined", 0, 1)
        assert math.isnan(found.probability.estimate)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_initial": 10**6, "n_synthetic": 10**6, "n_real": 10**6}, "log_n_initial is"),
        ({"bias": 0.01}, "bias_lost is"),
    ],
)
def test_a_size_or_a_bias_beyond_the_calibration_is_extrapolated(model, fresh, change, said):
    """Though everything else is as it was, which a distance over all features would drown it in."""
    for tier in TIERS:
        found = model.predict(at_tier(replace(fresh, plan=replace(fresh.plan, **change)), tier))
        assert found.status == "extrapolated"
        assert said in found.reason


def test_what_an_audit_has_not_measured_does_not_bring_a_loop_nearer(model, fresh):
    nothing = dict.fromkeys(("vendi", "effective_rank", "coverage", "recall", "density", "frechet"), math.nan)
    found = model.predict(replace(fresh, audit=replace(fresh.audit, **nothing)))
    assert found.status == "extrapolated"
    assert "missing" in found.reason


def test_fewer_samples_of_a_model_than_the_calibration_has_are_extrapolated(model, fresh):
    few = replace(model, manifest={**model.manifest, "fewest_samples": 10**9})
    assert "samples of a model were given" in few.predict(fresh).reason


def test_data_of_two_columns_on_which_forecasts_tell_nothing_are_not_relied_on(model, fresh):
    found = model.predict(replace(fresh, audit=replace(fresh.audit, width=2)))
    assert (found.status, "2 columns" in found.reason) == ("extrapolated", True)


def test_an_event_with_limits_beyond_the_calibration_s_is_extrapolated(model, fresh):
    for event in (Event(frechet_ratio=50.0, diversity_ratio=0.8), Event(frechet_ratio=2.0, diversity_ratio=0.001)):
        assert "the event's limits" in model.predict(fresh, event=event).reason


def test_what_happens_at_the_end_happens_ever(model, rows):
    told = 0
    for row in rows[:30]:
        for horizon in (2, 5, 8):
            known = replace(row.known, plan=replace(row.known.plan, generations=horizon))
            at, ever = (model.predict(known, event=Event(when=when)).probability.estimate for when in ("at", "ever"))
            if not math.isnan(at):
                told += 1
                assert ever >= at
                assert horizon > 2 or ever == at
    assert told >= 20


def test_what_is_not_known_cannot_be_used(model, rows):
    with pytest.raises(InputError, match="only the tier audit is known"):
        model.predict(at_tier(rows[0].known, "audit"), tier="pilot")
    with pytest.raises(InputError, match="expected at most 8"):
        model.predict(replace(rows[0].known, plan=replace(rows[0].known.plan, generations=9)))


def test_too_few_loops_are_refused(rows):
    with pytest.raises(InputError, match="expected at least 40 loops of 3"):
        calibrate(rows[:30])


def test_what_is_no_model_is_an_artifact_error(tmp_path):
    (tmp_path / "m.npz").write_bytes(b"nothing")
    for name in ("m.npz", "missing.npz"):
        with pytest.raises(ArtifactError, match="madaudit calibrate"):
            load_risk_model(tmp_path / name)


def test_reliability_is_that_of_the_forecasts(rows):
    """Chances drawn uniformly and events that happen as often as they say: the error is noise alone."""
    rng = np.random.default_rng(0)
    found = held_out(rows[:60], "audit")
    chances = rng.uniform(size=4000)
    truth = np.zeros((4000, 4, 2))
    truth[:, 1, 1] = np.where(rng.uniform(size=4000) < chances, 5.0, -5.0)  # log ratio
    honest = reliability(replace(found, chances={"at": chances[:, None]}, truth=truth))
    assert honest.error < 0.03
    assert sum(count for _, _, count in honest.bins) == 4000
    boastful = reliability(replace(found, chances={"at": np.round(chances)[:, None]}, truth=truth))
    assert boastful.error == pytest.approx(0.25, abs=0.03)


def test_the_synthetic_share_alone_is_worth_less(rows):
    alone, found = skill_of(share_alone(rows))["all"], skill_of(held_out(rows, "model-samples"))["all"]
    assert 0 < alone["brier_skill"] < found["brier_skill"]
    for name in ("spearman_frechet_ratio", "spearman_frechet_level", "spearman_diversity_ratio"):
        assert alone[name] < found[name]


@pytest.mark.parametrize("change", [{"data": "one"}, {"family": "gaussian"}])
def test_loops_of_one_kind_cannot_be_calibrated_for_others(law_rows, change):
    with pytest.raises(InputError, match="expected at least 40 loops of 3 families on 2 data sets"):
        calibrate([replace(row, **change) for row in law_rows[:60]])
