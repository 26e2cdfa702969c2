"""Tests of what an untrusted request may name: shipped families and encoders, and files under an allowed root."""

from pathlib import Path
from typing import Any

import pytest

from indexes.errors import InputError
from loops.sweep import plan_sweep
from service.allowed_roots import AllowedRoots, Forbidden
from service.untrusted import check_encoder, check_family, check_loop, check_sweep

NO_ROOTS = AllowedRoots.of([])
SECRET = "/etc/passwd"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The allowed root, with a file of weights, and a link that leads out of it."""
    root, outside = tmp_path / "data", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    for folder in (root, outside):
        (folder / "weights.onnx").write_bytes(b"")
    (root / "link.onnx").symlink_to(outside / "weights.onnx")
    return root


@pytest.fixture
def roots(data: Path) -> AllowedRoots:
    return AllowedRoots.of([str(data)])


@pytest.mark.parametrize("name", ["gaussian", "gmm", "gaussian-mixture", "unet-diffusion", "language-model", "lm"])
def test_a_family_that_ships_is_known_by_each_of_its_names(name: str) -> None:
    check_family(name)


@pytest.mark.parametrize(
    "name",
    [
        "own.py:Own", "/data/own.py:Own", "loops.models.gaussian:Gaussian", "os:system", "Gaussian", " gaussian", "",
        "gaussian\n", None, 3, True, ["gaussian"], {"gaussian": 1},
    ],
)  # fmt: skip
def test_any_other_family_is_refused_in_one_line_with_those_that_ship(name: Any) -> None:
    with pytest.raises(InputError, match=r"no family is called .*, expected one of gaussian, .*language-model") as one:
        check_family(name)
    assert "\n" not in str(one.value)


@pytest.mark.parametrize("spec", ["forensic", "lexical", "embeddings:512", "pixels:8", "pixels:8+forensic"])
def test_an_encoder_without_weights_needs_no_root(spec: str) -> None:
    check_encoder(NO_ROOTS, spec)


@pytest.mark.parametrize(
    "spec",
    ["onnx:{data}/weights.onnx", "open_clip:ViT-B-32:{data}/weights.onnx", "forensic+onnx:{data}/weights.onnx"],
)
def test_weights_in_a_file_under_a_root_are_allowed(roots: AllowedRoots, data: Path, spec: str) -> None:
    check_encoder(roots, spec.format(data=data))


@pytest.mark.parametrize(
    "spec",
    [
        "onnx:{data}/../outside/weights.onnx", "onnx:{data}/link.onnx", "onnx:weights.onnx", "onnx:~/weights.onnx",
        "onnx:", "onnx", "onnx:https://example.org/weights.onnx", "onnx:file://{data}/weights.onnx",
        "open_clip:ViT-B-32", "open_clip:ViT-B-32:laion2b_s34b_b79k", "open_clip:hf-hub:someone/model",
        "open_clip:ViT-B-32:https://example.org/weights.pt", "sentence:{data}", "sentence:all-MiniLM-L6-v2",
        "pixels:8+onnx:/etc/passwd", "onnx:/etc/passwd+pixels:8", "onnx:{data}/weights.onnx+open_clip:ViT-B-32:tag",
    ],
)  # fmt: skip
def test_weights_outside_the_roots_or_on_the_network_are_forbidden(roots: AllowedRoots, data: Path, spec: str) -> None:
    with pytest.raises(Forbidden):
        check_encoder(roots, spec.format(data=data))


def test_weights_are_not_fetched_even_from_an_allowed_url() -> None:
    roots = AllowedRoots.of(["https://example.org"], allow_private=True)
    with pytest.raises(Forbidden, match="must have its weights in a file under an allowed root"):
        check_encoder(roots, "onnx:https://example.org/weights.onnx")


@pytest.mark.parametrize("spec", ["", "clip", "Pixels:8", "os.system:ls", "clip+pixels:8", " pixels:8"])
def test_an_unknown_encoder_is_refused_with_those_that_there_are(spec: str) -> None:
    with pytest.raises(InputError, match=r"no encoder is called .*: choose one of .*pixels"):
        check_encoder(NO_ROOTS, spec)


@pytest.mark.parametrize("data", ["digits", "swiss-roll", "topics", "normal:2", "grid", "zipf:1.5", None])
def test_bundled_data_and_formulas_need_no_root(data: str | None) -> None:
    check_loop(NO_ROOTS, {"family": "gaussian", "data": data, "contaminant": data, "contamination": 0.1})


def test_a_formula_with_a_wrong_number_is_refused_with_an_example() -> None:
    with pytest.raises(InputError, match="got normal:many, expected a number after the colon, such as normal:1"):
        check_loop(NO_ROOTS, {"data": "normal:many"})


@pytest.mark.parametrize("field", ["data", "contaminant"])
@pytest.mark.parametrize(
    "spec",
    [SECRET, "{data}/../outside/weights.onnx", "{data}/link.onnx", "digits.npy", "./digits", "Digits", "{data}x"],
)
def test_data_outside_the_roots_are_forbidden(roots: AllowedRoots, data: Path, field: str, spec: str) -> None:
    with pytest.raises(Forbidden):
        check_loop(roots, {field: spec.format(data=data)})


def test_the_name_of_a_family_is_allowed_as_a_contaminant_and_not_as_data() -> None:
    check_loop(NO_ROOTS, {"contaminant": "gmm", "contamination": 0.1})
    with pytest.raises(Forbidden):
        check_loop(NO_ROOTS, {"data": "gmm"})


@pytest.mark.parametrize("name", ["own.py:Own", "{data}/own.py:Own", "{data}/own.py:/Own"])
def test_a_contaminant_in_a_python_file_is_refused_even_under_a_root(
    roots: AllowedRoots, data: Path, name: str
) -> None:
    with pytest.raises(InputError, match="no family is called"):
        check_loop(roots, {"contaminant": name.format(data=data)})


def test_a_sweep_of_shipped_families_and_allowed_files_is_accepted(roots: AllowedRoots, data: Path) -> None:
    sweep = {
        "base": {"family": "gaussian", "data": f"{data}/weights.onnx"},
        "grid": {"family": ["kde", "gmm"], "encoder": ["pixels:8", None], "bias": [1.0, 0.8]},
        "runs": [{"data": "normal:2"}, {"contaminant": "kde", "contamination": 0.1}],
    }
    check_sweep(roots, sweep)


@pytest.mark.parametrize("named", [("data", SECRET), ("encoder", f"onnx:{SECRET}"), ("family", "own.py:Own")])
@pytest.mark.parametrize("place", ["base", "grid", "runs"])
def test_a_forbidden_name_is_found_in_every_part_of_a_sweep(place: str, named: tuple[str, str]) -> None:
    name, value = named
    good = {"data": "digits", "encoder": "pixels:8", "family": "kde"}[name]
    places: dict[str, Any] = {
        "base": {name: value},
        "grid": {"bias": [1.0], name: [good, value]},
        "runs": [{name: good}, {name: value}],
    }
    with pytest.raises(InputError, match=f"({SECRET}|own.py:Own)"):
        check_sweep(NO_ROOTS, {place: places[place]})


@pytest.mark.parametrize(
    "sweep",
    [
        {"base": [{"data": SECRET}]},
        {"base": [["data", SECRET]]},
        {"runs": {"data": SECRET}},
        {"runs": [[["data", SECRET]]]},
        {"grid": {"data": SECRET}},
        {"grid": {"data": {SECRET: 1}}},
        {"grid": [["data", [SECRET]]]},
        {"grid": {"data": [[SECRET]]}},
        {"grid": {"data": [{"spec": SECRET}]}},
        {"base": {"Data": SECRET}},
        {"base": {"data ": SECRET}},
        {"base": {"settings": {"data": SECRET}}},
        {"base": {"settings.data": SECRET}},
        {"Base": {"data": SECRET}},
    ],
    ids=str,
)
def test_a_sweep_of_an_odd_shape_is_refused_by_the_check_or_by_the_plan(sweep: dict[str, Any]) -> None:
    def checked_and_planned() -> None:
        check_sweep(NO_ROOTS, sweep)
        plan_sweep(sweep)

    with pytest.raises(InputError):
        checked_and_planned()
