import os
from pathlib import Path

import pytest

from indexes.encoders.weights import NAMES, EncoderPart, absolute_path, join_parts, spec_of_path, split_spec


@pytest.mark.parametrize(
    ("text", "heads", "weights"),
    [
        ("pixels:4+pixels:2", ["pixels:4", "pixels:2"], [None, None]),
        ("forensic+onnx:/m.onnx", ["forensic", "onnx"], [None, "/m.onnx"]),
        ("open_clip:ViT-B-32:openai", ["open_clip:ViT-B-32"], ["openai"]),
        ("open_clip:ViT-B-32:/a b/c=d:e.pt+pixels", ["open_clip:ViT-B-32", "pixels"], ["/a b/c=d:e.pt", None]),
        ("onnx:/a+b/c++.onnx", ["onnx"], ["/a+b/c++.onnx"]),
        ("onnx:/x++pixels:8", ["onnx", "pixels:8"], ["/x+", None]),
        ("sentence:org/name", ["sentence"], ["org/name"]),
    ],
)
def test_a_spec_is_taken_apart_into_encoders_and_their_weights(
    text: str, heads: list[str], weights: list[str | None]
) -> None:
    parts = split_spec(text)
    assert [part.head for part in parts] == heads
    assert [part.weights for part in parts] == weights
    assert join_parts(parts) == text


@pytest.mark.parametrize("name", ["a+onnx:b.onnx", "a+pixels", "a+pixels:8+forensic", "x+lexical+"])
def test_a_path_that_looks_like_a_join_is_one_encoder_where_the_file_exists(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert [part.weights for part in split_spec(f"forensic+onnx:{tmp_path / name}+pixels:2")] == [
        None, str(tmp_path / name), None,
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a+onnx:b.onnx", "a+pixels", "a+pixels:8+forensic", "a b=c:d+e", "+sentence:"])
@pytest.mark.parametrize("others", ["", "+pixels:2", "+onnx:/other.onnx+forensic"])
def test_a_stored_spec_keeps_its_path_where_the_file_does_not_exist(name: str, others: str) -> None:
    stored = spec_of_path("sentence", f"/nowhere/{name}")
    first, *rest = split_spec(stored + others)
    assert first.weights == f"/nowhere/{name}"
    assert join_parts([first, *rest]) == stored + others
    assert len(rest) == others.count("+")


@pytest.mark.parametrize("name", NAMES)
def test_every_known_encoder_is_told_by_its_name(name: str) -> None:
    assert [part.name for part in split_spec(f"{name}+{name}:x")] == [name, name]


@pytest.mark.parametrize("path", ["m.onnx", "./m.onnx", "sub/../m.onnx", "~/m.onnx", "link/m.onnx", "link/../m.onnx"])
def test_a_path_is_stored_from_the_root(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er")
    for folder in (tmp_path, tmp_path / "deep", tmp_path / "deep" / "er"):
        (folder / "m.onnx").write_text(str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found = absolute_path(path)
    assert os.path.isabs(found)
    assert os.path.samefile(found, os.path.expanduser(path))
    assert "link" not in found


def test_a_link_to_the_weights_keeps_its_name_which_loaders_look_at(tmp_path: Path) -> None:
    (tmp_path / "blob").touch()
    (tmp_path / "model.safetensors").symlink_to("blob")
    assert absolute_path(tmp_path / "model.safetensors") == str(tmp_path / "model.safetensors")


@pytest.mark.parametrize("folder", [".", "..", "sub/..", "/"])
def test_a_folder_without_a_name_is_stored_from_the_root_too(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    assert absolute_path(folder) == os.path.realpath(folder)


@pytest.mark.parametrize(
    ("part", "is_path"),
    [
        (EncoderPart("onnx", "m"), True),
        (EncoderPart("open_clip:V", "openai"), False),
        (EncoderPart("open_clip:V", "tiny.pt"), True),
        (EncoderPart("open_clip:V", "~/tiny"), True),
        (EncoderPart("sentence", "org/name"), False),
        (EncoderPart("sentence", "/models/name"), True),
        (EncoderPart("pixels:8"), False),
    ],
)
def test_paths_are_told_from_published_names(part: EncoderPart, is_path: bool) -> None:
    assert part.is_stored_as_path == is_path
