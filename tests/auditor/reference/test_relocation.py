from pathlib import Path

import pytest

from auditor.reference.relocation import Weights, load_recorded, relocated, weights_of
from indexes.errors import ArtifactError, InputError, ResourceError

CLIP, OTHER_CLIP = "open_clip:ViT-B-32:/gone/vit b=32.pt", "open_clip:RN50:/gone/rn.pt"
ONNX, OTHER_ONNX = "onnx:/gone/a=b.onnx", "onnx:/gone/other.onnx"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A file that stands for weights, at a path with everything that separates elsewhere."""
    path = tmp_path / "a+b=c:d e, f;onnx=" / "w=1.pt"
    path.parent.mkdir()
    path.touch()
    return path


def moved(specs: list[str], *given: str, usual: tuple[str, ...] = ()) -> tuple[str, ...]:
    return relocated(specs, Weights(given, usual), reference="r")


@pytest.mark.parametrize("key", [CLIP, "open_clip:ViT-B-32", "open_clip"])
def test_weights_are_named_by_the_stored_spec_or_by_what_stands_before_the_path(key: str, here: Path) -> None:
    assert moved([CLIP], f"{key}={here}") == (f"open_clip:ViT-B-32:{here}",)


@pytest.mark.parametrize("key", ["onnx", ONNX, f"forensic+{ONNX}"])
def test_a_part_of_a_joined_encoder_moves_and_the_others_stay(key: str, here: Path) -> None:
    assert moved([f"forensic+{ONNX}"], f"{key}={here}") == (f"forensic+onnx:{here}",)


def test_both_parts_of_a_joined_encoder_move(here: Path) -> None:
    found = moved([f"{CLIP}+{ONNX}"], f"onnx={here}", f"open_clip:ViT-B-32={here}")
    assert found == (f"open_clip:ViT-B-32:{here}+onnx:{here}",)


def test_weights_that_play_both_roles_move_in_both(here: Path) -> None:
    assert moved([f"forensic+{ONNX}", ONNX], f"onnx={here}") == (f"forensic+onnx:{here}", f"onnx:{here}")


def test_of_two_encoders_of_a_kind_each_moves_by_its_whole_spec(here: Path) -> None:
    assert moved([ONNX, OTHER_ONNX], f"{ONNX}={here}") == (f"onnx:{here}", OTHER_ONNX)
    assert moved([CLIP, OTHER_CLIP], f"open_clip:RN50={here}") == (CLIP, f"open_clip:RN50:{here}")


@pytest.mark.parametrize(
    ("specs", "key"),
    [([ONNX, OTHER_ONNX], "onnx"), ([f"{ONNX}+{OTHER_ONNX}"], "onnx"), ([CLIP, OTHER_CLIP], "open_clip"),
     ([f"{ONNX}+{OTHER_ONNX}"], f"{ONNX}+{OTHER_ONNX}")],
)  # fmt: skip
def test_an_ambiguous_name_is_answered_with_the_candidates(specs: list[str], key: str, here: Path) -> None:
    with pytest.raises(InputError) as caught:
        moved(specs, f"{key}={here}")
    assert all(spec in str(caught.value) for spec in weights_of(specs))


@pytest.mark.parametrize("key", ["sentence", "open_clip:RN50", "onnx:/gone/a", "", "forensic", ONNX + "x"])
def test_a_name_that_fits_nothing_is_answered_with_the_candidates(key: str, here: Path) -> None:
    with pytest.raises(InputError, match="names no weights of the reference 'r'") as caught:
        moved([CLIP, f"forensic+{ONNX}"], f"{key}={here}")
    assert CLIP in str(caught.value)
    assert ONNX in str(caught.value)


@pytest.mark.parametrize("specs", [["lexical"], ["forensic", "pixels:8"], ["embeddings:6"]])
def test_a_reference_without_weights_takes_none(specs: list[str], here: Path) -> None:
    with pytest.raises(InputError, match="its encoders have no weights"):
        moved(specs, f"onnx={here}")


@pytest.mark.parametrize("text", ["onnx", "", "/some/path.onnx"])
def test_a_text_without_an_equals_sign_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected SPEC=PATH"):
        moved([ONNX], text)


@pytest.mark.parametrize("path", ["/gone/still.onnx", "", "~nobody-of-that-name/x", "relative.onnx"])
def test_a_place_where_nothing_lies_is_refused(path: str) -> None:
    with pytest.raises(InputError, match="there is no file or folder at"):
        moved([ONNX], f"onnx={path}")


def test_two_places_for_the_same_weights_are_refused_and_one_named_twice_is_not(here: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names two paths"):
        moved([ONNX], f"onnx={here}", f"onnx={tmp_path}")
    assert moved([ONNX], f"onnx={here}", f"onnx={here}") == (f"onnx:{here}",)


def test_what_is_given_goes_before_what_is_usual_and_a_whole_spec_before_a_part(here: Path, tmp_path: Path) -> None:
    assert moved([ONNX], f"onnx={here}", usual=(f"{ONNX}={tmp_path}",)) == (f"onnx:{here}",)
    assert moved([ONNX], usual=(f"onnx={tmp_path}", f"{ONNX}={here}")) == (f"onnx:{here}",)
    assert moved([ONNX], usual=(f"{ONNX}={here}", f"onnx={tmp_path}")) == (f"onnx:{here}",)


def test_usual_places_of_other_references_weights_are_ignored(here: Path) -> None:
    assert moved([ONNX], usual=("sentence=/elsewhere", f"onnx={here}")) == (f"onnx:{here}",)
    assert moved(["lexical"], usual=("sentence=/elsewhere",)) == ("lexical",)


@pytest.mark.parametrize("path", ["w.pt", "./w.pt", "~/w.pt", "sub/../w.pt"])
def test_a_place_is_taken_from_the_working_directory_and_the_home(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w.pt").touch()
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert moved([CLIP], f"open_clip={path}") == (f"open_clip:ViT-B-32:{tmp_path / 'w.pt'}",)


def test_specs_stay_as_they_are_where_nothing_moves() -> None:
    assert moved(["onnx:weights/../m.onnx", "open_clip:V"]) == ("onnx:weights/../m.onnx", "open_clip:V")


@pytest.mark.parametrize("spec", [ONNX, f"pixels:2+{ONNX}", CLIP, "sentence:/gone/folder", "onnx:gone.onnx"])
def test_missing_weights_are_named_with_the_option_that_finds_them(spec: str) -> None:
    part = next(iter(weights_of([spec]).values()))
    with pytest.raises(ResourceError) as caught:
        load_recorded(spec, "?", reference="r", specs=[spec], device="cpu")
    assert f"needs the weights {part.weights}, which do not exist" in str(caught.value)
    assert f"--weights {part.head}=PATH" in str(caught.value)


def test_missing_weights_are_named_unambiguously() -> None:
    with pytest.raises(ResourceError) as caught:
        load_recorded(ONNX, "?", reference="r", specs=[ONNX, OTHER_ONNX], device="cpu")
    assert f"--weights {ONNX}=PATH" in str(caught.value)


def test_an_encoder_without_weights_whose_digest_changed_is_refused_with_both() -> None:
    with pytest.raises(
        ArtifactError, match=r"has the digest pixels:8:canonical/1.*built with the digest pixels:8:old: rebuild"
    ):
        load_recorded("pixels:8", "pixels:8:old", reference="r", specs=["pixels:8"], device="cpu")
