"""Differences of container, compression, size and resizing are named where they are large and only there."""

import numpy as np
import pytest

from auditor.reference.storage_traits import (
    LEAK,
    NOTABLE,
    confounds_between,
    distance,
    leak_between,
    stored_otherwise,
    total,
    traits_of,
)

TITLES = ("the set", "the reference")


def test_an_image_is_classed_by_its_shorter_side_compression_and_detail():
    shapes = np.array([[64, 100], [500, 127], [128, 128], [1, 9]])
    found = traits_of(shapes, ["jpeg"] * 3 + ["lossless"], ["2^-1", "2^-4", "2^-1", "2^-1"], "image")
    assert found["size"] == {"128–255 px": 1, "1–1 px": 1, "64–127 px": 2}
    assert found["compression"] == {"jpeg": 3, "lossless": 1}
    assert found["detail"] == {"2^-1": 3, "2^-4": 1}


def test_a_text_is_classed_by_its_length_alone():
    found = traits_of(np.array([[100, 0], [90, 0], [0, 0]]), [""] * 3, [""] * 3, "text")
    assert found == {"size": {"1–1 characters": 1, "64–127 characters": 2}}


def test_vectors_have_no_traits():
    assert traits_of(np.array([[3, 0]]), [""], [""], "vector") == {}


def test_tables_of_several_sets_add():
    first, second = {"size": {"a": 1, "b": 2}}, {"size": {"b": 3}, "detail": {"c": 1}}
    assert total([first, second]) == {"size": {"a": 1, "b": 5}, "detail": {"c": 1}}
    assert total([]) == {}


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
    found = confounds_between("incoming", {"format": {"png": 9, "jpeg": 1}}, {"format": {"jpeg": 5}}, TITLES)
    assert [f.name for f in found] == ["incoming-format"]
    assert "png 90 %, jpeg 10 %" in found[0].detail
    assert "jpeg 100 %" in found[0].detail
    assert "0.90" in found[0].detail


def test_every_trait_that_differs_is_named():
    first = {"format": {"png": 1}, "size": {"a": 1}, "detail": {"x": 1}}
    second = {"format": {"png": 1}, "size": {"b": 1}, "detail": {"y": 1}}
    assert [f.name for f in confounds_between("reference", first, second, TITLES)] == [
        "reference-size",
        "reference-detail",
    ]


@pytest.mark.parametrize(("share", "count"), [(NOTABLE - 0.01, 0), (NOTABLE + 0.01, 1)])
def test_a_small_difference_is_not_named(share, count):
    first = {"format": {"png": round(100 * (1 - share)), "jpeg": round(100 * share)}}
    assert len(confounds_between("incoming", first, {"format": {"png": 1}}, TITLES)) == count


@pytest.mark.parametrize(("share", "leaks"), [(LEAK - 0.01, False), (LEAK + 0.01, True)])
def test_storage_that_alone_separates_the_parts_is_a_leak(share, leaks):
    mixed = {"format": {"png": round(100 * share), "jpeg": round(100 * (1 - share))}}
    found = leak_between({"format": {"jpeg": 7}}, mixed, "image")
    assert (found is not None) == leaks
    if leaks:
        assert "format alone" in found
        assert "--match-storage" in found


def test_detail_is_evidence_until_it_alone_tells_the_parts_apart():
    real = {"detail": {"a": 60, "b": 40}}
    assert leak_between(real, {"detail": {"a": 15, "b": 85}}, "image") is None  # .45, as generators on one path
    assert "by detail alone" in leak_between(real, {"detail": {"c": 95, "b": 5}}, "image")


def test_a_reference_without_a_synthetic_part_leaks_nothing():
    assert leak_between({"format": {"jpeg": 7}}, {}, "image") is None


@pytest.mark.parametrize("what", ["format", "compression", "size", "detail"])
def test_a_set_stored_as_hardly_any_reference_item_is_not_believed(what):
    reference = {what: {"a": 500, "b": 400, "c": 5}}
    assert stored_otherwise({what: {"a": 80, "b": 20}}, reference, "image") is None
    assert stored_otherwise({what: {"a": 80, "c": 20}}, reference, "image") is None
    found = stored_otherwise({what: {"a": 70, "c": 15, "d": 15}}, reference, "image")
    assert f"30 % of the items by {what}" in found
    assert "--match-storage" in found


def test_without_tables_nothing_is_said_of_storage():
    assert stored_otherwise({"format": {"png": 9}}, {}, "image") is None
    assert stored_otherwise({}, {"format": {"png": 9}}, "image") is None
