"""The encoder `sentence:NAME-OR-PATH`: a sentence-transformers model, for texts in any language it was trained on."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from indexes.encoders.beginning import Beginning
from indexes.encoders.open_clip import import_open_clip
from indexes.encoders.protocol import Sees
from indexes.encoders.weights import spec_of_path
from indexes.errors import InputError, ResourceError
from indexes.records import Kind, Unusable

__all__ = ["Sentence", "load_sentence"]

_HUB_TIMEOUT = 5.0  # seconds for the one request that checks whether the hub can be reached


@final
class Sentence:
    """Sentence embeddings of texts, not normalised; a text is truncated to the model's longest input."""

    kind: Kind = "text"
    sees: Sees = "content"

    def __init__(self, model: Any, *, spec: str) -> None:
        self.spec = spec
        self._model = model.eval()
        self._beginning = Beginning(getattr(model, "tokenizer", None), model.max_seq_length)
        self.fingerprint = f"sentence:{_digest(model)}"
        self.dim = self(["a"]).shape[1]

    def prepare(self, text: str) -> str:
        """A beginning of the text with all tokens that the model reads; raises Unusable for white space only."""
        if not text or text.isspace():
            raise Unusable("empty text")
        return self._beginning.of(text)

    def __call__(self, batch: Sequence[str]) -> np.ndarray:
        """Vectors (n, dim) float32."""
        vectors: np.ndarray = self._model.encode(
            list(batch), batch_size=len(batch), convert_to_numpy=True, show_progress_bar=False
        )
        return vectors.astype(np.float32, copy=False)


def load_sentence(args: str, *, device: str) -> Sentence:
    """The encoder for the model in the folder PATH, or for the published model NAME from the Hugging Face cache or hub.

    Raises InputError for a folder without a model and for empty arguments, and ResourceError if the library, the device
    or the weights of NAME are unavailable.
    """
    if not args:
        raise InputError("sentence needs a model: write sentence:/path/to/folder or sentence:PUBLISHED-NAME")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ResourceError(f"no device {device!r} found: torch {torch.__version__} sees no GPU, use --device cpu")
    import_open_clip()  # makes a torchvision built for another torch importable; the next line imports it
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise ResourceError("sentence-transformers is not installed: pip install 'madaudit[text]'") from None
    folder = Path(os.path.expanduser(args))
    if folder.is_dir():
        return Sentence(_from_folder(SentenceTransformer, folder, device), spec=spec_of_path("sentence", folder))
    if folder.is_absolute() or args.startswith((".", "~")):
        raise InputError(f"there is no folder {args}: give the folder of a sentence-transformers model")
    return Sentence(_published(SentenceTransformer, args, device), spec=f"sentence:{args}")


def _from_folder(kind: Any, folder: Path, device: str) -> Any:
    if not any((folder / name).is_file() for name in ("modules.json", "config.json")):
        raise InputError(f"{folder} holds no sentence-transformers model: expected modules.json or config.json in it")
    try:
        return kind(str(folder), device=device, local_files_only=True)
    except Exception as error:  # damaged weights and configurations raise many types
        raise InputError(f"cannot load {folder} as a sentence-transformers model: {_one_line(error)}") from error


def _published(kind: Any, name: str, device: str) -> Any:
    """The published model, from the Hugging Face cache, or downloaded if the hub can be reached.

    One short request checks the connection first, because the hub's client retries for a minute on a machine that is
    offline.
    """
    import huggingface_hub

    try:
        return kind(name, device=device, local_files_only=True)
    except Exception:  # not in the cache: several libraries raise different errors for it
        pass
    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=_HUB_TIMEOUT)
        return kind(name, device=device)
    except Exception as error:
        raise ResourceError(
            f"the model {name!r} is unavailable ({_one_line(error)}): give a local folder as sentence:/path/to/folder, "
            "or copy the model into the Hugging Face cache from a machine with a network; for a stored reference, "
            "add --weights sentence=/path/to/folder"
        ) from error


def _digest(model: Any) -> str:
    """Hash of 16 hex digits over a model's weights in key order, modules and longest input, which determine vectors."""
    digest = hashlib.sha256()
    state = model.state_dict()
    for key in sorted(state):
        digest.update(key.encode() + state[key].cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    digest.update(repr([type(module).__name__ for module in model]).encode())
    digest.update(str(model.max_seq_length).encode())
    return digest.hexdigest()[:16]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
