"""Simulate generator samples (stand-ins) with models that are fitted to the real data of a reference."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from indexes.compression import stored_as
from indexes.errors import InputError
from indexes.images import decode, resize
from indexes.records import Item, Kind, Shard, Source, Unusable
from indexes.sources.match_storage import storages_of
from indexes.sources.memory import ItemShard
from loops.config import LoopConfig
from loops.data.open import open_data
from loops.data.population import Population
from loops.data.supply import Sampled, sampled
from loops.models import make_family
from loops.models.catalogue import plain_name
from loops.random_streams import Purpose, Streams

__all__ = ["simulate_stand_ins", "stand_in_label"]

_MOST = 1000  # stand-ins for one real source at most
_LARGEST = 64  # pixels; longest shorter side of real images that models of at most 32 pixels can stand for
_LONGEST = 4000  # characters of a stand-in text at most
_LOOKED_AT = 200  # images whose size is measured


def stand_in_label(family: str) -> str:
    """Label of simulated generator samples: `simulated-` followed by the name of the model family."""
    return "simulated-" + re.sub(r"[^\w.-]+", "-", plain_name(family).rpartition("/")[2])


def simulate_stand_ins(family: str, real: Sequence[Source], *, column: str | None, seed: int, device: str) -> Source:
    """Simulated generator samples, from a model of each real source: one per real item, at most 1,000 per source.

    Simulated images have the median size of the real images, and JPEG settings taken from the real images if there are
    JPEGs among them. Simulated texts are pieces of up to 64 characters, joined to the length of a random real text.
    Raises InputError if the family cannot produce items of the real kind, or if real images are larger than 64 pixels.
    """
    label = stand_in_label(family)
    made = [tuple(_stand_ins(family, source, column=column, seed=seed, device=device)) for source in real]
    return Source(label, real[0].kind, tuple(ItemShard(f"{label}-{i}", items) for i, items in enumerate(made)))


def _stand_ins(family: str, source: Source, *, column: str | None, seed: int, device: str) -> Iterator[Item]:
    makes = make_family(family, device=device)
    config = LoopConfig(family=family, data=source.spec, column=column, seed=seed, device=device)
    clean = open_data(source.spec, config, reads=makes.reads)
    _check(family, source.kind, clean)
    rng = Streams(seed).rng(Purpose.contaminant, 0)
    model = sampled(makes, clean, rng=rng)
    n = min(clean.size or _MOST, _MOST)
    for number, data in enumerate(_MAKERS[source.kind](model, clean, source, n, rng)):
        yield Item(f"{stand_in_label(family)}#{number}", data)


def _check(family: str, kind: Kind, clean: Population) -> None:
    spells = clean.spell(np.zeros((1, clean.space.width), dtype=np.int64)) is not None
    if (kind == "text" and not spells) or (kind == "image" and clean.space.image is None):
        wanted = "ngram or language-model" if kind == "text" else "gan, vae, diffusion, unet-diffusion, gmm or kde"
        raise InputError(f"the family {family} makes no {kind}s: choose {wanted}")


def _vectors(model: Sampled, clean: Population, source: Source, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    return list(clean.embed(_drawn(model, n, rng)).astype(np.float32))


def _drawn(model: Sampled, n: int, rng: np.random.Generator) -> np.ndarray:
    return model.draw(n, chains=1, fresh=True, rng=rng).values[0]


def _texts(model: Sampled, clean: Population, source: Source, n: int, rng: np.random.Generator) -> list[str]:
    lengths = [len(item.data) for item in _items(source) if isinstance(item.data, str)]
    wanted = np.minimum(rng.choice(lengths, n), _LONGEST)
    pieces = np.maximum(1, -(-wanted // model.space.width))
    spelt = iter(clean.spell(_drawn(model, int(pieces.sum()), rng)) or [])
    joined = [" ".join(next(spelt) for _ in range(k)) for k in pieces]
    return [text[:length].strip() or "." for text, length in zip(joined, wanted, strict=True)]


def _images(model: Sampled, clean: Population, source: Source, n: int, rng: np.random.Generator) -> list[bytes]:
    side = _usual_side(source)
    if side > _LARGEST:
        raise InputError(
            f"the real images of {source.spec} measure {side} pixels on the shorter side, but generators can "
            f"be simulated only for at most {_LARGEST} pixels: give samples of real generators with --synthetic"
        )
    assert clean.space.image is not None
    low, high = clean.space.bounds or (0.0, 1.0)
    values = (clean.embed(_drawn(model, n, rng)) - low) / (high - low)
    pixels = np.rint(255 * values.clip(0, 1)).astype(np.uint8).reshape(n, *clean.space.image).transpose(0, 2, 3, 1)
    coloured = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:3], 3)))
    storages = storages_of([source])
    chosen = rng.integers(len(storages), size=n) if storages else np.zeros(n, dtype=int)
    return [
        stored_as(resize(image, side), storages[c]) if storages else _png(resize(image, side))
        for image, c in zip(coloured, chosen, strict=True)
    ]


_MAKERS: dict[Kind, Callable[[Sampled, Population, Source, int, np.random.Generator], Sequence[Any]]] = {
    "text": _texts,
    "image": _images,
    "vector": _vectors,
}


def _usual_side(source: Source) -> int:
    sides: list[int] = []
    for item in _items(source):
        try:
            sides.append(min(decode(item.data).pixels.shape[:2]) if isinstance(item.data, bytes) else 0)
        except Unusable:
            continue
        if len(sides) == _LOOKED_AT:
            break
    return int(np.median(sides))


def _items(source: Source) -> Iterator[Item]:
    shards: Sequence[Shard] = source.shards
    return (item for shard in shards for item in shard.read() if isinstance(item, Item))


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
