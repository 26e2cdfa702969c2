import dataclasses
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from auditor.statistics.intervals import Measure
from indexes.errors import ArtifactError, InputError
from loops import LoopConfig, run_loop
from loops.generation.folder import LoopFolder, generation_rows, read_generations, read_loop, write_table
from loops.generation.record import Generation
from loops.generation.training_set import Batch
from loops.samples import Samples

CONFIG = LoopConfig(workflow="augment", data="grid:2", generations=3, n_initial=20, chains=2, n_measure=20,
                    measured_chains=1)  # fmt: skip
IDENTITY = {"schema": "madaudit/loop/1", "config": {"seed": 0}}


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Path, list[Generation]]:
    """A folder with two of three generations, and these."""
    return tmp_path / "loop", list(itertools.islice(run_loop(CONFIG, folder=tmp_path / "loop"), 2))


def test_a_generation_is_read_back_as_it_was(kept: tuple[Path, list[Generation]]) -> None:
    for written, read in zip(kept[1], read_generations(kept[0]), strict=True):
        assert repr(read.measures) == repr(written.measures)
        assert (read.origins, read.real_digest, read.texts) == (written.origins, written.real_digest, written.texts)
        assert (read.n_real, read.n_synthetic, read.generation) == (
            written.n_real, written.n_synthetic, written.generation)  # fmt: skip
        np.testing.assert_array_equal(read.sheet.values, written.sheet.values)
        np.testing.assert_array_equal(read.mode_shares, written.mode_shares)


def test_infinite_measures_are_read_back_as_they_were(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, data="normal:30")
    written = next(run_loop(config, folder=tmp_path / "loop"))
    assert written.measures["log_det"].estimate == -math.inf
    assert repr(read_generations(tmp_path / "loop")[0].measures) == repr(written.measures)


def test_the_models_and_training_data_are_not_read_back(kept: tuple[Path, list[Generation]]) -> None:
    assert [(r.training, r.models) for r in read_generations(kept[0])] == [(None, None)] * 2


def test_the_origin_of_every_training_item_is_kept(kept: tuple[Path, list[Generation]]) -> None:
    with np.load(kept[0] / "generations" / "0002.npz") as stored:
        np.testing.assert_array_equal(stored["origins"], [0] * 20 + [1] * 20)


def test_batches_are_kept_with_labels_origin_and_use(tmp_path: Path) -> None:
    store = LoopFolder(tmp_path / "loop")
    store.claim(IDENTITY)
    record = Generation(1, 3, 0, {}, {}, {}, "", Samples(np.zeros((1, 1))), None)
    batches = [Batch(1, use, Samples(np.random.default_rng(0).random((2, 3, 1)), np.arange(6).reshape(2, 3)))
               for use in (None, 2, 3)]  # fmt: skip
    store.save(record, batches)
    found = store.batches(1, needed_from=3)
    assert [(b.origin, b.use) for b in found] == [(1, None), (1, 3)]
    np.testing.assert_array_equal(found[1].samples.values, batches[2].samples.values)
    np.testing.assert_array_equal(found[1].samples.labels, batches[2].samples.labels)


@pytest.mark.parametrize("name", ["loop.json", "generations/0001.json", "generations/0002.json",
                                  "generations/0001.npz", "generations/0002.npz",
                                  "generations/0002.batches.npz"])  # fmt: skip
@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: b"junk", lambda data: data[: len(data) // 2], lambda data: b"[1]",
    lambda data: data.replace(b"n", b"\xff"),
], ids=["emptied", "junk", "cut", "list", "flipped"])  # fmt: skip
def test_a_damaged_file_is_an_artifact_error_with_a_remedy(
    name: str, damage: Callable[[bytes], bytes], kept: tuple[Path, list[Generation]]
) -> None:
    file = kept[0] / name
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ArtifactError, match=f"{file} cannot be read .*: delete the folder {kept[0]}, then run again"):
        list(run_loop(CONFIG, folder=kept[0]))


@pytest.mark.parametrize("name", ["generations/0002.json", "generations/0002.npz", "generations/0002.batches.npz"])
def test_a_lost_file_is_an_artifact_error(name: str, kept: tuple[Path, list[Generation]]) -> None:
    (kept[0] / name).unlink()
    with pytest.raises(ArtifactError, match="then run again"):
        list(run_loop(CONFIG, folder=kept[0]))


def test_json_without_the_expected_fields_is_an_artifact_error(kept: tuple[Path, list[Generation]]) -> None:
    (kept[0] / "generations" / "0001.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"0001\.json cannot be read"):
        read_generations(kept[0])


def test_following_the_remedy_helps(kept: tuple[Path, list[Generation]]) -> None:
    for file in sorted(kept[0].rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    assert len(list(run_loop(CONFIG, folder=kept[0]))) == 3


def test_a_folder_with_other_files_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="files that are not part of a loop: choose another --out"):
        LoopFolder(tmp_path).claim(IDENTITY, overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("left", [[], [".loop.json.0123abcd"]])
def test_a_folder_whose_making_was_interrupted_can_be_used(left: list[str], tmp_path: Path) -> None:
    for name in left:
        (tmp_path / name).write_bytes(b'{"sch')
    LoopFolder(tmp_path).claim(IDENTITY)
    assert read_loop(tmp_path) == IDENTITY


def test_an_overwriting_that_was_interrupted_can_be_repeated(kept: tuple[Path, list[Generation]]) -> None:
    (kept[0] / "generations" / "0001.json").unlink()
    LoopFolder(kept[0]).claim(IDENTITY, overwrite=True)
    assert (read_loop(kept[0]), list((kept[0] / "generations").iterdir())) == (IDENTITY, [])


def test_tuples_in_a_configuration_do_not_make_another_loop(tmp_path: Path) -> None:
    for _ in range(2):
        LoopFolder(tmp_path).claim({**IDENTITY, "config": {"sizes": (1, 2)}})
    assert read_loop(tmp_path)["config"] == {"sizes": [1, 2]}


def test_a_folder_without_a_loop_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no loop: expected loop\.json"):
        read_loop(tmp_path)


def test_a_row_holds_settings_counts_and_every_measure_with_its_interval() -> None:
    measures = {"frechet": Measure(1.0, low=0.5, high=1.5, n=8)}
    record = Generation(2, 3, 4, measures, {}, {}, "", Samples(np.zeros((1, 1))), None)
    (row,) = generation_rows({"n_real": 10, "n_synthetic": 20, "seed": 5, "settings": {"b": 1, "a": 2}}, [record])
    assert row == {
        "n_real": 3, "n_synthetic": 4, "config_n_real": 10, "config_n_synthetic": 20, "seed": 5, "generation": 2,
        "settings": '{"a": 2, "b": 1}', "frechet": 1.0, "frechet_low": 0.5, "frechet_high": 1.5, "frechet_n": 8,
    }  # fmt: skip


def test_a_table_has_the_columns_of_all_its_rows(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", [{"a": 1}, {"b": 2.5, "a": 3}])
    assert pq.read_table(tmp_path / "t.parquet").to_pydict() == {"a": [1, 3], "b": [None, 2.5]}


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_table(tmp_path / name, [{"x": 1.5, "y": None, "z": "t"}])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_loop_json_names_the_data_and_the_real_measures(kept: tuple[Path, list[Generation]]) -> None:
    found = json.loads((kept[0] / "loop.json").read_text())
    assert (found["data"]["name"], found["config"]["data"]) == ("grid:2", "grid:2")
    assert found["real"]["precision"]["estimate"] is not None
