"""Copies of one item are one item, however they were made."""

import json

import numpy as np
import pytest

from auditor.passes.second import distinct_items, near_copies
from auditor.run import audit


def status(result):
    return result.synthetic_fraction.status


def repeated(rows: np.ndarray, times: int) -> np.ndarray:
    return np.repeat(rows, times, axis=0)


@pytest.mark.parametrize("distinct", [1, 2, 5, 9])
def test_copies_of_a_few_items_determine_nothing(distinct, references, make, rng):
    for rows in (make.real_vectors(distinct, rng), make.fake_vectors(distinct, rng)):
        found = audit(repeated(rows, 300 // distinct), references["vectors"]).synthetic_fraction
        assert (found.status, found.low, found.high) == ("undetermined", 0, 1)
        assert "distinct" in found.reason


@pytest.mark.parametrize("noise", [1e-6, 1e-4])
def test_near_copies_of_one_item_determine_nothing(noise, references, make, rng):
    rows = repeated(make.real_vectors(1, rng), 300)
    rows = rows + rng.normal(0, noise, rows.shape).astype(np.float32)
    assert status(audit(rows, references["vectors"])) == "undetermined"


def test_copies_beside_many_distinct_items_widen_the_interval_only(references, make, rng):
    rows = make.real_vectors(200, rng)
    both = np.concatenate([rows, repeated(rows[:1], 100)])
    alone, crowded = (
        audit(s, references["vectors"], declare=["generators-complete"]).synthetic_fraction for s in (rows, both)
    )
    assert alone.status == "determined"
    assert crowded.high - crowded.low > alone.high - alone.low


def test_many_independent_items_stay_many(references, make, rng):
    """Four thousand independent items lie closer to each other than the reference's 120."""
    rows, reference = make.real_vectors(4000, rng), references["vectors"]
    assert distinct_items(reference, rows, near_copies(reference, rows)) > 3000


def test_images_saved_again_with_a_little_noise_are_one_image(references, make, rng, tmp_path):
    image = make.real_images(1, rng)[0].astype(int)
    copies = [np.clip(image + rng.integers(-1, 2, image.shape), 0, 255).astype(np.uint8) for _ in range(60)]
    found = audit(make.write_images(tmp_path / "copies", np.array(copies)), references["images"])
    assert found.synthetic_fraction.status == "undetermined"


def test_texts_that_differ_in_white_space_alone_are_one_text(references, make, rng, tmp_path):
    text = make.texts("real", 1, rng)[0]
    lines = [{"text": text.replace(" ", " " * (1 + i % 7), 1 + i // 7)} for i in range(60)]
    path = tmp_path / "copies.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    assert audit(path, references["texts"]).synthetic_fraction.status == "undetermined"
