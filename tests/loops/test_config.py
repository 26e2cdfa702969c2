import dataclasses
import json
from typing import Any

import pytest

from indexes.errors import InputError
from loops.config import LoopConfig, config_from


def resolved(size: int | None = None, width: int = 1, vectorised: bool = True, **fields: Any) -> LoopConfig:
    return LoopConfig(**fields).resolved(size=size, width=width, vectorised=vectorised)


def test_hyphens_and_underscores_name_the_same_field() -> None:
    assert config_from({"n-real": 5}) == config_from({"n_real": 5})


def test_what_is_none_was_not_given() -> None:
    assert config_from({"family": None, "bias": None}) == LoopConfig()


def test_a_whole_number_is_good_enough_for_a_share() -> None:
    assert json.dumps(config_from({"bias": 1}).as_json()) == json.dumps(LoopConfig().as_json())


def test_unknown_fields_are_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"no field colour, size, expected some of bias, budget"):
        config_from({"colour": 1, "size": 2, "seed": 3})


@pytest.mark.parametrize("name", ["generations", "memory", "chains", "threads", "candidates", "n_measure",
                                  "measured_chains", "budget", "limit", "n_initial"])  # fmt: skip
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3"])
def test_counts_are_whole_and_positive(name: str, value: object) -> None:
    with pytest.raises(InputError, match="expected a whole number of at least 1"):
        config_from({name: value})


@pytest.mark.parametrize("name", ["n_real", "n_synthetic", "seed"])
def test_a_part_may_be_empty_but_not_negative(name: str) -> None:
    config_from({name: 0})
    with pytest.raises(InputError, match="at least 0"):
        config_from({name: -1})


@pytest.mark.parametrize("name", ["bias", "contamination", "real_weight", "verifier_error"])
@pytest.mark.parametrize("value", [-0.1, 1.1, "0.2", True, float("nan"), [0.5]])
def test_shares_are_numbers_in_their_range(name: str, value: object) -> None:
    with pytest.raises(InputError, match=r"expected a number in \[0, "):
        config_from({name: value, "contaminant": "normal:1"})


@pytest.mark.parametrize("name", ["family", "workflow", "data", "contaminant", "device", "encoder", "column"])
@pytest.mark.parametrize("value", [3, ["a"]])
def test_names_are_texts(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{name} is .*, expected a text"):
        config_from({name: value})


@pytest.mark.parametrize("settings", [5, "steps", [1], {1: 2}, {"a": object()}])
def test_settings_that_no_file_can_hold_are_refused(settings: object) -> None:
    with pytest.raises(InputError, match="settings are"):
        LoopConfig(settings=settings)


def test_a_verifier_that_errs_more_often_than_not_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[0, 0.5\]"):
        LoopConfig(verifier_error=0.6)


def test_a_contamination_needs_a_contaminant() -> None:
    with pytest.raises(InputError, match="give --contaminant"):
        LoopConfig(contamination=0.1)


def test_binomial_mixing_belongs_to_the_fresh_loop() -> None:
    with pytest.raises(InputError, match="needs the workflow fresh"):
        LoopConfig(mixing="binomial", workflow="augment")


def test_the_initial_number_serves_for_all_that_was_left_out() -> None:
    found = resolved(workflow="augment", n_initial=30)
    assert (found.n_initial, found.n_real, found.n_synthetic, found.budget) == (30, 30, 30, 30)


@pytest.mark.parametrize(("workflow", "n_real"), [("replace", 0), ("augment", 30), ("augment-accumulate", 30),
                                                 ("fresh", 30), ("accumulate", 30), ("accumulate-subsample", 30),
                                                 ("weighted", 30), ("curated", 0), ("verified", 0)])  # fmt: skip
def test_each_workflow_has_its_own_default_of_real_items(workflow: str, n_real: int) -> None:
    assert resolved(workflow=workflow, n_initial=30).n_real == n_real


def test_small_data_give_small_defaults() -> None:
    found = resolved(size=200)
    assert (found.n_initial, found.n_synthetic, found.n_measure) == (200, 200, 100)


@pytest.mark.parametrize(("width", "vectorised", "chains"), [(1, True, 100), (100, True, 64), (9999, True, 1),
                                                            (1, False, 1)])  # fmt: skip
def test_the_number_of_chains_follows_family_and_width(width: int, vectorised: bool, chains: int) -> None:
    assert resolved(width=width, vectorised=vectorised).chains == chains


def test_what_was_given_is_not_resolved_away() -> None:
    given = LoopConfig(workflow="fresh", n_initial=3, n_real=0, n_synthetic=7, chains=2, n_measure=9, budget=4)
    assert given.resolved(size=None, width=1, vectorised=True) == given


def test_resolving_twice_changes_nothing() -> None:
    once = resolved(workflow="curated", n_initial=30)
    assert once.resolved(size=None, width=1, vectorised=True) == once


def test_the_plain_fields_survive_json() -> None:
    config = LoopConfig(settings={"ddof": 0}, data="normal:2")
    assert config_from(json.loads(json.dumps(config.as_json()))) == config


def test_every_field_is_in_the_plain_fields() -> None:
    assert set(LoopConfig().as_json()) == {field.name for field in dataclasses.fields(LoopConfig)}


@pytest.mark.parametrize("workflow", ["accumulate", "augment-accumulate", "accumulate-subsample"])
def test_a_memory_is_refused_where_nothing_is_forgotten(workflow: str) -> None:
    with pytest.raises(InputError, match="keeps all generations"):
        LoopConfig(workflow=workflow, memory=2)
