"""Course of a training loop as predicted by the recursion alone, without the correction that the forecast learns."""

import math
from dataclasses import dataclass, replace

import numpy as np

from auditor.answers import SampleStatistics
from auditor.risk.inputs import TIERS, ForecastInputs
from auditor.risk.recursion import Mechanism, growth, impulse_response, origin_shares, solve_coherence, training_sizes

__all__ = ["Course", "course_of"]

_UNKNOWN_MODEL = 0.5  # ε²/v of a model about which nothing is known
_LEAST_MODEL = 0.02  # smallest ε²/v, even if the model's samples are as good as real ones
_COHERENCE = 0.6  # γ without a pilot
_LOST = -3.0  # lowest log ratio of recall that is predicted
_LEAST_SHARE = 0.05  # smallest share of the first model's samples in a pilot's data by which its loss is divided
_TINY = 1e-3
_LEAST_KEPT, _MOST_KEPT = 1e-3, 1.2  # limits of the share of variance that a generation keeps


@dataclass(frozen=True, slots=True)
class Course:
    """Predicted course of a loop over generations 1 … T; all values are natural logarithms."""

    level: np.ndarray  # (T,) F divided by the F of a real sample
    variance: np.ndarray  # (T,) total variance divided by that of generation 1
    recall: np.ndarray  # (T,) recall divided by that of generation 1

    @property
    def ratio(self) -> np.ndarray:
        """Log of each generation's Fréchet distance divided by that of generation 1, (T,)."""
        return np.asarray(self.level - self.level[0])


def course_of(known: ForecastInputs, *, tier: str) -> Course:
    """Predict the course of a loop with the recursion in `auditor.risk.recursion`.

    The sampling error v is that of a real sample of the training set's size. The model error ε² comes from the first
    model's samples, and the coherence γ of errors comes from a pilot. The total variance q_t of generation t follows
    q_{t+1} = κ (r + s q_t), where r and s are the real and synthetic shares of the training set. The factor κ is the
    share of its training data's variance that a generation keeps; without measurements, κ is the sampling bias λ
    (Alemohammad et al. 2024). A variance that shrinks equally in all directions to the factor q adds (1 − √q)² to the
    Fréchet distance. A loss of recall in one generation recurs in later generations that train on its samples.
    Therefore log losses of recall add up like coherent errors: generation t has lost √S_t(1) times the loss of one
    generation, with S_t(1) from `growth`.
    """
    variances = _variances(known, tier)
    level = _level(known, tier, (1 - np.sqrt(variances)) ** 2)
    return Course(level, np.log(variances / variances[0]), _recall(known, tier))


def _level(known: ForecastInputs, tier: str, shrunk: np.ndarray) -> np.ndarray:
    audit, plan = known.audit, known.plan
    response = impulse_response(origin_shares(plan))
    sampling = audit.floor * audit.floor_items / training_sizes(plan)
    mechanism = Mechanism(audit.floor, sampling, _UNKNOWN_MODEL * sampling[0], shrunk, _COHERENCE)
    if tier != TIERS[0] and known.model is not None:
        first = _distance(known.model, known)
        error = max(first - audit.floor - sampling[0] - shrunk[0], _LEAST_MODEL * sampling[0])
        mechanism = replace(mechanism, model=error)
        if tier == TIERS[2] and known.pilot is not None:
            coherence = solve_coherence(_distance(known.pilot, known) / first, mechanism, response)
            mechanism = replace(mechanism, coherence=coherence)
    return np.asarray(np.log(mechanism.forecast(response) / audit.floor))


def _distance(facts: SampleStatistics, known: ForecastInputs) -> float:
    """Fréchet distance of samples to the real distribution, at `floor_items` items; `facts` has it to real samples."""
    floor, items = known.audit.floor, known.audit.floor_items
    return max(facts.frechet - 2 * floor * items / facts.n + floor, 0.1 * floor)


def _variances(known: ForecastInputs, tier: str) -> np.ndarray:
    """Total variance of each generation's samples, divided by the real total variance, (T,)."""
    shares = origin_shares(known.plan)
    first = kept = known.plan.bias
    if tier != TIERS[0] and known.model is not None:
        first = kept = _bounded(known.model.variance)
        if tier == TIERS[2] and known.pilot is not None:
            again = _bounded(known.pilot.variance / (shares[2, 0] + shares[2, 1] * first))
            kept = math.sqrt(first * again)
    variances = np.full(known.plan.generations + 1, math.nan)
    variances[1] = first
    for t in range(2, len(variances)):
        variances[t] = kept * (shares[t, 0] + shares[t, 1:t] @ variances[1:t])
    return variances[1:]


def _recall(known: ForecastInputs, tier: str) -> np.ndarray:
    """Log of each generation's recall divided by the recall of generation 1, (T,).

    The loss of recall per generation comes from a pilot or, without a pilot, from the first model's recall relative to
    its training data's recall.
    """
    times = np.sqrt(growth(impulse_response(origin_shares(known.plan)), 1.0)) - 1
    if tier == TIERS[0] or known.model is None:
        return np.zeros_like(times)
    first = known.model.recall + _TINY
    most = max(_LOST, math.log(_TINY / first))  # a model that covers nothing has nothing to lose
    if tier == TIERS[2] and known.pilot is not None:
        lost, at = math.log((known.pilot.recall + _TINY) / first), max(float(times[1]), _LEAST_SHARE)
        return np.asarray(np.clip(lost * times / at, most, 0.0))
    trained_on = known.audit.recall if math.isfinite(known.audit.recall) else 1.0
    return np.asarray(np.clip(min(math.log(first / (min(trained_on, 1.0) + _TINY)), 0.0) * times, most, 0.0))


def _bounded(kept: float) -> float:
    return min(max(kept, _LEAST_KEPT), _MOST_KEPT)
