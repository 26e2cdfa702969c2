"""The encoder `onnx:PATH`, which runs any image network in ONNX format with onnxruntime.

The network's input is (x - 127.5) / 127.5 for RGB values x in 0…255, unless a file PATH.json sets other values:

    {"mean": [123.7, 116.3, 103.5], "scale": [58.4, 57.1, 57.4], "size": 224, "output": "embedding"}

All keys of PATH.json are optional. The network's input is (x - mean) / scale, where `mean` and `scale` are one number
or one number per channel. The key `size` (pixels) is required if the network does not fix its input size. The key
`output` names the network output to use; the default is the first (n, dim) output whose name does not look like class
scores.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from indexes.encoders.protocol import Sees
from indexes.encoders.weights import spec_of_path
from indexes.errors import InputError, ResourceError
from indexes.images import CANONICAL, resize
from indexes.records import Kind

__all__ = ["Onnx", "load_onnx"]

_SCORES = re.compile(r"prob|logit|softmax|score|class|pred", re.IGNORECASE)
_STEP = 32  # images per run: bounds the memory for activations, and always runs the same images together


@dataclass(frozen=True, slots=True)
class _Preprocessing:
    """How an image is turned into a network's input, and which network output is used."""

    size: int
    channels_first: bool
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    output: str


@final
class Onnx:
    """Image embeddings of an ONNX network, computed on one thread per process, so that the order of sums is fixed."""

    kind: Kind = "image"
    sees: Sees = "content"

    def __init__(self, session: Any, preprocessing: _Preprocessing, *, spec: str, digest: str) -> None:
        self.spec = spec
        mean, scale = (",".join(map(str, value)) for value in (preprocessing.mean, preprocessing.scale))
        self.fingerprint = f"onnx:{digest}:{preprocessing.size}:{mean}:{scale}:{preprocessing.output}:{CANONICAL}"
        self._session = session
        self._preprocessing = preprocessing
        self._input = session.get_inputs()[0].name
        self._step = 1 if session.get_inputs()[0].shape[0] == 1 else _STEP
        self._mean = np.array(preprocessing.mean, dtype=np.float32)
        self._scale = np.array(preprocessing.scale, dtype=np.float32)
        self.dim = self._run([self.prepare(np.zeros((8, 8, 3), np.uint8))]).shape[1]

    def prepare(self, data: np.ndarray) -> np.ndarray:
        """The network's input for one image: (3, size, size) or (size, size, 3) float32."""
        values = (resize(data, self._preprocessing.size) - self._mean) / self._scale
        return np.ascontiguousarray(values.transpose(2, 0, 1)) if self._preprocessing.channels_first else values

    def __call__(self, batch: Sequence[np.ndarray]) -> np.ndarray:
        starts = range(0, len(batch), self._step)
        return np.concatenate([self._run(batch[start : start + self._step]) for start in starts])

    def _run(self, batch: Sequence[np.ndarray]) -> np.ndarray:
        output: np.ndarray = self._session.run([self._preprocessing.output], {self._input: np.stack(batch)})[0]
        return output.astype(np.float32, copy=False)


def load_onnx(args: str, *, device: str) -> Onnx:
    """The encoder for the network at PATH; raises InputError if the file is unreadable or maps no images to vectors."""
    path = Path(os.path.expanduser(args))
    if not path.is_file():
        raise InputError(f"there is no ONNX file at {args!r}: write onnx:/path/to/model.onnx")
    data = path.read_bytes()
    try:
        session = _session(data, device)
        preprocessing = _preprocessing(session, path)
        digest = hashlib.sha256(data).hexdigest()[:16]
        return Onnx(session, preprocessing, spec=spec_of_path("onnx", path), digest=digest)
    except (InputError, ResourceError):
        raise
    except Exception as error:  # onnxruntime's errors have no common base
        raise InputError(f"cannot use {path} as an image encoder: {' '.join(str(error).split())[:200]}") from error


def _session(data: bytes, device: str) -> Any:
    """An onnxruntime session for a model; weights in a second file are refused, because no fingerprint covers them."""
    try:
        import onnxruntime
    except ImportError:
        raise ResourceError("onnxruntime is not installed: pip install 'madaudit[onnx]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    name, _, index = device.partition(":")
    if name != "cuda":
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise ResourceError(f"onnxruntime has no device {device!r}: install onnxruntime-gpu or use cpu")
    provider = ("CUDAExecutionProvider", {"device_id": index or "0"})
    return onnxruntime.InferenceSession(data, options, providers=[provider, "CPUExecutionProvider"])


def _preprocessing(session: Any, path: Path) -> _Preprocessing:
    sidecar = _sidecar(Path(f"{path}.json"))
    shape, dtype = session.get_inputs()[0].shape, session.get_inputs()[0].type
    if dtype != "tensor(float)" or len(shape) != 4 or (shape[1] == 3) == (shape[3] == 3):
        raise InputError(f"{path} takes {dtype} of shape {shape}, expected float input (N, 3, H, W) or (N, H, W, 3)")
    channels_first = shape[1] == 3
    height, width = shape[2:] if channels_first else shape[1:3]
    sizes = {side for side in (height, width, sidecar.get("size")) if isinstance(side, int)}
    if len(sizes) != 1:
        found = " and ".join(map(str, sorted(sizes))) or "none"
        raise InputError(f'{path} needs one square input size, found {found}: set {{"size": …}} in {path}.json')
    return _Preprocessing(
        size=sizes.pop(),
        channels_first=channels_first,
        mean=_three(sidecar.get("mean", 127.5), path),
        scale=_three(sidecar.get("scale", 127.5), path),
        output=_output(session, sidecar.get("output"), path),
    )


def _sidecar(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    known = {"mean", "output", "scale", "size"}
    try:
        settings = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(settings, dict) or not settings.keys() <= known:
        raise InputError(f"{path} must be a JSON object with no keys except {', '.join(sorted(known))}")
    return settings


def _three(value: Any, path: Path) -> tuple[float, float, float]:
    values = value if isinstance(value, list) else [value] * 3
    if len(values) != 3 or not all(isinstance(number, int | float) for number in values):
        raise InputError(f"{path}.json has {value!r} for mean or scale, expected one number or three numbers")
    red, green, blue = map(float, values)
    return red, green, blue


def _output(session: Any, named: str | None, path: Path) -> str:
    flat = {
        output.name for output in session.get_outputs() if output.type == "tensor(float)" and len(output.shape) == 2
    }
    names = [output.name for output in session.get_outputs() if output.name in flat]
    if not names or (named is not None and named not in flat):
        raise InputError(
            f"{path} has no float output {named or ''} of shape (n, dim): found {', '.join(names) or 'none'}"
        )
    return named or next((name for name in names if not _SCORES.search(name)), names[0])
