"""The validation of an encoder on labelled vectors: what is tried, what is counted, what is refused."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from auditor.evaluation import Pair, Validation, share_of, summarise, validate_encoder, validation_schema
from auditor.records import record_document
from indexes.errors import ArtifactError, InputError

SMALL = {"encoder": "embeddings", "draws": 1, "reference": 50, "size": 20, "threads": 1}


def block(n: int, shift: float, *, seed: int) -> np.ndarray:
    """Normal rows in two dimensions, the first one moved."""
    return np.random.default_rng(seed).normal(size=(n, 2)) + np.array([shift, 0])


REAL = {"r": block(120, 0, seed=0), "q": block(120, 1, seed=1)}
SYNTHETIC = {"a": block(100, 4, seed=2), "b": block(100, -4, seed=3)}


@pytest.fixture(scope="module", autouse=True)
def two_fractions() -> Iterator[None]:
    """Draws take time, and two fractions of them are enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auditor.evaluation.validate._FRACTIONS", (0.0, 0.25))
        yield


@pytest.fixture(scope="module")
def found(two_fractions: None) -> Validation:
    """Two real labels and two generators: all scenarios."""
    return validate_encoder(REAL, SYNTHETIC, **SMALL)


def nowhere(work, numbers) -> tuple[()]:
    """Runs nothing."""
    return ()


def test_every_label_is_counted_with_its_origin(found: Validation) -> None:
    assert [(each.label, each.is_real, each.items) for each in found.labels] == [
        ("r", True, 120), ("q", True, 120), ("a", False, 100), ("b", False, 100),
    ]  # fmt: skip


def test_every_real_label_is_compared_with_every_generator_and_other_real_label(found: Validation) -> None:
    assert [(each.real, each.other, each.other_is_real) for each in found.separation] == [
        ("r", "a", False), ("r", "b", False), ("q", "a", False), ("q", "b", False), ("r", "q", True),
    ]  # fmt: skip


def test_the_separation_of_gaussians_is_near_the_closed_form(found: Validation) -> None:
    for each, shift in zip(found.separation, (4, 4, 3, 5, 1), strict=True):
        assert each.auroc.n == 100
        assert abs(each.auroc.estimate - stats.norm.cdf(shift / math.sqrt(2))) < 0.12  # of 50 + 50 items


def test_generators_are_tried_known_and_unseen_and_real_labels_as_another_source(found: Validation) -> None:
    tried = {each.name: {summary.pair for summary in each.pairs} for each in found.scenarios}
    assert tried["known"] == {Pair(r, ("a", "b"), g) for r in "rq" for g in "ab"}
    assert tried["unseen"] == {Pair(r, (other,), g) for r in "rq" for g, other in ("ab", "ba")}
    assert tried["another-real-source"] == {
        Pair(r, ("a", "b"), None, foreign=other, foreign_share=1.0) for r, other in ("rq", "qr")
    }
    assert found.not_tried == {}


def test_every_fraction_is_drawn_for_every_pair(found: Validation) -> None:
    known, unseen, other = found.scenarios
    for scenario in (known, unseen):
        for each in scenario.pairs:
            assert [draw.truth for draw in scenario.draws if draw.pair == each.pair] == [0.0, 0.25]
    assert {draw.truth for draw in other.draws} == {0.0}


def test_fractions_are_tried_as_far_as_the_smallest_generator_suffices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditor.evaluation.validate._FRACTIONS", (0.0, 0.01, 0.05, 0.5, 0.75, 1.0))
    for size, fractions in ((20, (0.0, 0.05, 0.5, 0.75, 1.0)), (60, (0.0, 0.05, 0.5, 0.75)), (70, (0.0, 0.05, 0.5))):
        found = validate_encoder(*ONE, **{**SMALL, "size": size}, run=nowhere)
        assert found.fractions == fractions  # 50 items are left; .01 of these sizes is no item


def test_sums_are_those_of_the_draws(found: Validation) -> None:
    for scenario in found.scenarios:
        held = [draw.stated.low <= draw.truth <= draw.stated.high for draw in scenario.draws]
        assert scenario.overall.stated.coverage == share_of(held)
        for each in scenario.pairs:
            of_pair = [draw for draw in scenario.draws if draw.pair == each.pair]
            assert record_document(each.summary) == record_document(summarise(of_pair))
            assert each.summary.draws > 0


def test_known_generators_that_lie_apart_are_estimated_well(found: Validation) -> None:
    known = found.scenarios[0].overall
    assert known.if_generators_known.error.estimate < 0.06
    assert known.if_generators_known.coverage.high >= 0.95
    assert known.stated.coverage.high >= 0.95


def test_a_validation_meets_its_schema_and_comes_back(found: Validation, meets_schema: Any) -> None:
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["schema"] == "madaudit/validation/1"
    assert meets_schema("validation.json", document)
    assert Validation.from_dict(document).to_dict() == document
    with pytest.raises(ArtifactError, match="does not have the format"):
        Validation.from_dict({**document, "size": None})


def measures(document: Any) -> Iterator[dict[str, Any]]:
    if isinstance(document, dict) and "estimate" in document:
        yield document
    for value in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from measures(value)


def test_a_number_that_is_missing_has_a_reason(found: Validation) -> None:
    everything = list(measures(found.to_dict()))
    assert len(everything) > 100
    summaries = [each for scenario in found.to_dict()["scenarios"] for each in measures(scenario["overall"])]
    assert [each for each in summaries if each["estimate"] is None and not each["reason"]] == []


def test_the_committed_schema_is_that_of_the_types() -> None:
    committed = Path(__file__).parents[3] / "docs" / "schemas" / "validation.json"
    assert json.loads(committed.read_text(encoding="utf-8")) == validation_schema(), "run python scripts/schemas.py"


# where it runs, and the seed


ONE = ({"r": REAL["r"]}, {"a": SYNTHETIC["a"]})


def test_references_may_be_worked_on_elsewhere_and_progress_is_told() -> None:
    seen, encoded, done = [], [], []

    def run(work, numbers):
        seen.extend(numbers)
        return [work(number) for number in numbers]

    one = validate_encoder(
        *ONE, **SMALL, run=run, on_progress=lambda *a: encoded.append(a), on_reference=lambda *a: done.append(a)
    )
    assert (seen, encoded, done) == ([0], [("r", 120), ("a", 100)], [(0, 1), (1, 1)])
    assert validate_encoder(*ONE, **SMALL).to_dict() == one.to_dict()
    assert one.not_tried.keys() == {"unseen", "another-real-source"}


@pytest.mark.parametrize(("seed", "numbers"), [(0, [0, 1, 2]), (1, [3, 4, 5])])
def test_another_seed_gives_other_references(seed: int, numbers: list[int]) -> None:
    seen: list[int] = []

    def run(work, found) -> tuple[()]:
        seen.extend(found)
        return ()

    validate_encoder(*ONE, **{**SMALL, "draws": 3}, seed=seed, run=run)
    assert seen == numbers


# what is left out and refused


def test_exact_copies_are_left_out_and_counted() -> None:
    real = np.concatenate([REAL["r"], REAL["r"][:5]])
    synthetic = np.concatenate([SYNTHETIC["a"], REAL["r"][:3]])
    found = validate_encoder(real, {"a": synthetic}, **SMALL, run=nowhere)
    assert [(each.label, each.items, dict(each.skipped)) for each in found.labels] == [
        ("real", 120, {"copy": 5}), ("a", 100, {"copy of another label's item": 3}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"synthetic": {}}, "there is no synthetic data"),
        ({"real": {}}, "there is no real data"),
        ({"synthetic": {"r": SYNTHETIC["a"]}}, "labels real and synthetic data"),
        ({"synthetic": {"a": SYNTHETIC["a"][:99]}}, "a has 99 different usable items .* at least 100"),
        ({"synthetic": {"a": np.ones((120, 3))}}, r"widths \[2, 3\]"),
        ({"draws": 0}, "--draws is 0"),
        ({"reference": 49}, "--reference is 49, expected at least 50"),
        ({"reference": 96}, "a has 100 different usable items, expected at least 101 for a reference of 96"),
        ({"size": 19}, "--size is 19, expected at least 20"),
        ({"size": 71}, "r has 120 different usable items, expected at least 121"),
        ({"seed": -1}, "--seed is -1"),
        ({"seed": 1_000_000}, "expected a number from 0 to 999999"),
        ({"encoder": "no-such"}, "no-such"),
    ],
)
def test_what_the_user_can_mend_is_an_input_error(changes: dict[str, Any], said: str) -> None:
    arguments = {"real": {"r": REAL["r"]}, "synthetic": ONE[1], **SMALL, **changes}
    with pytest.raises(InputError, match=said):
        validate_encoder(**arguments)


@pytest.mark.parametrize(
    ("n_real", "n_synthetic", "reference", "size"),
    [(120, 100, 50, 70), (200, 101, 50, 150), (5000, 4000, 1500, 1000), (5000, 400, 200, 800)],
)
def test_sizes_are_by_default_what_the_smallest_labels_allow(
    n_real: int, n_synthetic: int, reference: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auditor.evaluation.validate._separations", lambda *a, **k: ())
    found = validate_encoder(
        block(n_real, 0, seed=0), {"a": block(n_synthetic, 4, seed=1)}, encoder="embeddings", draws=1,
        run=nowhere,
    )  # fmt: skip
    assert (found.reference, found.size) == (reference, size)
    assert max(found.fractions) * size <= n_synthetic - reference
