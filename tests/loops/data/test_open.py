import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from indexes.errors import InputError
from loops.config import LoopConfig
from loops.data.bundled import bundled_vectors
from loops.data.open import default_data, open_data, open_world
from loops.data.population import Empirical
from loops.models import FAMILIES, make_family
from loops.run import prepare_loop, run_loop


def opened(spec: object, reads: str = "vectors", **fields: Any) -> Empirical:
    found = open_data(str(spec), LoopConfig(data=str(spec), **fields), reads=reads)
    assert isinstance(found, Empirical)
    return found


def grey(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (n, 8, 8), dtype=np.uint8)


def pictures(folder: Path, n: int = 6) -> Path:
    """n grey images in each of the folders cat and dog."""
    for seed, label in enumerate(("cat", "dog")):
        (folder / label).mkdir(parents=True)
        for i, pixels in enumerate(grey(n, seed)):
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    return folder


def test_vectors_of_an_npy_are_read_as_they_are(tmp_path: Path, rng: np.random.Generator) -> None:
    rows = rng.standard_normal((20, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", rows)
    found = opened(tmp_path / "x.npy")
    np.testing.assert_array_equal(found.values, rows)
    assert found.labels is None


def test_vectors_of_an_npz_are_read_as_they_are(tmp_path: Path, rng: np.random.Generator) -> None:
    rows = rng.standard_normal((20, 3)).astype(np.float32)
    np.savez(tmp_path / "x.npz", vectors=rows)
    np.testing.assert_array_equal(opened(tmp_path / "x.npz").values, rows)


def test_rows_that_are_not_finite_are_left_out(tmp_path: Path, rng: np.random.Generator) -> None:
    rows = rng.standard_normal((20, 3)).astype(np.float32)
    rows[4, 1] = np.nan
    np.save(tmp_path / "x.npy", rows)
    np.testing.assert_array_equal(opened(tmp_path / "x.npy").values, np.delete(rows, 4, axis=0))


def test_images_keep_their_size_and_lose_two_of_three_equal_channels(tmp_path: Path) -> None:
    found = opened(pictures(tmp_path / "p"))
    assert found.space.image == (1, 8, 8)
    np.testing.assert_allclose(found.values[0], grey(6)[0].ravel() / 255, atol=1e-6)


def test_coloured_images_keep_three_channels_in_front(tmp_path: Path, make: SimpleNamespace) -> None:
    images = make.real_images(4, np.random.default_rng(0))
    found = opened(make.write_images(tmp_path / "p", images))
    np.testing.assert_allclose(found.values[1].reshape(3, 8, 8), images[1].transpose(2, 0, 1) / 255, atol=1e-6)


def test_large_images_are_made_small(tmp_path: Path) -> None:
    for i in range(2):
        Image.fromarray(np.full((50, 40), 60 * i, dtype=np.uint8)).save(tmp_path / f"{i}.png")
    assert opened(tmp_path).space.image == (1, 32, 32)


def test_labels_are_the_folders_of_images(tmp_path: Path) -> None:
    found = opened(pictures(tmp_path / "p"))
    assert (found.label_names, found.space.classes) == (("cat", "dog"), 2)
    np.testing.assert_array_equal(found.labels, [0] * 6 + [1] * 6)


@pytest.mark.parametrize("archives", [1, 2])
def test_labels_in_archives_are_folders_and_not_archives(archives: int, tmp_path: Path) -> None:
    images = pictures(tmp_path / "p")
    (tmp_path / "z").mkdir()
    for i in range(archives):
        with zipfile.ZipFile(tmp_path / "z" / f"{i}.zip", "w") as archive:
            for file in sorted(images.rglob("*.png")):
                archive.write(file, file.relative_to(images))
    found = opened(tmp_path / "z" / "0.zip" if archives == 1 else tmp_path / "z")
    assert found.label_names == ("cat", "dog")
    np.testing.assert_array_equal(np.bincount(found.labels), [6 * archives] * 2)


def test_shards_are_no_labels(tmp_path: Path, make: SimpleNamespace) -> None:
    for i in range(2):
        make.write_tar(tmp_path / f"{i}.tar", make.real_images(6, np.random.default_rng(i)))
    assert opened(tmp_path).labels is None


def test_a_folder_with_a_single_item_is_no_label(tmp_path: Path) -> None:
    images = pictures(tmp_path / "p")
    (images / "ant").mkdir()
    Image.fromarray(grey(1)[0]).save(images / "ant" / "0.png")
    assert opened(images).labels is None


def test_images_in_an_npz_come_with_their_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=grey(12), labels=np.arange(12) % 3)
    found = opened(tmp_path / "x.npz")
    assert (found.space.image, found.space.bounds, found.space.classes) == ((1, 8, 8), (0, 255), 3)
    np.testing.assert_array_equal(found.values, grey(12).reshape(12, 64))
    np.testing.assert_array_equal(found.labels, np.arange(12) % 3)


def test_texts_are_tokens_for_a_family_of_tokens(tmp_path: Path, make: SimpleNamespace) -> None:
    lines = [f"line {i}" for i in range(9)]
    found = opened(make.write_jsonl(tmp_path / "t.jsonl", lines), reads="tokens")
    assert found.spell(found.values) == lines


def test_texts_are_vectors_for_a_family_of_vectors(tmp_path: Path, make: SimpleNamespace) -> None:
    found = opened(make.write_jsonl(tmp_path / "t.jsonl", [f"line {i}" for i in range(9)]))
    assert (found.size, found.space.vocabulary, found.values.dtype) == (9, 0, np.float32)


def test_a_folder_of_texts_is_read(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.txt").write_text(f"text {i}")
    found = opened(tmp_path, reads="tokens")
    assert sorted(found.spell(found.values) or []) == ["text 0", "text 1", "text 2"]


def test_vectors_become_tokens_measured_in_their_own_units(tmp_path: Path, rng: np.random.Generator) -> None:
    rows = rng.uniform(0, 100, (200, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", rows)
    found = opened(tmp_path / "x.npy", reads="tokens")
    inside = (rows > np.percentile(rows, 1, axis=0)).all(1) & (rows < np.percentile(rows, 99, axis=0)).all(1)
    step = np.ptp(rows, axis=0).max() / 16
    assert np.abs(found.embed(found.values) - rows)[inside].max() <= step / 2 + 1e-3


def test_the_digits_are_scikit_learns() -> None:
    found = bundled_vectors("digits")
    assert (found.size, found.space.image, found.space.bounds, found.space.classes) == (1797, (1, 8, 8), (0, 16), 10)
    np.testing.assert_array_equal(np.unique(found.values), np.arange(17))


def test_the_digits_lose_nothing_as_tokens() -> None:
    found = opened("digits", reads="tokens")
    np.testing.assert_array_equal(found.embed(found.values), bundled_vectors("digits").values)


@pytest.mark.parametrize("source", ["digits", "x.npy"])
def test_a_limit_takes_so_many_items_at_random(source: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(600, dtype=np.float32).reshape(300, 2))
    spec = source if source == "digits" else tmp_path / source
    one, other = (opened(spec, limit=50, seed=seed).values for seed in (0, 1))
    assert (len(one), len(other)) == (50, 50)
    assert not np.array_equal(one, other)


def test_labels_follow_the_limited_digits() -> None:
    all_of_them = bundled_vectors("digits")
    assert all_of_them.labels is not None
    labels = {row.tobytes(): label for row, label in zip(all_of_them.values, all_of_them.labels, strict=True)}
    found = opened("digits", limit=50)
    assert found.labels is not None
    assert found.labels.tolist() == [labels[row.tobytes()] for row in found.values]


@pytest.mark.parametrize(("spec", "reads"), [("normal:2", "tokens"), ("tokens:5", "vectors")])
def test_a_formula_of_the_other_kind_is_refused(spec: str, reads: str) -> None:
    with pytest.raises(InputError, match=f"{spec} is made of .* reads {reads}: choose other --data"):
        open_data(spec, LoopConfig(), reads=reads)


@pytest.mark.parametrize("spec", ["nowhere", "nowhere.npy", "nowhere.jsonl"])
def test_a_missing_source_is_an_input_error(spec: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        opened(tmp_path / spec)


def test_a_source_without_usable_items_is_an_input_error(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((4, 2), np.nan, dtype=np.float32))
    with pytest.raises(InputError, match="fewer than 2 items usable as vectors \\(4 skipped\\)"):
        opened(tmp_path / "x.npy")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_can_read_the_data_it_runs_on_by_default(name: str) -> None:
    family = make_family(name)
    world = open_world(LoopConfig(family=name), family)
    drawn = world.drawn.draw(4, chains=1, fresh=True, rng=np.random.default_rng(0))
    assert (drawn.labels is not None) or not family.conditional


@pytest.mark.parametrize(("other", "name"), [("regression", "linear-regression"), ("gaussian-mixture", "gmm")])
def test_another_name_of_a_family_has_the_same_default(other: str, name: str) -> None:
    assert default_data(other) == default_data(name) != "digits"


def test_a_contaminant_that_reads_something_else_is_refused() -> None:
    config = LoopConfig(contamination=0.1, contaminant="ngram")
    with pytest.raises(InputError, match="ngram reads tokens, but the family gaussian reads vectors"):
        prepare_loop(config)


def test_unlabelled_items_of_a_conditional_family_are_clustered_by_seed() -> None:
    config = LoopConfig(family="diffusion", data="normal:2")
    worlds = [open_world(config, make_family("diffusion")) for _ in range(2)]
    drawn = [w.drawn.draw(50, chains=1, fresh=True, rng=np.random.default_rng(0)).labels for w in worlds]
    np.testing.assert_array_equal(*drawn)


def test_a_loop_over_texts_shows_texts(tmp_path: Path, make: SimpleNamespace) -> None:
    source = make.write_jsonl(tmp_path / "t.jsonl", [f"line {i}" for i in range(40)])
    config = LoopConfig(family="ngram", data=str(source), n_initial=20, n_measure=20, measured_chains=1)
    texts = next(run_loop(config)).texts
    assert texts is not None
    assert len(texts) == 20


def test_items_that_cannot_be_used_are_counted_by_reason(tmp_path: Path, make: SimpleNamespace) -> None:
    rng = np.random.default_rng(0)
    make.write_images(tmp_path / "images", make.real_images(12, rng))
    (tmp_path / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (tmp_path / "images" / "empty.png").write_bytes(b"")
    found = open_data(str(tmp_path / "images"), LoopConfig(), reads="vectors")
    assert found.size == 12
    assert sum(found.skipped.values()) == 2


def test_a_contaminant_is_written_in_the_code_of_the_data(tmp_path: Path) -> None:
    np.save(tmp_path / "real.npy", np.random.default_rng(0).random((50, 3)))
    np.save(tmp_path / "far.npy", np.full((50, 3), 100.0) + np.random.default_rng(1).random((50, 3)))
    config = LoopConfig(
        family="ngram", data=str(tmp_path / "real.npy"), contamination=0.5, contaminant=str(tmp_path / "far.npy")
    )
    world = open_world(config, make_family("ngram"))
    drawn = world.drawn.draw(10, chains=1, fresh=True, rng=np.random.default_rng(2)).values[0]
    top = drawn == world.clean.space.vocabulary - 1
    assert sorted(top.all(1)) == [False] * 5 + [True] * 5


def test_texts_do_not_contaminate_numbers(tmp_path: Path, make: SimpleNamespace) -> None:
    np.save(tmp_path / "real.npy", np.random.default_rng(0).random((50, 64)))
    make.write_jsonl(tmp_path / "texts.jsonl", ["some words"] * 20)
    config = LoopConfig(
        family="ngram", data=str(tmp_path / "real.npy"), contamination=0.5, contaminant=str(tmp_path / "texts.jsonl")
    )
    with pytest.raises(InputError, match="differ in kind"):
        open_world(config, make_family("ngram"))
