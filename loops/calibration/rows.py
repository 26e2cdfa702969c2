"""Read finished loops as calibration rows: the facts known before each loop, and the measured outcome of the loop."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from auditor.answers import SampleStatistics
from auditor.plan import Plan
from auditor.records import read_record
from auditor.risk.inputs import AuditFigures, ForecastInputs
from indexes.errors import InputError
from loops.calibration.observe import OBSERVED
from loops.generation.folder import read_generations, read_loop
from loops.models.catalogue import plain_name

__all__ = ["MEASURED", "CalibrationRow", "Exact", "outputs_of", "read_row", "read_rows"]

MEASURED = ("frechet", "recall", "precision", "mean_error", "variance")  # per generation; the last two only if exact
_LOST = -3.0  # lower limit of the log ratio of recall; hardly any recall is left there
_DIVERGED = 6.0  # limit of the log (natural) of a distance over its floor; a model there has left the data


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """One finished loop: the inputs for a forecast of the loop, and the measured outputs of the loop."""

    key: str
    family: str
    data: str
    known: ForecastInputs
    outputs: np.ndarray  # (4, T): log level, log ratio, log diversity ratio, precision


def read_rows(folders: Sequence[Path]) -> list[CalibrationRow]:
    """All finished loops below `folders` that have an `observed.json`, sorted by key; InputError if there are none."""
    found: dict[str, CalibrationRow] = {}
    for folder in folders:
        for mark in sorted(folder.glob(f"**/{OBSERVED}")):
            row = read_row(mark.parent)
            if row is not None:
                found[row.key] = row
    if not found:
        names = ", ".join(map(str, folders))
        raise InputError(f"no finished loop with {OBSERVED} found in {names}: run a sweep with observe: true")
    return [found[key] for key in sorted(found)]


def read_row(folder: Path) -> CalibrationRow | None:
    """The finished loop in a folder as a calibration row; None if the loop is not finished."""
    stored, observed = read_loop(folder), json.loads((folder / OBSERVED).read_text(encoding="utf-8"))
    config, generations = stored["config"], read_generations(folder)
    if len(generations) < config["generations"]:
        return None
    measures = {
        name: np.array(
            [record.measures[name].estimate if name in record.measures else np.nan for record in generations]
        )
        for name in MEASURED
    }
    names = ("workflow", "generations", "n_initial", "n_synthetic", "n_real", "bias")
    model, pilot = (
        read_record(SampleStatistics, observed[name], where=f"{folder / OBSERVED}, {name},")
        for name in ("model_samples", "pilot")
    )
    return CalibrationRow(
        folder.name,
        plain_name(config["family"]),
        stored["data"]["name"],
        ForecastInputs(
            plan=Plan(**{name: config[name] for name in names}), audit=_in_its_scale(observed), model=model, pilot=pilot
        ),
        outputs_of(
            measures, floor=observed["floor"], n=observed["n_reference"],
            exact=None if "frechet" in stored["real"] else Exact(
                config["bias"], observed["width"], observed["total_variance"]
            ),
        ),
    )  # fmt: skip


def _in_its_scale(observed: Mapping[str, Any]) -> AuditFigures:
    """The audit's figures, with the floor (Fréchet distance of a real sample) as measured by the loop."""
    figures = read_record(AuditFigures, observed["audit"], where=f"the audit in {OBSERVED}")
    variance = observed["total_variance"]
    return replace(
        figures, floor=observed["floor"] / variance if variance > 0 else math.nan,
        floor_items=observed["n_reference"], width=observed["width"],
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exact:
    """Applies the sampling bias λ to exact Fréchet distances of Gaussian models, which are computed for λ = 1."""

    bias: float
    width: int
    total_variance: float  # of the real distribution

    def biased(self, measures: Mapping[str, np.ndarray]) -> np.ndarray:
        """Fréchet distance (generations,) between the real data and the Gaussian model N(μ, λΣ) with sampling bias λ.

        With real mean m and real covariance S, the Fréchet distance is |μ − m|² + λ tr Σ + tr S − 2 √λ tr (S^½ Σ
        S^½)^½. The term tr (S^½ Σ S^½)^½ is computed from the Fréchet distance at λ = 1.
        """
        gap, trace = measures["mean_error"], measures["variance"] * self.width
        twice = gap + trace + self.total_variance - measures["frechet"]
        return np.asarray(gap + self.bias * trace + self.total_variance - np.sqrt(self.bias) * twice)


def outputs_of(measures: Mapping[str, np.ndarray], *, floor: float, n: int, exact: Exact | None) -> np.ndarray:
    """The four outputs that are forecast for a loop (4, generations), computed from the loop's measures.

    If `exact` is given, exact Fréchet distances are made comparable with distances of samples: the sampling bias is
    applied, and `floor` (the distance of a real sample) is added.
    """
    frechet = measures["frechet"] if exact is None else exact.biased(measures) + floor
    level = np.clip(np.log(frechet / floor), -_DIVERGED, _DIVERGED)
    recall = measures["recall"] + 1 / n
    return np.stack([level, level - level[0], np.maximum(np.log(recall / recall[0]), _LOST), measures["precision"]])
