import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.workflows import WORKFLOWS
from indexes.errors import ArtifactError, InputError
from loops import LoopConfig, run_loop
from loops.config import config_from
from loops.generation.record import Generation
from loops.random_streams import Purpose, Streams
from loops.run import prepare_loop

SMALL = {"generations": 4, "n_initial": 24, "chains": 2, "n_measure": 20, "measured_chains": 1, "data": "normal:2"}


def config(**fields: Any) -> LoopConfig:
    return config_from({**SMALL, **fields})


def run(**fields: Any) -> list[Generation]:
    return list(run_loop(config(**fields)))


def numbers(records: list[Generation]) -> list[Any]:
    """All that must be the same bit for bit: NaN as text, since it does not equal itself."""
    return [
        (repr(r.as_json()), {name: values.tobytes() for name, values in r.chains.items()}, r.sheet.values.tobytes())
        for r in records
    ]


def trained(record: Generation) -> np.ndarray:
    assert record.training is not None
    return record.training.samples.values


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert numbers(run()) == numbers(run())


def test_another_seed_gives_other_numbers() -> None:
    assert numbers(run()) != numbers(run(seed=1))


def test_using_numpys_global_generator_changes_nothing() -> None:
    before = numbers(run(family="gmm", settings={"components": 2}))
    np.random.seed(7)  # noqa: NPY002 — the point of this test
    assert numbers(run(family="gmm", settings={"components": 2})) == before


@pytest.mark.parametrize("fields", [{"family": "kde"}, {"bias": 0.5}, {"workflow": "fresh"}, {"generations": 2},
                                    {"n_synthetic": 9}])  # fmt: skip
def test_loops_of_one_seed_begin_with_the_same_real_data(fields: dict[str, Any]) -> None:
    np.testing.assert_array_equal(trained(next(run_loop(config(**fields)))), trained(next(run_loop(config()))))


@pytest.mark.parametrize("family", ["gaussian", "kde"])
def test_what_is_sampled_comes_from_the_stream_for_it(family: str) -> None:
    first, second = itertools.islice(run_loop(config(family=family, bias=0.5)), 2)
    assert first.models is not None
    rngs = [Streams(0).rng(Purpose.synthetic, 1, chain) for chain in ((None,) if family == "gaussian" else (0, 1))]
    np.testing.assert_array_equal(trained(second), first.models.sample(24, bias=0.5, rngs=rngs).values)


@pytest.mark.parametrize("generation", [1, 2])
def test_models_are_measured_with_the_bias_they_are_sampled_with(generation: int) -> None:
    record = run(bias=0.0)[generation - 1]
    assert len(np.unique(record.sheet.values, axis=0)) == 1


def test_the_fresh_real_data_do_not_depend_on_what_is_sampled() -> None:
    one, other = (run(workflow="fresh", n_real=9, bias=bias, n_synthetic=n) for bias, n in ((1.0, 9), (0.2, 30)))
    for a, b in zip(one[1:], other[1:], strict=True):
        np.testing.assert_array_equal(trained(a)[:, :9], trained(b)[:, :9])


def test_the_augmentation_loop_keeps_the_same_real_data() -> None:
    records = run(workflow="augment", n_real=9)
    assert len({r.real_digest for r in records[1:]}) == 1
    for record in records[1:]:
        np.testing.assert_array_equal(trained(record)[:, :9], trained(records[0])[:, :9])


def test_the_fresh_loop_draws_other_real_data_every_generation() -> None:
    assert len({r.real_digest for r in run(workflow="fresh", n_real=9)}) == 4


@pytest.mark.parametrize("workflow", ["fresh", "weighted"])
def test_fresh_data_may_outnumber_the_source(workflow: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((30, 2)).astype(np.float32))
    last = run(workflow=workflow, data=str(tmp_path / "x.npy"), n_initial=10, n_real=90)[-1]
    assert last.n_real == 90


@pytest.mark.parametrize("bias", [1.0, 0.3])
def test_generation_1_is_fitted_to_real_data_whatever_the_bias(bias: float) -> None:
    record = next(run_loop(config(bias=bias)))
    values = trained(record)
    np.testing.assert_allclose(record.chains["variance"], values.var(1, ddof=1).mean(1))


@pytest.mark.parametrize(("workflow", "expected"), [
    ("replace", {3: 5}), ("augment", {0: 7, 3: 5}), ("fresh", {0: 7, 3: 5}), ("weighted", {0: 7, 3: 5}),
    ("curated", {0: 7, 3: 5}), ("verified", {0: 7, 3: 5}), ("accumulate", {0: 6, 1: 5, 2: 5, 3: 5}),
    ("augment-accumulate", {0: 7, 1: 5, 2: 5, 3: 5}),
])  # fmt: skip
def test_generation_4_is_trained_on_what_its_workflow_says(workflow: str, expected: dict[int, int]) -> None:
    last = run(workflow=workflow, n_initial=6, n_real=7, n_synthetic=5)[-1]
    assert last.origins == expected
    assert (last.n_real, last.n_synthetic) == (expected.get(0, 0), sum(expected.values()) - expected.get(0, 0))


@pytest.mark.parametrize("family", ["gaussian", "kde"])
def test_memory_mixes_equal_parts_of_the_last_generations(family: str) -> None:
    origins = [r.origins for r in run(family=family, memory=3, n_synthetic=9)]
    assert origins == [{0: 24}, {1: 9}, {1: 4, 2: 5}, {1: 3, 2: 3, 3: 3}]


def test_the_parts_of_a_remembered_draw_of_tokens_are_alike() -> None:
    """Sorted tokens cut in two would give generation 3 nothing but high tokens from generation 1."""
    _, third = itertools.islice(run_loop(config(family="categorical", data="tokens:4", memory=2,
                                                     n_initial=4000, n_synthetic=4000)), 1, 3)  # fmt: skip
    assert third.training is not None
    heard = trained(third)[:, third.training.origins == 1]
    shares = np.bincount(heard.ravel(), minlength=4) / heard.size
    np.testing.assert_allclose(shares, 0.25, atol=5 * np.sqrt(0.19 / 4000))


@pytest.mark.parametrize("workflow", ["replace", "augment", "fresh", "accumulate", "weighted"])
def test_every_real_draw_is_contaminated_by_its_share(workflow: str) -> None:
    records = run(workflow=workflow, n_real=24, contamination=0.25, contaminant="rosenbrock")
    assert [record.origins.get(-1, 0) for record in records] == [record.n_real / 4 for record in records]


def test_distances_of_a_contaminated_loop_are_against_clean_data(tmp_path: Path) -> None:
    np.save(tmp_path / "far.npy", np.full((400, 1), 10, dtype=np.float32))
    fields = {"contamination": 0.5, "contaminant": str(tmp_path / "far.npy"), "n_initial": 400, "data": "normal:1"}
    found = next(run_loop(config(**fields))).measures["mean_error"].estimate
    assert found == pytest.approx(25, rel=0.1)  # half of the items lie at 10: the mean is off by 5


def test_a_contaminant_family_is_fitted_to_clean_data() -> None:
    record = next(run_loop(config(contamination=0.5, contaminant="kernel-density", n_initial=2000)))
    foreign = trained(record)[:, record.training.origins == -1]
    np.testing.assert_allclose(np.cov(foreign.reshape(-1, 2).T), np.eye(2), atol=0.2)


VARIANTS: list[dict[str, Any]] = [
    *({"workflow": name, "n_real": 12} for name in WORKFLOWS),
    {"workflow": "fresh", "memory": 3, "n_synthetic": 7, "mixing": "binomial", "n_real": 5},
    {"workflow": "augment", "memory": 3, "family": "kde"},
    {"workflow": "replace", "memory": 3, "family": "categorical", "data": "tokens:5"},
    {"workflow": "accumulate", "family": "gmm", "settings": {"components": 2}, "data": "grid:2"},
    {"workflow": "fresh", "family": "kde", "contamination": 0.3, "contaminant": "rosenbrock"},
    {"workflow": "curated", "family": "linear-regression", "data": "linear:2", "contamination": 0.3,
     "contaminant": "gaussian"},
    {"workflow": "verified", "family": "ngram", "data": "tokens:5", "settings": {"order": 2}},
    {"family": "gaussian", "data": "normal:30", "n_initial": 20},  # log determinants are −∞
]  # fmt: skip


@pytest.mark.parametrize("fields", VARIANTS, ids=lambda fields: "-".join(map(str, fields.values())))
def test_an_interrupted_loop_goes_on_with_the_same_numbers(fields: dict[str, Any], tmp_path: Path) -> None:
    whole = numbers(run(**fields))
    for after in (1, 2, 3, 4):
        folder = tmp_path / str(after)
        list(itertools.islice(run_loop(config(**fields), folder=folder), after))
        assert numbers(list(run_loop(config(**fields), folder=folder))) == whole


def test_a_loop_interrupted_after_every_generation_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    fields = {"workflow": "fresh", "memory": 3, "family": "kde", "generations": 6}
    for after in range(1, 7):
        list(itertools.islice(run_loop(config(**fields), folder=tmp_path / "loop"), after))
    assert numbers(list(run_loop(config(**fields), folder=tmp_path / "loop"))) == numbers(run(**fields))


def test_finished_generations_are_not_trained_again(tmp_path: Path) -> None:
    list(itertools.islice(run_loop(config(), folder=tmp_path / "loop"), 3))
    told: list[int] = []
    list(run_loop(config(), folder=tmp_path / "loop", on_progress=lambda generation, chains: told.append(generation)))
    assert told == [4]


@pytest.mark.parametrize("fields", [{"seed": 1}, {"bias": 0.5}, {"data": "normal:3"}, {"generations": 5}])
def test_a_folder_of_another_loop_is_refused_in_one_line(fields: dict[str, Any], tmp_path: Path) -> None:
    next(run_loop(config(), folder=tmp_path / "loop"))
    with pytest.raises(InputError, match=r"holds another loop .*--overwrite") as raised:
        next(run_loop(config(**fields), folder=tmp_path / "loop"))
    assert "\n" not in str(raised.value)


def test_changed_data_under_the_same_name_are_another_loop(tmp_path: Path) -> None:
    data = np.random.default_rng(0).standard_normal((60, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", data)
    next(run_loop(config(data=str(tmp_path / "x.npy")), folder=tmp_path / "loop"))
    np.save(tmp_path / "x.npy", data[::-1])
    with pytest.raises(InputError, match="it differs in data"):
        next(run_loop(config(data=str(tmp_path / "x.npy")), folder=tmp_path / "loop"))


def test_overwriting_replaces_another_loop(tmp_path: Path) -> None:
    list(run_loop(config(), folder=tmp_path / "loop"))
    found = list(run_loop(config(seed=1), folder=tmp_path / "loop", overwrite=True))
    assert numbers(found) == numbers(run(seed=1))


@pytest.mark.parametrize(("workflow", "lost"), [("augment", 3), ("accumulate", 1), ("replace", 3)])
def test_lost_samples_stop_a_loop_rather_than_change_its_numbers(workflow: str, lost: int, tmp_path: Path) -> None:
    list(itertools.islice(run_loop(config(workflow=workflow), folder=tmp_path / "loop"), 3))
    (tmp_path / "loop" / "generations" / f"000{lost}.batches.npz").unlink()
    with pytest.raises(
        ArtifactError, match=f"lacks the samples of generation {lost} .*delete the folder, then run again"
    ):
        list(run_loop(config(workflow=workflow), folder=tmp_path / "loop"))


def test_what_is_kept_for_accumulation_stays_and_all_else_goes(tmp_path: Path) -> None:
    for workflow in ("accumulate", "augment"):
        list(itertools.islice(run_loop(config(workflow=workflow), folder=tmp_path / workflow), 3))
    kept = {w: len(list((tmp_path / w).rglob("*.batches.npz"))) for w in ("accumulate", "augment")}
    assert kept == {"accumulate": 3, "augment": 1}


def test_a_prepared_loop_gives_the_same_numbers() -> None:
    assert numbers(list(run_loop(prepare_loop(config())))) == numbers(run())


@pytest.mark.parametrize("family", ["gaussian", "kde"])
def test_sampled_measures_have_as_many_chains_as_were_asked_for(family: str) -> None:
    record = next(run_loop(config(family=family, chains=4, measured_chains=3)))
    assert record.measures["precision"].n == 3
    assert np.isnan(record.chains["precision"]).tolist() == [False, False, False, True]


def test_exact_measures_are_on_all_chains() -> None:
    record = next(run_loop(config(chains=7)))
    assert record.measures["frechet"].n == 7


def test_the_sheet_shows_samples_of_the_model_that_was_measured() -> None:
    loop = prepare_loop(config(family="kde"))
    record = next(run_loop(loop))
    assert record.sheet.values.shape == (20, 2)
    assert loop.gauge.measure(record.sheet.values)["recall"] == record.chains["recall"][0]


def test_a_loop_without_anything_to_train_on_is_refused() -> None:
    with pytest.raises(InputError, match="has no items to train on"):
        run(n_synthetic=0)


LABELLED = '''
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Conditional:
    """Repeats its data with their labels."""

    reads: ClassVar[str] = "vectors"
    vectorised: ClassVar[bool] = False
    conditional: ClassVar[bool] = True
    bias_means: ClassVar[str] = "nothing"

    def fit(self, data, *, space, weights, rng):
        assert data.labels is not None and data.labels.shape == (data.n,)
        assert 0 <= data.labels.min() and data.labels.max() < space.classes
        return Model(data)


@dataclass(frozen=True)
class Model:
    data: object

    def sample(self, n, *, bias, rng):
        return self.data.take(rng.integers(self.data.n, size=n))
'''


@pytest.mark.parametrize("fields", [
    {"data": "grid:3"}, {"data": "normal:2"}, {"data": "grid:3", "contaminant": "normal:2"},
    {"data": "grid:3", "contaminant": "grid:5"}, {"data": "normal:2", "contaminant": "grid:2"},
    {"data": "grid:3", "contaminant": "kde"}, {"data": "grid:3", "contaminant": "grid:3"},
], ids=lambda fields: "-".join(fields.values()))  # fmt: skip
@pytest.mark.parametrize("workflow", ["augment", "accumulate-subsample"])
def test_a_conditional_family_always_gets_labels_it_knows(
    fields: dict[str, str], workflow: str, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(LABELLED)
    foreign = {"contamination": 0.2} if "contaminant" in fields else {}
    records = run(family=f"{tmp_path}/own.py:Conditional", workflow=workflow, **fields, **foreign)
    assert all(r.training is not None and r.training.samples.labels is not None for r in records)


def test_fresh_data_alone_do_not_seem_to_lose_quality() -> None:
    config = LoopConfig(
        data="digits", workflow="fresh", n_real=600, n_synthetic=0, chains=40, generations=3, n_measure=20,
        measured_chains=1, seed=5,
    )  # fmt: skip
    measures = [record.measures["frechet"] for record in run_loop(config)]
    assert max(m.low for m in measures) < min(m.high for m in measures)
    errors = [(m.high - m.low) / 4 for m in measures]
    assert abs(measures[2].estimate - measures[0].estimate) < 4 * np.hypot(errors[0], errors[2])


def test_modes_of_a_well_specified_mixture_do_not_widen_at_once() -> None:
    config = LoopConfig(
        family="gmm", data="grid:3", settings={"components": 9}, n_initial=900, generations=4, n_measure=900, seed=1
    )
    *_, last = run_loop(config)
    assert last.measures["modal_variance"].estimate < 1.5 * 0.05**2


def test_a_changed_contaminant_is_another_loop(tmp_path: Path) -> None:
    def run(values: np.ndarray) -> None:
        np.save(tmp_path / "other.npy", values)
        config = LoopConfig(
            data="normal:2", workflow="fresh", n_real=20, chains=2, generations=2, n_measure=20, contamination=0.2,
            contaminant=str(tmp_path / "other.npy"),
        )  # fmt: skip
        list(run_loop(config, folder=tmp_path / "loop"))

    run(np.zeros((30, 2)) + np.arange(30)[:, None])
    with pytest.raises(InputError, match="sources"):
        run(np.ones((30, 2)) + np.arange(30)[:, None])
