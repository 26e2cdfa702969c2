"""Stand-ins made by models of the simulator, fitted to real texts, images and vectors."""

import json

import numpy as np
import pytest
from PIL import Image

from auditor.reference.reference import load_reference
from indexes.errors import InputError
from indexes.images import decode
from indexes.sources import open_source
from loops.data.stand_ins import simulate_stand_ins, stand_in_label
from service.references.build import make_reference, parse_labelled
from service.references.shelf import find_reference
from service.settings import Settings


def made(family, source):
    found = simulate_stand_ins(family, [source], column=None, seed=0, device="cpu")
    return [item.data for shard in found.shards for item in shard.read()]


@pytest.fixture
def vectors(tmp_path, rng):
    np.save(tmp_path / "real.npy", rng.normal(3, [1, 2, 1, 1], (200, 4)).astype(np.float32))
    return open_source(str(tmp_path / "real.npy"), kind="vector")


def test_vectors_have_the_law_of_the_fitted_model(vectors):
    found = np.stack(made("gmm", vectors))
    assert found.shape == (200, 4)
    np.testing.assert_allclose(found.mean(0), 3, atol=0.6)
    np.testing.assert_allclose(found.std(0), [1, 2, 1, 1], rtol=0.3)


def test_the_same_seed_gives_the_same_stand_ins(vectors):
    first, second = (simulate_stand_ins("gmm", [vectors], column=None, seed=0, device="cpu") for _ in range(2))
    assert first.shards[0].identity() == second.shards[0].identity()


def test_texts_have_the_lengths_and_the_letters_of_the_real_ones(tmp_path, rng):
    words = ["alpha", "beta", "gamma", "delta"]
    texts = [" ".join(rng.choice(words, rng.integers(5, 60))) for _ in range(80)]
    (tmp_path / "real.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    found = made("ngram", open_source(str(tmp_path / "real.jsonl"), kind="text"))
    assert len(found) == 80
    assert set("".join(found)) <= set("".join(texts))
    assert np.mean([len(t) for t in found]) == pytest.approx(np.mean([len(t) for t in texts]), rel=0.25)


def images(folder, rng, side, form):
    folder.mkdir()
    for i in range(60):
        pixels = rng.integers(0, 256, (6, 6, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((side, side)).save(folder / f"{i}.{form}")
    return open_source(str(folder), kind="image")


@pytest.mark.parametrize(("form", "compression"), [("png", "lossless"), ("jpg", "jpeg 70–79 4:2:0")])
def test_images_have_the_size_and_the_storage_of_the_real_ones(form, compression, tmp_path, rng):
    found = [decode(data) for data in made("kde", images(tmp_path / "real", rng, 40, form))]
    assert len(found) == 60
    assert {picture.pixels.shape for picture in found} == {(40, 40, 3)}
    assert {picture.compression for picture in found} == {compression}


def test_images_that_the_simulator_cannot_make_are_refused(tmp_path, rng):
    with pytest.raises(InputError, match=r"65 pixels.*--synthetic"):
        made("kde", images(tmp_path / "real", rng, 65, "png"))


def test_a_family_of_another_kind_is_refused(tmp_path):
    (tmp_path / "real.jsonl").write_text("\n".join(json.dumps({"text": f"text {i}"}) for i in range(60)))
    with pytest.raises(InputError, match="makes no texts"):
        made("gmm", open_source(str(tmp_path / "real.jsonl"), kind="text"))


def test_a_stored_reference_knows_its_stand_ins(vectors, tmp_path):
    settings = Settings(tmp_path / "home")
    real = [parse_labelled(str(tmp_path / "real.npy"), default="real")]
    make_reference(
        "r", real, [], encoder="embeddings", semantic_encoder=None, settings=settings, simulate=["gmm"]
    )  # fmt: skip
    loaded = load_reference(find_reference("r", settings))
    assert loaded.labels == ("real", "simulated-gmm")
    assert loaded.summary().simulated == ("simulated-gmm",)
    with pytest.raises(InputError, match="used twice"):
        make_reference(
            "s", real, [], encoder="embeddings", semantic_encoder=None, settings=settings, simulate=["gmm", "gmm"]
        )  # fmt: skip


def test_a_family_of_ones_own_is_labelled_by_its_class():
    assert stand_in_label("some/where/box.py:Box") == "simulated-box.py-Box"
