"""Evidence of each item's origin from cross-fitted classifiers of its vector and its distances to reference items."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from auditor.evidence.near_duplicates import copy_groups, design_effect, kin_groups
from auditor.evidence.probe import Probe, calibrate, fit_probe
from auditor.statistics.scaling import column_scale, standardise
from indexes.errors import InputError
from indexes.hashing import fold_of
from indexes.search import knn

__all__ = ["FEWEST", "FOLDS", "Detector", "Evidence", "fit_detector", "log_odds"]

FOLDS = 5
FEWEST = 10 * FOLDS  # items of a component
_FEWEST_DISTINCT = 10  # items of a component, copies and near copies counted once
_COPIES = 4  # neighbours of an item that may be its near copies; assumes that modes of the data hold more items
_NEIGHBOURS = 3  # nearest exemplars per component whose mean distance is evidence


@dataclass(frozen=True, slots=True)
class Evidence:
    """Detector output for each item; columns are the m + K components: first the real sources, then the generators."""

    posteriors: np.ndarray  # (n, m + K) float64, at equal prior weight of the components
    nearest: np.ndarray  # (n, m + K) float32, root mean squared standardised distance to the nearest exemplar
    n_real: int = 1  # m

    @property
    def scores(self) -> np.ndarray:
        """Log odds (n,) of synthetic against real origin; all components of the same origin have equal weight.

        All log odds are zero for a reference without generators.
        """
        return log_odds(self.posteriors, self.n_real)


@dataclass(frozen=True)
class Detector:
    """Cross-fitted models and the reference's items; an item is scored by a model not trained on the item's content."""

    mean: np.ndarray  # (d,) of all exemplars
    scale: np.ndarray  # (d,)
    exemplars: np.ndarray  # (n, d) float32, standardised
    component: np.ndarray  # (n,) int64, 0 … m - 1 the real sources, then the generators
    n_real: int  # m
    folds: np.ndarray  # (n,) int64
    digests: np.ndarray  # (n, 16) uint8
    effects: np.ndarray  # (m + K,) design effects of copies and near copies within each component
    probes: tuple[Probe, ...]  # one for each fold
    inverse_temperature: float
    bias: np.ndarray  # (m + K,)
    seed: int
    device: str = "cpu"

    @property
    def n_components(self) -> int:
        return len(self.bias)

    def evidence(self, vectors: np.ndarray, digests: np.ndarray) -> Evidence:
        """Evidence for vectors (n, d); `digests` (n, 16) identify the contents of the items."""
        folds = self._folds_of(digests)
        rows = standardise(vectors, self.mean, self.scale)
        parts = self._part_distances(rows)
        logits = np.zeros((len(rows), self.n_components))
        for fold in np.unique(folds) if self.probes else ():
            of_fold = folds == fold
            features = neighbour_features(parts[of_fold], excluded=int(fold), width=rows.shape[1])
            logits[of_fold] = self.probes[fold].logits(rows[of_fold], features)
        return self._judge(logits, parts, rows.shape[1])

    def _folds_of(self, digests: np.ndarray) -> np.ndarray:
        """Fold of each item, (n,): the fold of a reference item with equal content, or else a hash of the content."""
        folds = fold_of(digests, seed=self.seed, folds=FOLDS)
        known = (self._known_folds.get(row.tobytes(), fold) for row, fold in zip(digests, folds.tolist(), strict=True))
        return np.fromiter(known, dtype=np.int64, count=len(folds))

    @cached_property
    def _known_folds(self) -> dict[bytes, int]:
        """Table from content digest to fold for all reference items; cached because every batch needs the table."""
        return {row.tobytes(): fold for row, fold in zip(self.digests, self.folds.tolist(), strict=True)}

    def _judge(self, logits: np.ndarray, parts: np.ndarray, width: int) -> Evidence:
        posteriors = special.softmax(self.inverse_temperature * logits + self.bias, axis=1)
        return Evidence(posteriors, np.sqrt(parts.min(axis=(2, 3)) / width), self.n_real)

    def _part_distances(self, rows: np.ndarray) -> np.ndarray:
        return part_distances(rows, self.exemplars, self.component, self.folds, device=self.device)


def fit_detector(
    vectors: np.ndarray,
    component: np.ndarray,
    digests: np.ndarray,
    *,
    seed: int,
    n_real: int = 1,
    device: str = "cpu",
) -> tuple[Detector, Evidence]:
    """Fit a detector; also return out-of-fold evidence of the reference items, distributed like that of new items.

    `component` (n,) numbers the components of `vectors` (n, d): first the `n_real` real sources, then the generators.
    Raises InputError if a component has too few items, or too few distinct items.
    """
    copies, effects = _copies_within(vectors, component)
    mean, scale = column_scale(vectors)
    rows = standardise(vectors, mean, scale)
    folds = _folds_of_kin(rows, component, digests, copies, n_real, seed)
    parts = part_distances(rows, rows, component, folds, device=device, own=np.arange(len(rows)))
    width = rows.shape[1]
    logits = np.zeros((len(rows), int(component.max()) + 1))
    probes: list[Probe] = []
    for fold in range(FOLDS) if component.any() else ():
        features = neighbour_features(parts, excluded=fold, width=width)
        train = folds != fold
        probe = fit_probe(rows[train], features[train], component[train], seed=seed)
        logits[~train] = probe.logits(rows[~train], features[~train])
        probes.append(probe)
    inverse_temperature, bias = calibrate(logits, component) if probes else (1.0, np.zeros(1))
    detector = Detector(
        mean, scale, rows, component, n_real, folds, digests, effects, tuple(probes), inverse_temperature, bias, seed,
        device,
    )  # fmt: skip
    return detector, detector._judge(logits, parts, width)


def _copies_within(vectors: np.ndarray, component: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Group numbers (n,), equal for near copies in the same component, and the components' design effects (m + K,)."""
    groups, effects = np.empty(len(vectors), dtype=np.int64), []
    for k in range(int(component.max()) + 1):
        members = np.flatnonzero(component == k)
        if len(members) < FEWEST:
            raise InputError(
                f"a part of the reference has {len(members)} usable items, expected at least {FEWEST}: add items to "
                "this part or remove it"
            )
        found = copy_groups(vectors[members], most=_COPIES)
        if found.max() + 1 < _FEWEST_DISTINCT:
            raise InputError(
                f"a part of the reference holds fewer than {_FEWEST_DISTINCT} items that the encoder can tell apart: "
                "add other items or choose another encoder"
            )
        groups[members] = found + len(vectors) * k
        effects.append(design_effect(np.bincount(found)))
    return np.unique(groups, return_inverse=True)[1].reshape(-1), np.array(effects)


def _folds_of_kin(
    rows: np.ndarray, component: np.ndarray, digests: np.ndarray, copies: np.ndarray, n_real: int, seed: int
) -> np.ndarray:
    """Fold of each item, (n,); a group of copies or derived items has one fold, which its smallest digest sets."""
    contents, content = np.unique(digests, axis=0, return_inverse=True)
    content = content.reshape(-1)
    group = kin_groups(rows, component, copies, n_real)
    least = np.full(group.max() + 1, len(contents))
    np.minimum.at(least, group, content)
    folds = fold_of(contents[least], seed=seed, folds=FOLDS)[group]
    first = np.unique(content, return_index=True)[1]
    return folds[first][content]  # also joins equal contents in different components


def log_odds(posteriors: np.ndarray, n_real: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Log odds (n,) of synthetic against real origin from posteriors (n, m + K), with equal weights for both origins.

    `weights` (m + K,) are the weights of the m real sources among each other and of the K generators among each other;
    by default they are equal. Without generators all log odds are zero.
    """
    if posteriors.shape[1] == n_real:
        return np.zeros(len(posteriors))
    if weights is None:
        weights = np.repeat([1 / n_real, 1 / (posteriors.shape[1] - n_real)], [n_real, posteriors.shape[1] - n_real])
    tiny = np.finfo(np.float64).tiny
    real, synthetic = posteriors[:, :n_real] @ weights[:n_real], posteriors[:, n_real:] @ weights[n_real:]
    return np.asarray(np.log(np.maximum(synthetic, tiny)) - np.log(np.maximum(real, tiny)))


def part_distances(
    rows: np.ndarray,
    exemplars: np.ndarray,
    component: np.ndarray,
    folds: np.ndarray,
    *,
    device: str,
    own: np.ndarray | None = None,
) -> np.ndarray:
    """Squared distances (n, m + K, folds, 3) to the 3 nearest reference items of each component in each fold.

    Distances are stored separately for each fold, so that one search serves the models of all folds. If `own` gives
    each row's number among the reference items, a row does not count as its own neighbour. If a component has fewer
    than 3 neighbours in a fold, the missing distances are infinite.
    """
    n_components = int(component.max()) + 1
    result = np.full((len(rows), n_components, FOLDS, _NEIGHBOURS), np.inf, dtype=np.float32)
    for k in range(n_components):
        for fold in range(FOLDS):
            members = np.flatnonzero((component == k) & (folds == fold))
            if len(members):
                result[:, k, fold] = _nearest(rows, exemplars[members], device, None if own is None else (own, members))
    return result


def _nearest(
    rows: np.ndarray, database: np.ndarray, device: str, own: tuple[np.ndarray, np.ndarray] | None
) -> np.ndarray:
    wanted = _NEIGHBOURS + (own is not None)
    distances, indices = knn(rows, database, min(wanted, len(database)), device=device)
    if own is not None:
        itself = own[1][indices] == own[0][:, None]
        distances = np.sort(np.where(itself, np.inf, distances), axis=1)
    padded = np.full((len(rows), wanted), np.inf, dtype=np.float32)
    padded[:, : distances.shape[1]] = distances
    return padded[:, :_NEIGHBOURS]


def neighbour_features(parts: np.ndarray, *, excluded: int, width: int) -> np.ndarray:
    """Log mean squared distance per dimension to a component's nearest items outside one fold, (n, m + K) float32."""
    kept = np.delete(parts, excluded, axis=2).reshape(len(parts), parts.shape[1], -1)
    nearest = np.sort(kept, axis=2)[:, :, :_NEIGHBOURS]
    finite = np.isfinite(nearest)
    mean = np.where(finite, nearest, 0).sum(2) / np.maximum(finite.sum(2), 1)
    return np.log(mean / width + 1e-3).astype(np.float32)


def component_labels(sizes: Sequence[int]) -> np.ndarray:
    """Component number of each row after stacking components of these sizes."""
    return np.repeat(np.arange(len(sizes)), sizes)
