"""The recorded results of one generation of a loop."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from auditor.records import record_document
from auditor.statistics.intervals import Measure
from loops.generation.chains import Chains
from loops.generation.training_set import TrainingSet
from loops.samples import Samples

__all__ = ["Generation"]


@dataclass(frozen=True, slots=True)
class Generation:
    """Results of one generation: the training data, measures and samples."""

    generation: int
    n_real: int
    n_synthetic: int
    measures: dict[str, Measure]  # means over chains
    chains: dict[str, np.ndarray]  # (chains,) values of each measure, nan for a chain that was not measured
    origins: dict[int, float]  # items by origin: 0 real, −1 contaminant, g sampled by generation g
    real_digest: str  # of the real part before any subsampling
    sheet: Samples  # a few samples of the first chain
    mode_shares: np.ndarray | None  # (modes,) mean over measured chains
    texts: list[str] | None = None  # the samples of the sheet, if they are texts
    training: TrainingSet | None = None  # None if the generation was read back from disk
    models: Chains | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields as a dictionary for `loop run --json`; undetermined numbers are null."""
        return {
            "generation": self.generation,
            "n_real": self.n_real,
            "n_synthetic": self.n_synthetic,
            **{name: record_document(measure) for name, measure in self.measures.items()},
            "origins": {str(origin): count for origin, count in self.origins.items()},
            "real_digest": self.real_digest,
            "mode_shares": None if self.mode_shares is None else [float(share) for share in self.mode_shares],
            "texts": self.texts,
        }
