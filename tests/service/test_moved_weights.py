"""References whose encoders have weights, audited from other folders and with weights in other places."""

import base64
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from auditor.reference.reference import load_reference
from service.http.app import create_app
from service.http.context import make_context
from service.settings import ServiceSettings, Settings, read_weights

ARCHITECTURE = "madaudit-tiny-moved"
ODD = "a+b=c:d e, f;onnx=g"  # a folder with everything that separates elsewhere


@dataclass(frozen=True)
class Site:
    """A working directory with data and weights, and a home with the reference `r` built in it by relative paths."""

    folder: Path
    home: Path
    weights: Path
    run: Callable[..., Any]

    def audit(self, out: Path, *arguments: object) -> Any:
        return self.run(
            "audit", self.folder / "data" / "incoming", "--reference", "r", "--out", out, "--home", self.home,
            "--device", "cpu", "--quiet", "--workers", 1, "--json", *arguments,
        )  # fmt: skip

    def build(self, name: str, *arguments: object) -> Any:
        data = self.folder / "data"
        return self.run(
            "reference", "build", name, "--real", data / "real", "--synthetic", data / "fake", "--home", self.home,
            "--device", "cpu", "--quiet", *arguments,
        )  # fmt: skip


def write_data(folder: Path, make: SimpleNamespace) -> None:
    rng = np.random.default_rng(0)
    make.write_images(folder / "data" / "real", make.real_images(60, rng))
    make.write_images(folder / "data" / "fake", make.fake_images(60, rng))
    make.write_images(folder / "data" / "incoming", make.real_images(60, rng))


def save_checkpoint(path: Path, *, seed: int) -> Path:
    """A small open_clip model of our own architecture, saved as a checkpoint."""
    import torch

    from indexes.encoders.open_clip import import_open_clip

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.save(import_open_clip().create_model(ARCHITECTURE).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, make: SimpleNamespace) -> Site:
    """A reference with `pixels` for evidence and `pixels` beside open_clip for content."""
    from indexes.encoders.open_clip import import_open_clip

    folder = tmp_path_factory.mktemp("clip")
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    text = {"context_length": 8, "vocab_size": 64, "width": 64, "heads": 1, "layers": 1}
    (folder / f"{ARCHITECTURE}.json").write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
    import_open_clip().add_model_config(folder / f"{ARCHITECTURE}.json")
    write_data(folder, make)
    (folder / ODD).mkdir()
    weights = save_checkpoint(folder / ODD / "tiny.pt", seed=0)
    site = Site(folder, folder / "home", weights, make.run)
    before = Path.cwd()
    os.chdir(folder)
    try:
        spec = f"pixels:2+open_clip:{ARCHITECTURE}:./{ODD}/../{ODD}/tiny.pt"
        built = site.build("r", "--encoder", "pixels:4", "--semantic-encoder", spec)
    finally:
        os.chdir(before)
    assert built.code == 0, built.err
    return site


@pytest.fixture(scope="module")
def told(clip: Site, tmp_path_factory: pytest.TempPathFactory, make: SimpleNamespace) -> str:
    """What an audit says with the weights where they were."""
    outcome = clip.audit(tmp_path_factory.mktemp("told") / "o")
    assert outcome.err == ""
    return answer(outcome, make)


def answer(outcome: Any, make: SimpleNamespace) -> str:
    """An audit's result without where the encoders' weights lie."""
    result = outcome.json
    for role in ("evidence", "semantic"):
        del result["encoder"][role]["spec"]
    return str(make.comparable(result))


@pytest.fixture
def without_weights(clip: Site, tmp_path: Path) -> Any:
    """The weights lie in another folder than the reference says."""
    hidden = shutil.move(clip.weights, tmp_path / "renamed=1.pt")
    yield Path(hidden)
    shutil.move(hidden, clip.weights)


def one_line(text: str) -> bool:
    return text.count("\n") == 1 and "Traceback" not in text


def test_the_stored_spec_is_absolute_with_its_odd_folder(clip: Site) -> None:
    reference = load_reference(clip.home / "references" / "r")
    assert reference.semantic_encoder is not None
    assert reference.semantic_encoder.spec == f"pixels:2+open_clip:{ARCHITECTURE}:{clip.weights}"


def test_an_audit_from_another_folder_gives_the_same_result(
    clip: Site, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: SimpleNamespace
) -> None:
    monkeypatch.chdir(tmp_path)
    assert answer(clip.audit(tmp_path / "o"), make) == told


@pytest.mark.parametrize("path", ["weights.pt", "~/weights.pt", "link.pt"])
def test_other_spellings_of_the_path_hold_in_other_folders_too(
    clip: Site, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(clip.weights, tmp_path / "weights.pt")
    (tmp_path / "link.pt").symlink_to("weights.pt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    built = clip.build("spelled", "--encoder", f"open_clip:{ARCHITECTURE}:{path}", "--overwrite")
    assert built.code == 0, built.err
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert clip.audit(tmp_path / "o", "--reference", "spelled").code in (0, 1, 4)


@pytest.mark.parametrize("key", ["open_clip", f"open_clip:{ARCHITECTURE}", "stored"])
def test_an_audit_finds_weights_where_it_is_told(
    clip: Site, told: str, without_weights: Path, key: str, tmp_path: Path, make: SimpleNamespace
) -> None:
    key = f"open_clip:{ARCHITECTURE}:{clip.weights}" if key == "stored" else key
    outcome = clip.audit(tmp_path / "o", "--weights", f"{key}={without_weights}")
    assert outcome.err == ""
    assert answer(outcome, make) == told


def test_an_audit_finds_weights_where_the_environment_says(
    clip: Site, told: str, without_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: SimpleNamespace
) -> None:
    lines = f"onnx=/elsewhere/m.onnx\n  open_clip:{ARCHITECTURE}={without_weights}\n"
    monkeypatch.setenv("MADAUDIT_WEIGHTS", lines)
    assert answer(clip.audit(tmp_path / "o"), make) == told


def test_missing_weights_are_one_line_with_the_stored_path_and_the_option(
    clip: Site, without_weights: Path, tmp_path: Path
) -> None:
    outcome = clip.audit(tmp_path / "o")
    assert (outcome.code, outcome.out, one_line(outcome.err)) == (2, "", True)
    assert str(clip.weights) in outcome.err
    assert f"--weights open_clip:{ARCHITECTURE}=PATH" in outcome.err


@pytest.mark.parametrize("how", ["option", "environment", "in place"])
def test_other_weights_are_refused_with_both_digests(
    clip: Site, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = save_checkpoint(tmp_path / "other.pt", seed=1)
    arguments: tuple[str, ...] = ()
    kept = clip.weights.read_bytes()
    if how == "option":
        arguments = ("--weights", f"open_clip={other}")
    elif how == "environment":
        monkeypatch.setenv("MADAUDIT_WEIGHTS", f"open_clip={other}")
    else:
        shutil.copy(other, clip.weights)
    try:
        outcome = clip.audit(tmp_path / "o", *arguments)
    finally:
        clip.weights.write_bytes(kept)
    semantic = load_reference(clip.home / "references" / "r").semantic_encoder
    assert (outcome.code, outcome.out, one_line(outcome.err)) == (2, "", True)
    assert semantic is not None
    assert semantic.fingerprint in outcome.err
    assert outcome.err.count("canonical/1") == 4  # of two encoders, now and then
    assert "--weights" in outcome.err


@pytest.mark.parametrize("text", ["onnx=/x", "open_clip", "open_clip=/nowhere", "pixels=/x"])
def test_an_option_that_does_not_fit_is_one_line(clip: Site, text: str, tmp_path: Path) -> None:
    outcome = clip.audit(tmp_path / "o", "--weights", text)
    assert (outcome.code, outcome.out, one_line(outcome.err)) == (2, "", True)


def test_an_old_reference_with_a_relative_spec_loads_where_it_was_built_and_elsewhere_when_told(
    clip: Site, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: SimpleNamespace
) -> None:
    home = shutil.copytree(clip.home, tmp_path / "home")
    manifest = home / "references" / "r" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f"{clip.folder}/", ""))
    old = Site(clip.folder, home, clip.weights, clip.run)
    monkeypatch.chdir(tmp_path)
    missing = old.audit(tmp_path / "o")
    assert (missing.code, one_line(missing.err)) == (2, True)
    assert answer(old.audit(tmp_path / "o", "--weights", f"open_clip={clip.weights}"), make) == told
    monkeypatch.chdir(clip.folder)
    assert answer(old.audit(tmp_path / "there"), make) == told


def test_a_forecast_takes_the_option_and_refuses_it_where_no_encoder_is_needed(
    clip: Site, told: str, without_weights: Path, tmp_path: Path
) -> None:
    out, samples = tmp_path / "o", clip.folder / "data" / "incoming"
    place = ("--weights", f"open_clip={without_weights}")
    assert clip.audit(out, *place).code in (0, 1, 4)
    asked = ("forecast", "--workflow", "replace", "--home", clip.home, "--json")
    missing = clip.run(*asked, "--from", out, "--model-samples", samples)
    assert (missing.code, one_line(missing.err)) == (2, True)
    assert clip.run(*asked, "--from", out, "--model-samples", samples, *place).json["tier"] == "model-samples"
    assert clip.run(*asked, "--from", out, "--weights", "onnx=/x").code == 2
    assert clip.run(*asked, "--synthetic-fraction", 0.1, "--n", 100, *place).code == 2


def test_a_loaded_reference_takes_places_in_python(clip: Site, without_weights: Path) -> None:
    reference = load_reference(clip.home / "references" / "r", weights=[f"open_clip={without_weights}"])
    assert reference.semantic_encoder is not None
    assert reference.encoder_of(reference.semantic_encoder, device="cpu").dim == 28


@pytest.mark.parametrize("text", ["", "\n \n", "onnx=/a b;c,d:e\nopen_clip:V=/x=y \n"])
def test_places_in_the_environment_stand_one_a_line(text: str) -> None:
    expected = ("onnx=/a b;c,d:e", "open_clip:V=/x=y ") if "onnx" in text else ()
    assert read_weights({"MADAUDIT_WEIGHTS": text}) == expected


# in processes of their own, which know no architecture of ours


@pytest.fixture(scope="module")
def onnx_site(tmp_path_factory: pytest.TempPathFactory, make: SimpleNamespace) -> Site:
    """A reference whose one encoder is an ONNX network, built by a relative path."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    folder = tmp_path_factory.mktemp("onnx")
    write_data(folder, make)
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [2])
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["m"], keepdims=0),
        helper.make_node("Flatten", ["m"], ["out"], axis=1),
    ]
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])
    vectors = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 24])
    graph = helper.make_graph(nodes, "means", [images], [vectors], [axes])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "model.onnx"
    )
    site = Site(folder, folder / "home", folder / "model.onnx", make.run)
    before = Path.cwd()
    os.chdir(folder)
    try:
        built = site.build("r", "--encoder", "onnx:model.onnx")
    finally:
        os.chdir(before)
    assert built.code == 0, built.err
    return site


@pytest.fixture
def onnx_elsewhere(onnx_site: Site, tmp_path: Path) -> Any:
    """The network lies at another path than the reference says."""
    (tmp_path / ODD).mkdir()
    hidden = shutil.move(onnx_site.weights, tmp_path / ODD / "m.onnx")
    yield Path(hidden)
    shutil.move(hidden, onnx_site.weights)


def test_worker_processes_find_weights_where_the_command_was_told(
    onnx_site: Site, onnx_elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: SimpleNamespace
) -> None:
    rng = np.random.default_rng(5)
    for i in range(2):
        make.write_tar(tmp_path / "tars" / f"{i}.tar", make.real_images(30, rng))
    monkeypatch.chdir(tmp_path)
    found = make.run(
        "audit", "tars", "--reference", "r", "--home", onnx_site.home, "--device", "cpu", "--quiet", "--workers", 2,
        "--json", "--out", tmp_path / "o", "--weights", f"onnx=./{ODD}/m.onnx",
    )  # fmt: skip
    assert found.err == ""
    assert found.json["n_items"] == 60


def test_jobs_and_searches_of_the_service_find_weights_where_the_environment_says(
    onnx_site: Site, onnx_elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: SimpleNamespace
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MADAUDIT_WEIGHTS", f"onnx={onnx_elsewhere}")
    home = shutil.copytree(onnx_site.home, tmp_path / "home")
    context = make_context(Settings(home), ServiceSettings(allowed_roots=(str(onnx_site.folder),)))
    token = context.keys.create("k", ["admin"])[1]
    image = base64.b64encode(next((onnx_site.folder / "data" / "real").iterdir()).read_bytes()).decode()
    with TestClient(create_app(context), headers={"Authorization": f"Bearer {token}"}) as client:
        asked = {"source": str(onnx_site.folder / "data" / "incoming"), "reference": "r"}
        place = client.post("/v1/audits", json=asked).headers["Location"]
        client.get(f"{place}/events")
        assert client.get(place).json()["state"] == "succeeded"
        found = client.post("/v1/search", json={"reference": "r", "image": image, "k": 1})
        assert found.json()["neighbours"][0][0]["distance"] == pytest.approx(0, abs=1e-5)
        named = client.post("/v1/audits", json={**asked, "weights": ["onnx=/etc/passwd"]})
        assert named.status_code == 422  # a request cannot name weights
