"""How well the detector tells the items of two labels apart, with intervals."""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats
from sklearn.metrics import roc_auc_score

from auditor.evidence.calibration import calibration_of
from auditor.evidence.detector import component_labels, fit_detector
from auditor.reference.component import Part
from auditor.statistics.intervals import Measure

__all__ = ["Separation", "auroc_interval", "separation_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """How well the detector tells the items of two labels apart."""

    real: str
    other: str
    other_is_real: bool  # two real labels should not be told apart
    auroc: Measure  # of out-of-fold scores; 0.5 if the labels cannot be told apart
    total_variation: Measure  # between the histograms of these scores; 0 if the labels cannot be told apart


def separation_of(
    first: Part, second: Part, n: int, *, other_is_real: bool, level: float = 0.95, seed: int
) -> Separation:
    """Separation of the real label `first` from the label `second`, measured on at most n random items of each.

    Raises InputError if either label has too few items for a detector.
    """
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(len(part.ids))[:n] for part in (first, second)]
    vectors = [part.vectors[0][chosen] for part, chosen in zip((first, second), rows, strict=True)]
    digests = np.concatenate([part.digests[chosen] for part, chosen in zip((first, second), rows, strict=True)])
    component = component_labels([len(part) for part in vectors])
    _, own = fit_detector(np.concatenate(vectors), component, digests, seed=seed)
    calibration = calibration_of(own, component, (first.label, second.label))
    apart, error = calibration.separation, float(calibration.separation_errors[0, 0])
    z = float(stats.norm.ppf((1 + level) / 2))
    auroc = float(roc_auc_score(component, own.scores))
    low, high = auroc_interval(auroc, len(rows[0]), len(rows[1]), level=level)
    return Separation(
        real=first.label,
        other=second.label,
        other_is_real=other_is_real,
        auroc=Measure(auroc, low=low, high=high, n=len(component)),
        total_variation=Measure(
            apart, low=max(0.0, apart - z * error), high=min(1.0, apart + z * error), n=len(component)
        ),
    )


def auroc_interval(auroc: float, n: int, m: int, *, level: float = 0.95) -> tuple[float, float]:
    """Score interval of the area under the ROC curve from n items of one class and m of the other.

    The interval contains all θ with (auroc − θ)² ≤ z²·V(θ) (Newcombe 2006, method 5), where N = (n + m)/2 and
    V(θ) = θ(1 − θ)·(1 + (N − 1)·((1 − θ)/(2 − θ) + θ/(1 + θ)))/(n·m). Unlike auroc ± z·standard error, this interval
    has a positive width if auroc is 0 or 1.
    """
    z, mean = float(stats.norm.ppf((1 + level) / 2)), (n + m) / 2

    def beyond(theta: float, observed: float) -> float:
        spread = 1 + (mean - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return observed - theta - z * float(np.sqrt(theta * (1 - theta) * spread / (n * m)))

    def low(observed: float) -> float:
        if observed <= 0:
            return 0.0
        return float(optimize.brentq(beyond, 0.0, observed * (1 - 1e-12), args=(observed,)))

    return low(auroc), 1 - low(1 - auroc)
