"""Peak memory and time of text audits in which one item is very long, each in a process of its own."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_MIB = 2**20
_TEXTS = 200  # ordinary texts in every set
_WORDS = 5000
_EMOJI = "\N{GRINNING FACE}"


@dataclass(frozen=True, slots=True)
class Row:
    """One audit."""

    name: str
    peak_mib: float
    seconds: float
    items: int
    skipped: dict[str, int]


def _vocabulary(rng: np.random.Generator) -> np.ndarray:
    return np.array(["".join(chr(97 + c) for c in rng.integers(0, 26, rng.integers(2, 9))) for _ in range(_WORDS)])


def _sentences(rng: np.random.Generator, *, is_synthetic: bool) -> Iterator[str]:
    """Pieces of text; synthetic ones use the frequent half of the words."""
    words = _vocabulary(np.random.default_rng(0))[: _WORDS // 2 if is_synthetic else _WORDS]
    while True:
        yield " ".join(rng.choice(words, 60)) + ". "


def _letters(rng: np.random.Generator) -> Iterator[str]:
    while True:
        yield "".join(map(chr, rng.integers(97, 123, 10_000)))


def _chinese(rng: np.random.Generator) -> Iterator[str]:
    while True:
        yield "".join(map(chr, rng.integers(0x4E00, 0x9FA5, 10_000)))


_LONG: dict[str, Callable[[np.random.Generator], Iterable[str]]] = {
    "words": lambda rng: _sentences(rng, is_synthetic=False),
    "words and one emoji": lambda rng: chain([_EMOJI], _sentences(rng, is_synthetic=False)),
    "one word": _letters,
    "one letter, repeated": lambda rng: repeat("a" * 10_000),
    "one word and one rare letter": lambda rng: chain(["\N{DESERET CAPITAL LETTER LONG I}"], _letters(rng)),
    "spaces and one letter": lambda rng: chain(["a"], repeat(" " * 10_000)),
    "emoji": lambda rng: repeat(_EMOJI * 10_000),
    "Chinese": _chinese,
}


def _write(path: Path, pieces: Iterable[str], size: int) -> None:
    """The first pieces, up to `size` bytes of UTF-8; never more than one piece is in memory."""
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece.encode())
            if file.tell() >= size:
                return


def _write_ordinary(folder: Path, seed: int, *, is_synthetic: bool = False) -> Path:
    folder.mkdir(parents=True)
    texts = _sentences(np.random.default_rng(seed), is_synthetic=is_synthetic)
    for number in range(_TEXTS):
        (folder / f"{number:03d}.txt").write_text("".join(islice(texts, 3)))
    return folder


def _as_json_lines(folder: Path) -> Path:
    """The texts as they are, since none holds a character that JSON escapes.

    Bytes only: the peak of a process counts for the processes that it starts.
    """
    path = folder.with_suffix(".jsonl")
    with path.open("wb") as file:
        for text in sorted(folder.iterdir()):
            file.writelines((b'{"text": "', text.read_bytes(), b'"}\n'))
    return path


def _as_parquet(folder: Path) -> Path:
    path = folder.with_suffix(".parquet")
    texts = pa.array([text.read_bytes() for text in sorted(folder.iterdir())], pa.string())
    pq.write_table(pa.table({"text": texts}), path)
    return path


def _measured(name: str, source: Path, place: Path) -> Row:
    out = place / f"out-{name}"
    began = time.perf_counter()
    process = _madaudit(place, "audit", source, "--reference", "r", "--out", out, "--fail-on", "never")
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the audit of {name} ended with exit code {process.returncode}, expected 0")
    result = json.loads((out / "result.json").read_bytes())
    return Row(name, usage.ru_maxrss / 1024, seconds, result["n_items"], result["skipped"])


def _madaudit(place: Path, *arguments: object) -> subprocess.Popen[bytes]:
    options = ("--home", place / "home", "--quiet")
    command = [sys.executable, "-c", "from service.cli import main; main()", *map(str, (*arguments, *options))]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def _rows(place: Path, size: int, many: int, only: str | None) -> Iterator[Row]:
    real = _write_ordinary(place / "real", 1)
    made = _write_ordinary(place / "made", 2, is_synthetic=True)
    build = ("reference", "build", "r", "--real", real, "--synthetic", f"made={made}", "--encoder", "lexical")
    if _madaudit(place, *build).wait():
        sys.exit("the reference was not built")
    for name, source in _sets(place, size, many):
        if only is None or only in name:
            yield _measured(name, source(), place)


def _sets(place: Path, size: int, many: int) -> Iterator[tuple[str, Callable[[], Path]]]:
    """Names of the sets and what writes them."""
    folder = _write_ordinary(place / "incoming", 3)
    long = folder / "long.txt"

    def with_long(kind: str, share: float = 1.0) -> Path:
        _write(long, _LONG[kind](np.random.default_rng(4)), int(share * size))
        return folder

    def with_many() -> Path:
        long.unlink(missing_ok=True)
        for number in range(many):
            _write(folder / f"long-{number}.txt", _LONG["words"](np.random.default_rng(number)), size // 16)
        return folder

    yield f"{_TEXTS} ordinary texts alone", lambda: folder
    for kind in _LONG:
        yield kind, partial(with_long, kind)
    mixed = "words and one emoji"
    yield f"{mixed}, JSON lines", lambda: _as_json_lines(with_long(mixed, 0.95))  # a longer line is skipped unread
    yield f"{mixed}, Parquet", lambda: _as_parquet(with_long(mixed))
    yield f"{many} texts of {size // 16 / _MIB:g} MiB", with_many


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=64, help="size of the long text in MiB of UTF-8")
    parser.add_argument("--many", type=int, default=16, help="texts of a sixteenth of that size in the last row")
    parser.add_argument("--only", help="sets whose name holds this")
    options = parser.parse_args()
    print(f"One text of {options.megabytes} MiB among {_TEXTS} ordinary ones, encoder `lexical`, {_processor()}.\n")
    print("| the long text | peak MiB | seconds | items | skipped |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for row in _rows(Path(folder), options.megabytes * _MIB, options.many, options.only):
            skipped = ", ".join(f"{count} × {reason}" for reason, count in row.skipped.items()) or "none"
            print(f"| {row.name} | {row.peak_mib:.0f} | {row.seconds:.0f} | {row.items} | {skipped} |", flush=True)


if __name__ == "__main__":
    main()
