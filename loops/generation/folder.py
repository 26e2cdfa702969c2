"""Store the results of each finished generation on disk, so that an interrupted loop can continue."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from indexes.errors import ArtifactError, InputError
from indexes.store import write_atomic
from loops.generation.measure import over_chains
from loops.generation.record import Generation
from loops.generation.training_set import Batch
from loops.samples import Samples

__all__ = [
    "LoopFolder",
    "generation_rows",
    "make_folder",
    "read_generations",
    "read_loop",
    "write_columns",
    "write_table",
]


@dataclass(frozen=True, slots=True)
class LoopFolder:
    """The folder of a loop: `loop.json` identifies the loop; `generations/NNNN.json` marks a finished generation."""

    path: Path

    def claim(self, identity: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Reserve the folder for this loop; raises InputError if it holds another loop or other files."""
        mark = self.path / "loop.json"
        if mark.exists():
            found, expected = _read_json(mark), json.loads(json.dumps(identity))
            if all(found.get(key) == expected[key] for key in expected if key != "real"):  # floats may be rounded
                return
            if not overwrite:
                changed = sorted(key for key in {*found, *expected} if found.get(key) != expected.get(key))
                raise InputError(
                    f"{self.path} holds another loop (it differs in {', '.join(changed)}): choose another --out, or "
                    "discard the old loop (use loop run --overwrite, or delete the folder)"
                )
            self._clear()
        elif self.path.is_dir() and any(not file.name.startswith(_UNFINISHED) for file in self.path.iterdir()):
            raise InputError(f"{self.path} holds files that are not part of a loop: choose another --out")
        make_folder(self.path)
        write_atomic(mark, json.dumps(identity, indent=1).encode())

    def finished(self) -> list[Generation]:
        """All stored generations from generation 1 on, without training sets and models."""
        found: list[Generation] = []
        while (mark := self._file(len(found) + 1, "json")).exists():
            arrays = _load_arrays(self._file(len(found) + 1, "npz"))
            try:
                found.append(_load_generation(_read_json(mark), arrays))
            except (KeyError, TypeError, AttributeError, InputError) as error:
                raise _damaged(mark, error) from None
        return found

    def batches(self, done: int, *, needed_from: int) -> list[Batch]:
        """Stored batches of synthetic items that generation `needed_from` or a later one trains on."""
        found = []
        for origin in range(1, done + 1):
            file = self._file(origin, "batches.npz")
            for batch in _load_batches(origin, _load_arrays(file)) if file.exists() else ():
                if batch.use is None or batch.use >= needed_from:
                    found.append(batch)
        return found

    def save(self, record: Generation, batches: list[Batch]) -> None:
        """Store a finished generation and its batches for later generations; delete batches no longer needed."""
        (self.path / "generations").mkdir(exist_ok=True)
        write_atomic(self._file(record.generation, "batches.npz"), _pack(_batch_arrays(batches)))
        write_atomic(self._file(record.generation, "npz"), _pack(_record_arrays(record)))
        write_atomic(self._file(record.generation, "json"), json.dumps(record.as_json(), indent=1).encode())
        for origin in range(1, record.generation):
            file = self._file(origin, "batches.npz")
            if file.exists() and not self._is_needed(file, record.generation + 1):
                file.unlink()

    def _is_needed(self, file: Path, generation: int) -> bool:
        uses = _load_arrays(file, "uses")["uses"]
        return bool(((uses == _EVERY) | (uses >= generation)).any())

    def _file(self, generation: int, suffix: str) -> Path:
        return self.path / "generations" / f"{generation:04d}.{suffix}"

    def _clear(self) -> None:
        """Delete all files of the loop except `loop.json`, so that deletion can be repeated after an interruption."""
        derived = [self.path / name for name in ("result.json", "generations.parquet", "chains.parquet")]
        kept = self.path / "generations"
        for file in [*derived, *kept.glob("[0-9]*.json"), *kept.glob("[0-9]*.npz")]:
            file.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Create a folder to write into; raises InputError if the folder cannot be created."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot create the folder {path} ({error.strerror}): choose another --out") from None


def read_loop(path: Path) -> dict[str, Any]:
    """The content of `loop.json`: configuration and measures of real samples; InputError if the file is missing."""
    mark = path / "loop.json"
    if not mark.exists():
        raise InputError(f"{path} holds no loop: expected loop.json, which madaudit loop run --out writes")
    return _read_json(mark)


def read_generations(path: Path) -> list[Generation]:
    """Read the finished generations of the loop that is stored in a folder."""
    return LoopFolder(path).finished()


def generation_rows(config: Mapping[str, Any], generations: list[Generation]) -> list[dict[str, Any]]:
    """One table row per generation: configuration, item counts, and every measure with its interval and n."""
    settings = json.dumps(config.get("settings", {}), sort_keys=True)
    constants = {**{k: v for k, v in config.items() if k != "settings"}, "settings": settings}
    rows = []
    for record in generations:
        row = {**constants, "generation": record.generation, "n_real": record.n_real, "n_synthetic": record.n_synthetic}
        row |= {f"config_{key}": constants[key] for key in ("n_real", "n_synthetic") if key in constants}
        for name, measure in record.measures.items():
            row |= {
                name: measure.estimate,
                f"{name}_low": measure.low,
                f"{name}_high": measure.high,
                f"{name}_n": measure.n,
            }
        rows.append(row)
    return rows


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as a Parquet file with every column that any row has; equal rows give identical files."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    write_columns(path, {name: [row.get(name) for row in rows] for name in names})


def write_columns(path: Path, columns: Mapping[str, Any]) -> None:
    """Write columns of equal length to a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), buffer)
    write_atomic(path, buffer.getvalue())


_UNFINISHED = ".loop.json."  # prefix of the temporary file that a kill can leave behind
_EVERY = -1  # marks a batch that every later generation uses


def _batch_arrays(batches: list[Batch]) -> dict[str, np.ndarray]:
    arrays = {"uses": np.array([_EVERY if batch.use is None else batch.use for batch in batches], dtype=np.int64)}
    for i, batch in enumerate(batches):
        arrays[f"values{i}"] = batch.samples.values
        if batch.samples.labels is not None:
            arrays[f"labels{i}"] = batch.samples.labels
    return arrays


def _load_batches(origin: int, arrays: Mapping[str, np.ndarray]) -> list[Batch]:
    return [
        Batch(origin, None if use == _EVERY else int(use), Samples(arrays[f"values{i}"], arrays.get(f"labels{i}")))
        for i, use in enumerate(arrays["uses"])
    ]


def _record_arrays(record: Generation) -> dict[str, np.ndarray]:
    arrays = {f"chains_{name}": values for name, values in record.chains.items()}
    arrays["sheet"] = record.sheet.values
    if record.sheet.labels is not None:
        arrays["sheet_labels"] = record.sheet.labels
    if record.training is not None:
        arrays["origins"] = record.training.origins.astype(np.int16)
    return arrays


def _load_generation(fields: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Generation:
    chains = {name.removeprefix("chains_"): values for name, values in arrays.items() if name.startswith("chains_")}
    shares = fields["mode_shares"]
    return Generation(
        generation=fields["generation"],
        n_real=fields["n_real"],
        n_synthetic=fields["n_synthetic"],
        measures={name: over_chains(values) for name, values in chains.items()},  # JSON does not separate ∞ from nan
        chains=chains,
        origins={int(origin): count for origin, count in fields["origins"].items()},
        real_digest=fields["real_digest"],
        sheet=Samples(arrays["sheet"], arrays.get("sheet_labels")),
        mode_shares=None if shares is None else np.array(shares),
        texts=fields["texts"],
    )


def _pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _load_arrays(file: Path, *names: str) -> dict[str, np.ndarray]:
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            return {name: stored[name] for name in names or stored.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(file, error) from None


def _read_json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise _damaged(file, error) from None
    if not isinstance(found, dict):
        raise _damaged(file, "no JSON object")
    return found


def _damaged(file: Path, problem: object) -> ArtifactError:
    folder = file.parent.parent if file.parent.name == "generations" else file.parent
    return ArtifactError(f"{file} cannot be read ({problem}): delete the folder {folder}, then run again")
