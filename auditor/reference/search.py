"""Search a reference for the items nearest to vectors, an image or a text, in the space of its evidence encoder."""

import base64
import binascii
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from auditor.reference.reference import Reference, load_reference
from auditor.reference.relocation import AS_STORED, Weights
from indexes.encode import encode_shard
from indexes.encoders.protocol import Encoder
from indexes.errors import ArtifactError, InputError
from indexes.records import Item, Kind, Skip
from indexes.search import knn
from indexes.sources.memory import ItemShard

__all__ = ["search_reference"]


def search_reference(
    folder: Path,
    *,
    k: int,
    device: str,
    vectors: list[list[float]] | None = None,
    image: str | None = None,
    text: str | None = None,
    weights: Weights = AS_STORED,
) -> dict[str, Any]:
    """The k nearest items of a reference for every query, nearest first.

    Queries are vectors (n, d) of the reference's evidence encoder, one image in base64, or one text. Raises InputError
    for a query that the evidence encoder cannot read.
    """
    reference, encoder = _loaded(folder, _written(folder), device, weights)
    if sum(query is not None for query in (vectors, image, text)) != 1:
        raise InputError("expected exactly one of vectors, image and text")
    if vectors is not None:
        queries = _matrix(vectors, reference)
    else:
        queries = _encoded(text if image is None else _decoded(image), "text" if image is None else "image", encoder)
    database = reference.embeddings
    distances, rows = knn(queries, database.vectors, min(k, len(database.ids)), device=device)
    origins = _origins(reference)
    return {
        "reference": reference.name,
        "neighbours": [
            [
                {"id": database.ids[row], **origins[row], "distance": float(distance) ** 0.5}
                for distance, row in zip(*found, strict=True)
            ]
            for found in zip(distances, rows, strict=True)
        ],
    }


def _written(folder: Path) -> float:
    """Modification time of the reference's folder, so that a rebuilt reference is loaded again."""
    return folder.stat().st_mtime


@lru_cache(maxsize=4)
def _loaded(folder: Path, written: float, device: str, weights: Weights) -> tuple[Reference, Encoder]:
    reference = load_reference(folder, device=device, weights=weights)
    return reference, reference.encoders(device=device)[0]


def _origins(reference: Reference) -> list[dict[str, str]]:
    """Label and origin of every item, in the order of the vectors."""
    found: list[dict[str, str]] = []
    for number, (label, formats) in enumerate(zip(reference.labels, reference.formats, strict=True)):
        origin = "real" if number < reference.n_real else "synthetic"
        found += [{"label": label, "origin": origin}] * sum(formats.values())
    if len(found) != len(reference.embeddings.ids):
        raise ArtifactError(
            f"the items of the reference {reference.name} do not match its manifest: rebuild the reference"
        )
    return found


def _matrix(vectors: list[list[float]], reference: Reference) -> np.ndarray:
    width = reference.embeddings.vectors.shape[1]
    if wrong := [len(row) for row in vectors if len(row) != width]:
        raise InputError(f"a vector has {wrong[0]} numbers, expected {width} as in the reference {reference.name}")
    return np.array(vectors, dtype=np.float32)


def _decoded(image: str) -> bytes:
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError):
        raise InputError("the image is not valid base64: encode the bytes of the image file in base64") from None


def _encoded(data: Any, kind: Kind, encoder: Encoder) -> np.ndarray:
    if encoder.kind != kind:
        given = "an image" if kind == "image" else f"a {kind}"
        raise InputError(f"the reference's encoder {encoder.spec} reads {encoder.kind}s, but the query is {given}")
    for found in encode_shard(ItemShard("query", (Item("query", data),)), [encoder]):
        if isinstance(found, Skip):
            raise InputError(f"the {kind} of the query cannot be used: {found.reason}")
        if len(found.ids):
            return found.vectors[0]
    raise InputError(f"the {kind} of the query cannot be used: give another {kind}")
