"""Differences of container and size are named where they are large and only there."""

import numpy as np
import pytest

from auditor.confounds import NOTABLE, confounds_between, distance, size_classes

TITLES = ("the set", "the reference")


def test_an_image_is_classed_by_its_shorter_side():
    shapes = np.array([[64, 100], [500, 127], [128, 128], [1, 9]])
    assert size_classes(shapes, "image") == {"128–255 px": 1, "1–1 px": 1, "64–127 px": 2}


def test_a_text_is_classed_by_its_length():
    assert size_classes(np.array([[100, 0], [90, 0], [0, 0]]), "text") == {"1–1 characters": 1, "64–127 characters": 2}


def test_vectors_have_no_size():
    assert size_classes(np.array([[3, 0]]), "vector") == {}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"png": 3}, {"png": 70}, 0.0),
        ({"png": 3}, {"jpeg": 70}, 1.0),
        ({"png": 1, "jpeg": 1}, {"png": 3, "jpeg": 1}, 0.25),
        ({}, {"png": 1}, 0.0),
        ({"png": 0}, {"png": 1}, 0.0),
    ],
)
def test_the_distance_is_the_total_variation(first, second, expected):
    assert distance(first, second) == pytest.approx(expected)
    assert distance(second, first) == pytest.approx(expected)


def test_a_differing_format_is_named_with_both_shares():
    found = confounds_between("incoming", ({"png": 9, "jpeg": 1}, {}), ({"jpeg": 5}, {}), TITLES)
    assert [f["name"] for f in found] == ["incoming-format"]
    assert "png 90 %, jpeg 10 %" in found[0]["detail"]
    assert "jpeg 100 %" in found[0]["detail"]
    assert "0.90" in found[0]["detail"]


def test_a_differing_size_is_named():
    found = confounds_between("reference", ({"png": 1}, {"a": 1}), ({"png": 1}, {"b": 1}), TITLES)
    assert [f["name"] for f in found] == ["reference-size"]


@pytest.mark.parametrize(("share", "count"), [(NOTABLE - 0.01, 0), (NOTABLE + 0.01, 1)])
def test_a_small_difference_is_not_named(share, count):
    first = {"png": round(100 * (1 - share)), "jpeg": round(100 * share)}
    assert len(confounds_between("incoming", (first, {}), ({"png": 1}, {}), TITLES)) == count
