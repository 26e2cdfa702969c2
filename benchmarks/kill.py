"""Whether an audit killed by kill -9 at random instants gives, once run again, the result of one that was not."""

import argparse
import io
import json
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

_RUN_FIELDS = ("run", "timing", "created")


@dataclass(frozen=True, slots=True)
class Row:
    """One instant: what was there when the process died, and whether the second run made it good."""

    instant_s: float
    killed: bool  # False: it had ended before
    finished: int  # shards at that moment
    reused: int  # shards the second run did not read again
    same_result: bool
    same_items: bool


def _image(rng: np.random.Generator, side: int, is_synthetic: bool) -> bytes:
    coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    kind = Image.Resampling.BICUBIC if is_synthetic else Image.Resampling.BILINEAR
    pixels = np.asarray(Image.fromarray(coarse).resize((side, side), kind), dtype=np.float64)
    noisy = np.clip(pixels + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "PNG")
    return buffer.getvalue()


def _write_tar(path: Path, images: list[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for number, data in enumerate(images):
            info = tarfile.TarInfo(f"{number:05d}.png")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def _prepare(folder: Path, shards: int, items: int, side: int, rng: np.random.Generator) -> None:
    for name, is_synthetic in (("real", False), ("synthetic", True)):
        _write_tar(folder / f"{name}.tar", [_image(rng, side, is_synthetic) for _ in range(150)])
    for number in range(shards):
        images = [_image(rng, side, i % 4 == 0) for i in range(items)]
        _write_tar(folder / "incoming" / f"{number:05d}.tar", images)
    _madaudit(
        "reference", "build", "r", "--real", folder / "real.tar", "--synthetic", f"g={folder / 'synthetic.tar'}",
        "--encoder", "forensic", "--semantic-encoder", "pixels:8", "--home", folder / "home",
    ).wait()  # fmt: skip


def _madaudit(*arguments: object) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", "from service.cli import main; main()", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _audit(folder: Path, out: Path, workers: int) -> "subprocess.Popen[bytes]":
    return _madaudit(
        "audit", folder / "incoming", "--reference", "r", "--home", folder / "home", "--out", out, "--workers", workers,
        "--fail-on", "never", "--quiet",
    )  # fmt: skip


def _result(out: Path) -> dict[str, object]:
    result = json.loads((out / "result.json").read_bytes())
    return {key: value for key, value in result.items() if key not in _RUN_FIELDS}


def _items(out: Path) -> list[bytes]:
    return [path.read_bytes() for path in [*sorted((out / "items").iterdir()), out / "skipped.parquet"]]


def _struck(folder: Path, whole: Path, out: Path, instant_s: float, workers: int) -> Row:
    process = _audit(folder, out, workers)
    time.sleep(instant_s)
    process.kill()
    killed = process.wait() == -signal.SIGKILL
    finished = len(list(out.glob("state/*/mark.json")))
    if _audit(folder, out, workers).wait() != 0:
        raise RuntimeError("the second run failed")
    reused = json.loads((out / "result.json").read_bytes())["run"]["reused_shards"]
    same_result = _result(out) == _result(whole)
    return Row(instant_s, killed, finished, reused, same_result, _items(out) == _items(whole))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instants", type=int, default=10)
    parser.add_argument("--shards", type=int, default=12)
    parser.add_argument("--items", type=int, default=40, help="in a shard")
    parser.add_argument("--side", type=int, default=128, help="of an image, in pixels")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder, options.shards, options.items, options.side, np.random.default_rng(options.seed))
        began = time.perf_counter()
        if _audit(folder, folder / "whole", options.workers).wait() != 0:
            raise RuntimeError("the uninterrupted run failed")
        whole_s = time.perf_counter() - began
        print(f"uninterrupted: {options.shards} shards in {whole_s:.1f} s")
        print(f"{'killed after':>12} {'finished':>9} {'reused':>7} {'result':>10} {'items':>10}")
        rows = []
        for number in range(options.instants):
            instant_s = chance.uniform(0.2 * whole_s, whole_s)
            row = _struck(folder, folder / "whole", folder / f"out{number}", instant_s, options.workers)
            rows.append(row)
            after = f"{row.instant_s:.2f} s" if row.killed else "ended"
            verdicts = ["identical" if same else "DIFFERENT" for same in (row.same_result, row.same_items)]
            print(f"{after:>12} {row.finished:>9} {row.reused:>7} {verdicts[0]:>10} {verdicts[1]:>10}", flush=True)
    good = sum(row.same_result and row.same_items for row in rows)
    print(f"{good} of {len(rows)} identical, {sum(row.killed for row in rows)} killed at work")
    sys.exit(int(good < len(rows)))


if __name__ == "__main__":
    main()
