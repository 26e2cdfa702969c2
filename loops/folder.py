"""A loop on disk: what each finished generation left, so that a killed loop goes on where it was."""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from auditor.intervals import Measure
from indexes.errors import ArtifactError, InputError
from indexes.store import write_atomic
from loops.generation import Generation
from loops.records import Samples
from loops.training_set import Batch

__all__ = ["LoopFolder", "generation_rows", "read_generations", "read_loop", "write_table"]


@dataclass(frozen=True, slots=True)
class LoopFolder:
    """`loop.json` says which loop it is; `generations/NNNN.json`, written last, marks a finished generation."""

    path: Path

    def claim(self, identity: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Make the folder this loop's; raises InputError if it holds another loop's generations."""
        mark = self.path / "loop.json"
        if mark.exists():
            found = _read_json(mark)
            if found == identity:
                return
            if not overwrite:
                changed = sorted(key for key in {*found, *identity} if found.get(key) != identity.get(key))
                raise InputError(
                    f"{self.path} holds another loop (it differs in {', '.join(changed)}): choose another --out, or "
                    "--overwrite to discard it"
                )
            self._clear()
        elif self.path.exists() and any(self.path.iterdir()):
            raise InputError(f"{self.path} holds other files: choose another --out")
        (self.path / "generations").mkdir(parents=True, exist_ok=True)
        write_atomic(mark, json.dumps(identity, indent=1).encode())

    def finished(self) -> list[Generation]:
        """The finished generations from the first on, without their models."""
        found: list[Generation] = []
        while (mark := self._file(len(found) + 1, "json")).exists():
            found.append(_load_generation(_read_json(mark), _load_arrays(self._file(len(found) + 1, "npz"))))
        return found

    def batches(self, done: int, *, needed_from: int) -> list[Batch]:
        """What the finished generations sampled for generation `needed_from` and later ones."""
        found = []
        for origin in range(1, done + 1):
            file = self._file(origin, "batches.npz")
            for batch in _load_batches(origin, _load_arrays(file)) if file.exists() else ():
                if batch.use is None or batch.use >= needed_from:
                    found.append(batch)
        return found

    def save(self, record: Generation, batches: list[Batch]) -> None:
        """Keep a finished generation and what its model sampled for later ones; drop batches nobody needs any more."""
        write_atomic(self._file(record.generation, "batches.npz"), _pack(_batch_arrays(batches)))
        write_atomic(self._file(record.generation, "npz"), _pack(_record_arrays(record)))
        write_atomic(self._file(record.generation, "json"), json.dumps(record.as_json(), indent=1).encode())
        for origin in range(1, record.generation):
            file = self._file(origin, "batches.npz")
            if file.exists() and not self._is_needed(file, record.generation + 1):
                file.unlink()

    def _is_needed(self, file: Path, generation: int) -> bool:
        with np.load(file, allow_pickle=False) as stored:
            uses = stored["uses"]
        return bool(((uses == _EVERY) | (uses >= generation)).any())

    def _file(self, generation: int, suffix: str) -> Path:
        return self.path / "generations" / f"{generation:04d}.{suffix}"

    def _clear(self) -> None:
        (self.path / "loop.json").unlink()
        for file in [*(self.path / "generations").glob("[0-9]*.json"), *(self.path / "generations").glob("[0-9]*.npz")]:
            file.unlink()


def read_loop(path: Path) -> dict[str, Any]:
    """What `loop.json` holds: the configuration and the measures of real samples; InputError if there is none."""
    mark = path / "loop.json"
    if not mark.exists():
        raise InputError(f"{path} holds no loop: expected loop.json, which madaudit loop run --out writes")
    return _read_json(mark)


def read_generations(path: Path) -> list[Generation]:
    """The finished generations of the loop in a folder."""
    return LoopFolder(path).finished()


def generation_rows(config: Mapping[str, Any], generations: list[Generation]) -> list[dict[str, Any]]:
    """One row a generation: the configuration, the counts, and every measure with its interval and its n."""
    settings = json.dumps(config.get("settings", {}), sort_keys=True)
    constants = {**{k: v for k, v in config.items() if k != "settings"}, "settings": settings}
    rows = []
    for record in generations:
        row = {**constants, "generation": record.generation, "n_real": record.n_real, "n_synthetic": record.n_synthetic}
        row |= {f"config_{key}": constants[key] for key in ("n_real", "n_synthetic") if key in constants}
        for name, measure in record.measures.items():
            row |= {
                name: measure.value,
                f"{name}_low": measure.low,
                f"{name}_high": measure.high,
                f"{name}_n": measure.n,
            }
        rows.append(row)
    return rows


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows as Parquet, with every column that any of them has; the same rows give the same bytes."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = pa.table({name: [row.get(name) for row in rows] for name in columns})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    write_atomic(path, buffer.getvalue())


_EVERY = -1  # stands for a batch that every later generation uses


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
    fixed = ("generation", "n_real", "n_synthetic", "origins", "real_digest", "mode_shares", "texts")
    shares = fields["mode_shares"]
    return Generation(
        generation=fields["generation"],
        n_real=fields["n_real"],
        n_synthetic=fields["n_synthetic"],
        measures={name: _measure(value) for name, value in fields.items() if name not in fixed},
        chains={name.removeprefix("chains_"): values for name, values in arrays.items() if name.startswith("chains_")},
        origins={int(origin): count for origin, count in fields["origins"].items()},
        real_digest=fields["real_digest"],
        sheet=Samples(arrays["sheet"], arrays.get("sheet_labels")),
        mode_shares=None if shares is None else np.array(shares),
        texts=fields["texts"],
    )


def _measure(fields: Mapping[str, Any]) -> Measure:
    value, low, high = (math.nan if fields[key] is None else fields[key] for key in ("estimate", "low", "high"))
    return Measure(value, low, high, fields["n"])


def _pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _load_arrays(file: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactError(
            f"{file} cannot be read ({error}): delete it and all later generations, then run again"
        ) from None


def _read_json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{file} cannot be read ({error}): delete it, then run again") from None
    if not isinstance(found, dict):
        raise ArtifactError(f"{file} holds no JSON object: delete it, then run again")
    return found
