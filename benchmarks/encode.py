"""How much of an encoder's bare throughput is left when it is fed through `encode_shard`."""

import argparse
import io
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from indexes.encode import Batch, encode_shard
from indexes.encoders import Encoder, load_encoder
from indexes.images import decode
from indexes.records import Item

_TRIVIAL = ("embeddings", "pixels")  # their forward is a copy: the decoding that they cannot do without counts as bare


@dataclass(frozen=True, slots=True)
class _Memory:
    """A shard that is already read."""

    items: tuple[Item, ...]
    name: str = "memory"

    def identity(self) -> str:
        return self.name

    def read(self) -> Iterator[Item]:
        yield from self.items


def _images(data: Path, count: int) -> list[bytes]:
    archive = data / "images" / "photos_vs_diffusion_256.zip"
    if archive.exists():
        with zipfile.ZipFile(archive) as files:
            return list(islice(cycle([files.read(name) for name in files.namelist() if name.endswith("jpg")]), count))
    rng = np.random.default_rng(0)
    return [_jpeg(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(count)]


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((256, 256)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _texts(count: int) -> list[str]:
    rng = np.random.default_rng(0)
    words = np.array(["".join(chr(97 + c) for c in rng.integers(0, 26, rng.integers(2, 9))) for _ in range(5000)])
    return [" ".join(rng.choice(words, 200)) for _ in range(count)]


def _specs(data: Path, folder: Path) -> list[str]:
    specs = ["pixels", *(name for name in ("forensic", "lexical") if find_spec(f"indexes.encoders.{name}"))]
    model = data / "models" / "mobilenet_v2_224.onnx"
    if model.exists() and find_spec("onnxruntime"):
        specs.append(f"onnx:{model}")
    return [*specs, f"open_clip:ViT-B-32:{_random_checkpoint(folder)}"]


def _random_checkpoint(folder: Path) -> Path:
    from indexes.encoders.open_clip import import_open_clip

    path = folder / "random.pt"
    torch.save(import_open_clip().create_model("ViT-B-32").state_dict(), path)
    return path


def _bare(encoder: Encoder, raw: Sequence[bytes | str], batch_size: int, with_decoding: bool) -> float:
    """Seconds for all items; prepared batch by batch, so that as little memory is in use as in the pipeline."""
    seconds = 0.0
    for start in range(0, len(raw), batch_size):
        began = time.perf_counter()
        batch = [encoder.prepare(_decoded(item)) for item in raw[start : start + batch_size]]
        if not with_decoding:
            began = time.perf_counter()
        encoder(batch)
        seconds += time.perf_counter() - began
    return seconds


def _decoded(item: bytes | str) -> object:
    return decode(item).pixels if isinstance(item, bytes) else item


def _piped(encoder: Encoder, shard: _Memory, batch_size: int, threads: int) -> float:
    began = time.perf_counter()
    batches = encode_shard(shard, [encoder], batch_size=batch_size, threads=threads)
    encoded = sum(len(batch.ids) for batch in batches if isinstance(batch, Batch))
    if encoded != len(shard.items):
        raise RuntimeError(f"encoded {encoded} of {len(shard.items)} items")
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--items", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2, help="decoding threads")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", help="encoders whose spec begins so")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'encoder':<20} {'bare is':<18} {'bare/s':>9} {'piped/s':>9} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for spec in _specs(options.data, Path(folder)):
            if options.only and not spec.startswith(options.only):
                continue
            encoder = load_encoder(spec)
            raw = _images(options.data, options.items) if encoder.kind == "image" else _texts(options.items)
            shard = _Memory(tuple(Item(str(i), data) for i, data in enumerate(raw)))
            name = spec.partition(":")[0]
            times = [
                (
                    _bare(encoder, raw, options.batch_size, name in _TRIVIAL),
                    _piped(encoder, shard, options.batch_size, options.threads),
                )
                for _ in range(options.repeats)
            ]
            bare, piped = (options.items / median(column) for column in zip(*times, strict=True))
            meaning = "decode + forward" if name in _TRIVIAL else "forward"
            print(f"{name:<20} {meaning:<18} {bare:9.1f} {piped:9.1f} {piped / bare:6.2f}", flush=True)


if __name__ == "__main__":
    main()
