"""The production image encoder `open_clip:ARCH:PRETRAINED-OR-PATH`, which is the image tower of a CLIP model."""

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, final

import numpy as np
import torch
from PIL import Image

from indexes.encoders.protocol import Sees
from indexes.encoders.weights import spec_of_path
from indexes.errors import InputError, ResourceError
from indexes.images import CANONICAL
from indexes.records import Kind

__all__ = ["OpenClip", "import_open_clip", "load_open_clip"]

_LOG = logging.getLogger(__name__)
_HUB_TIMEOUT = 5.0  # seconds for the one request that checks whether the hub can be reached
_MISSING_OPERATOR = re.compile(r"operator torchvision::(\w+) does not exist")
_DETECTION_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"  # of nms and qnms
_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")
_declared: list[Any] = []  # torch forgets a schema when the library object that declared it is collected


@final
class OpenClip:
    """Image embeddings of one open_clip model, not normalised."""

    kind: Kind = "image"
    sees: Sees = "content"

    def __init__(self, model: Any, preprocess: Any, *, spec: str, fingerprint: str, device: torch.device) -> None:
        self.spec = spec
        self.fingerprint = fingerprint
        self._model = model.eval().to(device)
        self._preprocess = preprocess
        self._device = device
        self.dim = self([self.prepare(np.zeros((8, 8, 3), np.uint8))]).shape[1]

    def prepare(self, data: np.ndarray) -> torch.Tensor:
        """One image after open_clip's own evaluation transform, as a tensor (3, size, size)."""
        prepared: torch.Tensor = self._preprocess(Image.fromarray(data))
        return prepared

    def __call__(self, batch: Sequence[torch.Tensor]) -> np.ndarray:
        images = torch.stack(list(batch)).to(self._device)
        with torch.inference_mode(), torch.autocast(self._device.type, enabled=self._device.type == "cuda"):
            vectors: np.ndarray = self._model.encode_image(images).float().cpu().numpy()
        return vectors


def load_open_clip(args: str, *, device: str) -> OpenClip:
    """The encoder for `ARCH:TAG` (published weights) or `ARCH:PATH` (a checkpoint file).

    Raises InputError if ARCH, TAG or PATH is unknown, and ResourceError if the weights of TAG are not in the cache and
    cannot be downloaded, or if the device is missing.
    """
    architecture, _, pretrained = args.partition(":")
    where = torch.device(device)
    if where.type == "cuda" and not torch.cuda.is_available():
        raise ResourceError(f"no device {device!r} found: torch {torch.__version__} sees no GPU, use --device cpu")
    open_clip = import_open_clip()
    _check_names(open_clip, architecture, pretrained)
    settings = _settings(open_clip, architecture, pretrained)
    is_tag = open_clip.is_pretrained_cfg(architecture, pretrained)
    path = _weights_of_tag(open_clip, architecture, pretrained) if is_tag else os.path.expanduser(pretrained)
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(architecture, pretrained=path, **settings)
    except Exception as error:  # unpickling and a mismatched architecture raise many types
        raise InputError(f"cannot load {path} as {architecture} weights: {_one_line(error)}") from error
    return OpenClip(
        model,
        preprocess,
        spec=f"open_clip:{args}" if is_tag else spec_of_path(f"open_clip:{architecture}", path),
        fingerprint=f"open_clip:{architecture}:{_digest(model.state_dict(), settings)}:{CANONICAL}",
        device=where,
    )


@cache
def import_open_clip() -> ModuleType:
    """Import open_clip, even if torchvision was built for another torch and fails to import for missing operators.

    Operators missing from torchvision belong to detection models and are never called here, so declaring their names is
    enough.
    """
    while True:
        try:
            import torchvision  # noqa: F401 - open_clip imports it too
        except RuntimeError as error:
            missing = _MISSING_OPERATOR.search(str(error))
            if missing is None:
                raise
            _LOG.info("torchvision does not match torch: declaring its operator %s, which is never used", missing[1])
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(missing[1] + _DETECTION_SCHEMA)
            _declared.append(library)
        else:
            import open_clip

            return open_clip


def _check_names(open_clip: ModuleType, architecture: str, pretrained: str) -> None:
    known = open_clip.list_models()
    if architecture not in known:
        close = get_close_matches(architecture, known, n=5, cutoff=0.3) or known[:5]
        raise InputError(f"open_clip has no architecture {architecture!r}: did you mean one of {', '.join(close)}?")
    if open_clip.is_pretrained_cfg(architecture, pretrained) or os.path.isfile(os.path.expanduser(pretrained)):
        return
    if os.sep in pretrained or Path(pretrained).suffix in (".bin", ".pt", ".pth", ".safetensors"):
        raise InputError(f"there is no checkpoint at {pretrained}: give the path of a file that open_clip can load")
    tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none"
    found = f"has no weights called {pretrained!r}" if pretrained else "needs weights"
    raise InputError(
        f"open_clip:{architecture} {found}: give a checkpoint as open_clip:{architecture}:/path/to.pt "
        f"or one of the published tags: {tags}"
    )


def _settings(open_clip: ModuleType, architecture: str, pretrained: str) -> dict[str, Any]:
    """Settings for preprocessing and activation, which belong to the weights but are not stored in a checkpoint.

    A checkpoint path gets the preprocessing that all published weights of its architecture share, else open_clip's
    default. Some published weights need the activation QuickGELU although their architecture does not state it.
    """
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if open_clip.is_pretrained_cfg(architecture, pretrained):
        tags = [pretrained]
    configs = [open_clip.get_pretrained_cfg(architecture, tag) for tag in tags]
    distinct = {tuple(config[key] for key in _PREPROCESSING) for config in configs}
    settings: dict[str, Any] = {}
    if len(distinct) == 1:
        settings = {f"image_{key}": value for key, value in zip(_PREPROCESSING, distinct.pop(), strict=True)}
    if tags == [pretrained]:
        settings["force_quick_gelu"] = configs[0].get("quick_gelu", False)
        if open_clip.get_model_config(architecture).get("quick_gelu", False) and not settings["force_quick_gelu"]:
            plain = architecture.removesuffix("-quickgelu")
            raise InputError(f"{pretrained} was not trained with QuickGELU: use open_clip:{plain}:{pretrained}")
    return settings


def _weights_of_tag(open_clip: ModuleType, architecture: str, tag: str) -> str:
    """Path of the published weights `tag`: from the cache, or downloaded if the Hugging Face hub can be reached.

    One short request checks the connection first, because the hub's client retries for most of a minute on a machine
    that is offline.
    """
    import huggingface_hub
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    config = open_clip.get_pretrained_cfg(architecture, tag)
    repository, name = os.path.split(config["hf_hub"])
    names = (f"{Path(name).stem}.safetensors", name) if name else (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)
    for candidate in names:
        cached = huggingface_hub.try_to_load_from_cache(repository, candidate)
        if isinstance(cached, str):
            return cached
    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=_HUB_TIMEOUT)
        path: str = open_clip.download_pretrained(config)
        return path
    except Exception as error:  # the hub's client raises several libraries' errors
        raise ResourceError(
            f"the weights {tag!r} of {architecture} are unavailable ({_one_line(error)}): give a local checkpoint as "
            f"open_clip:{architecture}:/path/to.pt, or copy {repository} into the Hugging Face cache "
            f"from a machine with a network; for a stored reference, add --weights open_clip:{architecture}=/path/to.pt"
        ) from error


def _digest(state: dict[str, torch.Tensor], settings: dict[str, Any]) -> str:
    """Hash of 16 hex digits over the weights in key order and the settings, which together determine all vectors."""
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(state[key].cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    digest.update(repr(sorted(settings.items())).encode())
    return digest.hexdigest()[:16]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
