"""Diversity measures on photographs, digits and essays: coverage of the intervals, planted near copies, real cases.

    python benchmarks/diversity_real.py coverage --draws 100 --workers 2
    python benchmarks/diversity_real.py copies
    python benchmarks/diversity_real.py cases

Photographs are seen through MobileNet v2 (its 1280-column embedding), digits of scikit-learn as their pixels, essays
through the encoder named by --text-encoder. `coverage` draws the reference and the set anew from one pool; its truth is
0 for a second real sample, and the mean estimate over the draws otherwise. `copies` changes photographs and counts how
many are recognised as near copies. `cases` compares generated sets with real ones.
"""

import argparse
import io
import json
import os
import zipfile
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from gzip import open as gzip_open

import numpy as np
import onnxruntime
from data import data_folder
from diversity import Row, audited, reference_of
from PIL import Image
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from auditor.measures.copies import clusters_of, copy_groups_beside, copy_scale, nearest_two, share_of_copies
from auditor.measures.kinds import diversity_loss, kinds, spread
from auditor.statistics.frame import frame_of
from auditor.statistics.intervals import Measure
from indexes.encoders import load_encoder

_CIFAKE, _SCENES, _MODEL = "images/cifake.zip", "images/scenes_256.zip", "models/mobilenet_v2_224.onnx"
_ESSAYS = "text/essays.jsonl.gz"
_BATCH, _SIDE = 32, 224


def images(archive: str, folder: str, most: int | None = None) -> list[Image.Image]:
    """The images whose path in the archive holds this folder, in order of their names."""
    with zipfile.ZipFile(data_folder(archive) / archive) as opened:
        names = sorted(name for name in opened.namelist() if f"{folder}/" in name and not name.endswith("/"))
        return [Image.open(io.BytesIO(opened.read(name))).convert("RGB") for name in names[:most]]


@cache
def _network() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(data_folder(_MODEL) / _MODEL))


def embedded(pictures: list[Image.Image]) -> np.ndarray:
    """MobileNet's vectors (n, 1280) of the images."""
    session = _network()
    vectors = []
    for start in range(0, len(pictures), _BATCH):
        block = [p.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC) for p in pictures[start : start + _BATCH]]
        pixels = np.stack([np.asarray(p, dtype=np.float32) for p in block]).transpose(0, 3, 1, 2)
        vectors.append(session.run(["embedding"], {session.get_inputs()[0].name: (pixels - 127.5) / 127.5})[0])
    return np.concatenate(vectors).reshape(len(pictures), -1)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, 64) and the digit (n,) of each image."""
    pixels, labels = load_digits(return_X_y=True)
    return pixels.astype(np.float32), labels


def one(number: int, *, pool: np.ndarray, classes: np.ndarray | None, n: int, n_real: int, kept: int) -> Row:
    """One draw: a reference, and a set of the first `kept` classes, without common items."""
    with threadpool_limits(1):
        rng = np.random.default_rng([number, n, n_real, kept])
        order = rng.permutation(len(pool))
        rest = order[n_real:]
        if classes is not None:
            rest = rest[classes[rest] < kept]
        real = reference_of(pool[order[:n_real]], rng)
        found = audited(pool[rest[:n]], real, rng)
        return {name: (m.estimate, m.low, m.high) for name, m in found.items()}


def coverage(options: argparse.Namespace) -> None:
    """Print a row for each pool, size and number of classes kept."""
    pixels, labels = digits()
    photographs = embedded(images(_CIFAKE, "real"))
    cells = [("photographs", photographs, None, n, 10) for n in (200, 1000)]
    cells += [("digits", pixels, labels, 200, kept) for kept in (10, 9, 7, 5, 3)]
    print(
        "| data | set | real | classes | kinds | covers | spread | covers | loss | covers | loss reaches .10 |", end=""
    )
    print(" other measures: covers less than .90 | any region named |\n|" + "---|" * 13)
    with ProcessPoolExecutor(options.workers) as workers:
        for name, pool, classes, n, kept in cells:
            n_real = min(2 * n, len(pool) // 2)
            task = partial(one, pool=pool, classes=classes, n=n, n_real=n_real, kept=kept)
            rows = list(workers.map(task, range(options.draws)))
            columns = {key: np.array([row[key] for row in rows], dtype=float) for key in rows[0]}
            line = [name, str(n), str(n_real), str(kept)]
            for key in ("kinds", "spread", "loss"):
                line += [
                    f"{np.nanmean(columns[key][:, 0]):.3f}",
                    f"{_covers(columns[key], 0.0 if kept == 10 else None):.3f}",
                ]
            line.append(f"{np.mean(columns['loss'][:, 2] >= 0.1):.2f}")
            others = set(columns) - {"kinds", "spread", "loss", "missing", "regions", "near_duplicates"}
            low = {key: _covers(columns[key], None) for key in sorted(others)}
            line.append(", ".join(f"{key} {share:.3f}" for key, share in low.items() if share < 0.9) or "none")
            line.append(f"{np.mean(columns['regions'][:, 0] > 0):.3f}")
            print("| " + " | ".join(line) + " |", flush=True)


def _covers(values: np.ndarray, truth: float | None) -> float:
    known = values[np.isfinite(values[:, 0])]
    target = known[:, 0].mean() if truth is None else truth
    return float(np.mean((known[:, 1] <= target) & (target <= known[:, 2])))


def _jpeg(picture: Image.Image, quality: int) -> Image.Image:
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=quality)
    return Image.open(stored).convert("RGB")


def _noisy(picture: Image.Image) -> Image.Image:
    rows = np.asarray(picture, dtype=np.float64)
    rows = rows + np.random.default_rng(0).normal(0, 4, rows.shape)
    return Image.fromarray(np.clip(rows, 0, 255).astype(np.uint8))


def _cropped(picture: Image.Image) -> Image.Image:
    return picture.crop((2, 2, picture.width - 2, picture.height - 2))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG quality 75": partial(_jpeg, quality=75),
    "JPEG quality 50": partial(_jpeg, quality=50),
    "2 pixels cropped from each side": _cropped,
    "noise of 4 grey levels": _noisy,
    "cropped, JPEG quality 75": lambda picture: _jpeg(_cropped(picture), 75),
}


def copies(options: argparse.Namespace) -> None:
    """Print which share of planted near copies is found: copies of real items, and copies within the set."""
    print("| photographs | change | planted copies of the reference → found | planted within the set → found |")
    print("|" + "---|" * 4)
    for name, pictures in (("256 px", images(_SCENES, "real_flickr8k") + images(_SCENES, "real_coco2017train")),
                           ("32 px", images(_CIFAKE, "real", 900))):  # fmt: skip
        order = np.random.default_rng(0).permutation(len(pictures))
        pictures = [pictures[k] for k in order]
        half = len(pictures) // 2
        vectors = embedded(pictures)
        frame = frame_of(vectors[:half])
        real, others = (frame.place(rows).astype(np.float32) for rows in (vectors[:half], vectors[half:]))
        scale = copy_scale(real)
        for what, change in CHANGES.items():
            changed = frame.place(embedded([change(picture) for picture in pictures])).astype(np.float32)
            of_real, within = [], []
            for share in (0.0, 0.02, 0.1, 0.5):
                k = round(share * len(others))
                rows = np.concatenate([changed[:k], others[k:]])
                of_real.append(
                    f"{k / len(rows):.3f} → {share_of_copies(nearest_two(rows, real), scale, level=0.95).estimate:.3f}"
                )
                rows = np.concatenate([others, changed[half : half + k]])
                repeats, _ = clusters_of(
                    copy_groups_beside(rows, nearest_two(rows, real), scale), list(map(str, range(len(rows))))
                )
                within.append(f"{k / len(rows):.3f} → {repeats / len(rows):.3f}")
            print(f"| {name} | {what} | {', '.join(of_real)} | {', '.join(within)} |", flush=True)


def essays(encoder: str) -> dict[str, np.ndarray]:
    """The vectors of the essays by each author, `human` or a generator, pair by pair in the same order."""
    loaded = load_encoder(encoder)
    with gzip_open(data_folder(_ESSAYS) / _ESSAYS, "rt") as file:
        lines = [json.loads(line) for line in file]
    texts: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        texts[line["generator"]].append(line["text"])
    return {
        author: np.concatenate(
            [loaded([loaded.prepare(t) for t in of[k : k + _BATCH]]) for k in range(0, len(of), _BATCH)]
        )
        for author, of in texts.items()
    }


def cases(options: argparse.Namespace) -> None:
    """Print kinds, spread and loss of generated sets and of other real sets."""
    print("| set against reference | kinds | spread | loss |\n|---|---|---|---|")
    rng = np.random.default_rng(0)
    photographs, fakes = (rng.permutation(embedded(images(_CIFAKE, folder))) for folder in ("real", "fake"))
    scenes = embedded(images(_SCENES, "real_flickr8k") + images(_SCENES, "real_coco2017train"))
    reference, others = photographs[:1600], photographs[1600:]
    _case("800 CIFAR photographs against 1,600 others", reference, others[:800])
    _case("800 Stable Diffusion 1.4 images (CIFAKE) against 1,600 CIFAR photographs", reference, fakes[:800])
    for folder, name in (
        ("fake_sdxl", "SDXL"),
        ("fake_stablecascade", "Stable Cascade"),
        ("fake_sd15", "Stable Diffusion 1.5"),
    ):
        made = embedded(images(_SCENES, folder))
        _case(f"{len(made)} {name} images against {len(scenes)} photographs", scenes, made)
    _case(f"{len(scenes)} photographs of scenes against 1,600 CIFAR photographs", reference, scenes)
    _case("5 photographs in 20 copies each against 1,600 others", reference, np.repeat(others[:5], 20, axis=0))
    written = essays(options.text_encoder)
    human = rng.permutation(written.pop("human"))
    _case("170 human essays against 330 others", human[:330], human[330:])
    for author, vectors in written.items():
        _case(f"170 essays by {author} against 330 human essays", human[:330], rng.permutation(vectors)[:170])


def _case(name: str, real: np.ndarray, candidate: np.ndarray) -> None:
    found = [measure(real, candidate, level=0.95) for measure in (kinds, spread, diversity_loss)]
    print(f"| {name} | " + " | ".join(map(_cell, found)) + " |", flush=True)


def _cell(measure: Measure) -> str:
    if not np.isfinite(measure.estimate):
        return f"– ({measure.reason})"
    return f"{measure.estimate:.2f} [{measure.low:.2f}, {measure.high:.2f}]"


def main() -> None:
    """Run what was asked for."""
    commands = {"coverage": coverage, "copies": copies, "cases": cases}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=sorted(commands))
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--text-encoder", default="lexical", help="of the essays in `cases`")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    commands[options.what](options)


if __name__ == "__main__":
    main()
