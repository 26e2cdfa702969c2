import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from indexes.encoders import ENCODERS, load_encoder
from indexes.errors import InputError, ResourceError

DATA = Path(os.environ.get("MADAUDIT_DATA", Path(__file__).parents[3] / "shared" / "data"))
MOBILENET = DATA / "models" / "mobilenet_v2_224.onnx"
RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, shape, dtype=np.uint8) for shape in ((40, 60, 3), (64, 64, 3), (90, 70, 3))]
ARCHITECTURE = "madaudit-tiny"
VISION = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
TEXT = {"context_length": 8, "vocab_size": 64, "width": 64, "heads": 1, "layers": 1}


def encode(spec: str, images: list[np.ndarray] = IMAGES) -> np.ndarray:
    encoder = load_encoder(spec)
    vectors = encoder([encoder.prepare(image) for image in images])
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(images), encoder.dim)
    return vectors


# names


def test_the_package_imports_nothing_heavy() -> None:
    code = "import sys, indexes.encoders; print(*{'torch', 'open_clip', 'onnxruntime'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="embeddings, forensic, lexical, onnx, open_clip, pixels, sentence"):
        load_encoder("clip")


def test_names_are_sorted() -> None:
    assert list(ENCODERS) == sorted(ENCODERS)


# pixels, embeddings, joined


def test_pixels_are_values_between_zero_and_one() -> None:
    small = Image.fromarray(IMAGES[1]).resize((8, 8), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(encode("pixels:8", [IMAGES[1]])[0], np.asarray(small).ravel() / 255, atol=1e-6)


@pytest.mark.parametrize("spec", ["pixels:0", "pixels:big", "embeddings:-1"])
def test_a_size_must_be_a_positive_integer(spec: str) -> None:
    with pytest.raises(InputError, match="expected a positive integer"):
        load_encoder(spec)


def test_pixels_without_a_size_say_which_they_took() -> None:
    assert load_encoder("pixels").spec == "pixels:32"


def test_ready_made_vectors_of_different_widths_do_not_meet() -> None:
    encoder = load_encoder("embeddings")
    with pytest.raises(InputError, match="widths 3, 4"):
        encoder([np.zeros(3, np.float32), np.zeros(4, np.float32)])


def test_joined_encoders_stand_side_by_side() -> None:
    np.testing.assert_array_equal(encode("pixels:4+pixels:2"), np.hstack([encode("pixels:4"), encode("pixels:2")]))


def test_joined_encoders_join_their_fingerprints() -> None:
    assert load_encoder("pixels:4+pixels:2").fingerprint == "pixels:4:canonical/1+pixels:2:canonical/1"


def test_joined_encoders_see_content_only_if_all_do() -> None:
    pytest.importorskip("indexes.encoders.forensic")
    assert load_encoder("pixels+forensic").sees == "traces"
    assert load_encoder("pixels+pixels").sees == "content"


def test_encoders_that_read_different_kinds_cannot_be_joined() -> None:
    with pytest.raises(InputError, match="image, vector"):
        load_encoder("pixels+embeddings")


# onnx


@pytest.fixture
def onnx_model(tmp_path: Path) -> Any:
    """Writes a network whose outputs are the channel means under several names."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    def write(shape: list[Any], outputs: list[str], name: str = "model.onnx") -> Path:
        axes = [2, 3] if shape[1] == 3 else [1, 2]
        axes_input = helper.make_tensor("axes", TensorProto.INT64, [2], axes)
        nodes = [helper.make_node("ReduceMean", ["x", "axes"], [output], keepdims=0) for output in outputs]
        images = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        infos = [helper.make_tensor_value_info(output, TensorProto.FLOAT, [shape[0], 3]) for output in outputs]
        graph = helper.make_graph(nodes, "means", [images], infos, [axes_input])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    pytest.importorskip("onnxruntime")
    return write


def means(size: int) -> np.ndarray:
    return np.stack([encode(f"pixels:{size}", [i]).reshape(-1, 3).mean(axis=0) * 255 for i in IMAGES])


@pytest.mark.parametrize("shape", [["N", 3, 16, 16], ["N", 16, 16, 3], [1, 3, 16, 16]])
def test_every_layout_gets_the_same_values(onnx_model: Any, shape: list[Any]) -> None:
    expected = (means(16) - 127.5) / 127.5
    np.testing.assert_allclose(encode(f"onnx:{onnx_model(shape, ['out'])}"), expected, atol=1e-4)


def test_a_sidecar_gives_preprocessing_size_and_output(onnx_model: Any) -> None:
    path = onnx_model(["N", 3, "H", "W"], ["a", "b"])
    settings = {"mean": [1, 2, 3], "scale": 2, "size": 8, "output": "b"}
    Path(f"{path}.json").write_text(json.dumps(settings))
    np.testing.assert_allclose(encode(f"onnx:{path}"), (means(8) - [1, 2, 3]) / 2, rtol=1e-4)
    assert ":8:1.0,2.0,3.0:2.0,2.0,2.0:b:" in load_encoder(f"onnx:{path}").fingerprint


def test_class_scores_are_passed_over_for_an_embedding(onnx_model: Any) -> None:
    path = onnx_model(["N", 3, 8, 8], ["probs", "features"])
    assert ":features:" in load_encoder(f"onnx:{path}").fingerprint


def test_class_scores_are_better_than_nothing(onnx_model: Any) -> None:
    assert ":logits:" in load_encoder(f"onnx:{onnx_model(['N', 3, 8, 8], ['logits'])}").fingerprint


def test_an_open_input_size_must_be_given(onnx_model: Any) -> None:
    with pytest.raises(InputError, match="one square input size, found none"):
        load_encoder(f"onnx:{onnx_model(['N', 3, 'H', 'W'], ['out'])}")


def test_an_unknown_setting_is_refused(onnx_model: Any) -> None:
    path = onnx_model(["N", 3, 8, 8], ["out"])
    Path(f"{path}.json").write_text('{"std": 1}')
    with pytest.raises(InputError, match="mean, output, scale, size"):
        load_encoder(f"onnx:{path}")


def test_a_copy_of_a_network_has_the_same_fingerprint_and_a_plus_in_its_path_is_no_join(
    onnx_model: Any, tmp_path: Path
) -> None:
    path = onnx_model(["N", 3, 8, 8], ["out"])
    copy = shutil.copy(path, tmp_path / "a+b.onnx")
    assert load_encoder(f"onnx:{copy}").fingerprint == load_encoder(f"onnx:{path}").fingerprint


def test_a_missing_or_foreign_onnx_file_is_an_input_error(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "x.onnx").write_text("hello")
    for path in (tmp_path / "x.onnx", tmp_path / "y.onnx"):
        with pytest.raises(InputError):
            load_encoder(f"onnx:{path}")


def test_missing_onnxruntime_names_its_remedy(onnx_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ResourceError, match=r"pip install 'madaudit\[onnx\]'"):
        load_encoder(f"onnx:{onnx_model(['N', 3, 8, 8], ['out'])}")


@pytest.mark.skipif(not MOBILENET.exists(), reason=f"needs the shared data at {DATA}")
def test_mobilenet_gives_what_onnxruntime_gives() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(MOBILENET, providers=["CPUExecutionProvider"])
    image = RNG.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    values = (image.astype(np.float32).transpose(2, 0, 1)[None] - 127.5) / 127.5
    (expected,) = session.run(["embedding"], {"x_nchw": values})
    np.testing.assert_allclose(encode(f"onnx:{MOBILENET}", [image]), expected, atol=1e-4)


# open_clip


@pytest.fixture(scope="module")
def open_clip(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """open_clip with a small architecture of ours."""
    from indexes.encoders.open_clip import import_open_clip

    module = import_open_clip()
    path = tmp_path_factory.mktemp("configs") / f"{ARCHITECTURE}.json"
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}))
    module.add_model_config(path)
    return module


@pytest.fixture(scope="module")
def checkpoint(open_clip: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(open_clip.create_model(ARCHITECTURE).state_dict(), path)
    return path


def test_a_checkpoint_gives_what_open_clip_gives(open_clip: ModuleType, checkpoint: Path) -> None:
    import torch

    model, _, preprocess = open_clip.create_model_and_transforms(ARCHITECTURE, pretrained=str(checkpoint))
    with torch.inference_mode():
        images = torch.stack([preprocess(Image.fromarray(image)) for image in IMAGES])
        expected = model.eval().encode_image(images).numpy()
    np.testing.assert_allclose(encode(f"open_clip:{ARCHITECTURE}:{checkpoint}"), expected, atol=1e-6)


def test_equal_weights_have_equal_fingerprints_and_others_another(checkpoint: Path, tmp_path: Path) -> None:
    import torch

    weights = torch.load(checkpoint, weights_only=True)
    paths = [tmp_path / "same.pt", tmp_path / "other.pt"]
    torch.save({"state_dict": weights}, paths[0])
    torch.save(weights | {"visual.proj": weights["visual.proj"] + 1e-3}, paths[1])
    prints = [load_encoder(f"open_clip:{ARCHITECTURE}:{path}").fingerprint for path in (checkpoint, *paths)]
    assert prints[0] == prints[1] != prints[2]


def test_a_siglip_checkpoint_gets_the_preprocessing_of_the_published_ones(open_clip: ModuleType) -> None:
    from indexes.encoders.open_clip import _settings

    settings = _settings(open_clip, "ViT-B-16-SigLIP", "/path/to.pt")
    assert (settings["image_mean"], settings["image_resize_mode"]) == ((0.5, 0.5, 0.5), "squash")


def test_published_weights_that_need_quick_gelu_get_it(open_clip: ModuleType) -> None:
    from indexes.encoders.open_clip import _settings

    assert _settings(open_clip, "ViT-B-32", "openai")["force_quick_gelu"]


@pytest.fixture
def offline_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and a hub that nobody answers for."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    return tmp_path


def test_weights_that_cannot_be_had_are_one_line_with_the_remedies(open_clip: ModuleType, offline_hub: Path) -> None:
    with pytest.raises(ResourceError) as caught:
        load_encoder("open_clip:ViT-B-32:openai")
    assert "\n" not in str(caught.value)
    assert "open_clip:ViT-B-32:/path/to.pt" in str(caught.value)
    assert "Hugging Face cache" in str(caught.value)


def test_weights_in_the_cache_need_no_network(open_clip: ModuleType, offline_hub: Path) -> None:
    from indexes.encoders.open_clip import _weights_of_tag

    repository = offline_hub / "models--timm--vit_base_patch32_clip_224.openai"
    weights = repository / "snapshots" / "abc" / "open_clip_model.safetensors"
    for path, content in ((repository / "refs" / "main", "abc"), (weights, "")):
        path.parent.mkdir(parents=True)
        path.write_text(content)
    assert _weights_of_tag(open_clip, "ViT-B-32", "openai") == str(weights)


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        ("ViT-B-33:openai", "ViT-B-32"),
        ("ViT-B-32", "laion2b_s34b_b79k"),
        ("ViT-B-32:nonsense", "has no weights called 'nonsense'.*laion2b_s34b_b79k"),
        ("ViT-B-32:/nowhere/x.pt", "no checkpoint at /nowhere/x.pt"),
        ("ViT-B-32-quickgelu:laion2b_s34b_b79k", "no weights called"),
    ],
)
def test_a_wrong_argument_is_answered_with_what_would_be_right(args: str, answer: str) -> None:
    with pytest.raises(InputError, match=answer):
        load_encoder(f"open_clip:{args}")


def test_a_checkpoint_of_something_else_is_an_input_error(open_clip: ModuleType, tmp_path: Path) -> None:
    import torch

    torch.save({"weight": torch.zeros(3)}, tmp_path / "x.pt")
    with pytest.raises(InputError, match=f"cannot load {tmp_path / 'x.pt'} as {ARCHITECTURE}"):
        load_encoder(f"open_clip:{ARCHITECTURE}:{tmp_path / 'x.pt'}")


def test_a_missing_gpu_is_a_resource_error() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ResourceError, match="sees no GPU"):
        load_encoder("open_clip:ViT-B-32:openai", device="cuda")


def test_only_a_missing_operator_of_torchvision_is_mended(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from indexes.encoders.open_clip import import_open_clip

    class Failing:
        """An import hook under which torchvision cannot be imported, for another reason."""

        def find_spec(self, name: str, *_: object) -> None:
            if name == "torchvision":
                raise RuntimeError("libjpeg is broken")

    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Failing(), *sys.meta_path])
    with caplog.at_level(logging.INFO), pytest.raises(RuntimeError, match="libjpeg is broken"):
        import_open_clip.__wrapped__()
    assert "declaring" not in caplog.text
