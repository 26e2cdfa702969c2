"""What the recursion alone expects of a plan, from what a tier knows: the learned forecast starts from it."""

import math
from dataclasses import dataclass

import numpy as np

from auditor.recursion import Mechanism, impulse_response, origin_shares, solve_coherence
from auditor.risk_inputs import TIERS, Known
from auditor.sample_facts import SampleFacts

__all__ = ["Course", "course_of"]

_UNKNOWN_MODEL = 2.0  # ε² over v, of a model of which nothing is known
_LEAST_MODEL = 0.02  # the same at least, of one whose samples are as good as real ones
_COHERENCE = 0.75  # γ where no pilot tells it
_WIDEST = 1.2  # variance of a model's samples over that of what it was trained on, at most


@dataclass(frozen=True, slots=True)
class Course:
    """Generations 1 … T, in natural logarithms."""

    level: np.ndarray  # (T,) F over that of a real sample
    diversity: np.ndarray  # (T,) total variance over that of generation 1

    @property
    def ratio(self) -> np.ndarray:
        """F over that of generation 1, (T,)."""
        return np.asarray(self.level - self.level[0])


def course_of(known: Known, *, tier: str) -> Course:
    """The course by `auditor.recursion`: sampling error v from the floor, ε² from model samples, γ from the pilot.

    The variance follows q_{t+1} = κ (r + s q_t), r and s the real and synthetic shares and κ what a generation makes
    of the variance it is trained on: λ² if nothing else is known, a normal model's under sampling bias.
    """
    return Course(_level(known, tier), _diversity(known, tier))


def _level(known: Known, tier: str) -> np.ndarray:
    audit, plan = known.audit, known.plan
    response = impulse_response(origin_shares(plan))
    sampling = audit.floor * audit.floor_items / plan.n_initial
    if tier == TIERS[0] or known.model is None:
        mechanism = Mechanism(audit.floor, sampling, _UNKNOWN_MODEL * sampling, 0.0, _COHERENCE)
    else:
        first = _distance(known.model, known)
        model = max(first - audit.floor - sampling, _LEAST_MODEL * sampling)
        mechanism = Mechanism(audit.floor, sampling, model, 0.0, _COHERENCE)
        if tier == TIERS[2] and known.pilot is not None:
            coherence = solve_coherence(_distance(known.pilot, known) / first, mechanism, response)
            mechanism = Mechanism(audit.floor, sampling, model, 0.0, coherence)
    return np.asarray(np.log(mechanism.forecast(response) / audit.floor))


def _distance(facts: SampleFacts, known: Known) -> float:
    """F of samples against the real distribution at the size that levels are stated at; facts are of two samples."""
    floor, items = known.audit.floor, known.audit.floor_items
    return max(facts.frechet - 2 * floor * items / facts.n + floor, 0.1 * floor)


def _diversity(known: Known, tier: str) -> np.ndarray:
    shares = origin_shares(known.plan)
    first = kept = known.plan.bias**2
    if tier != TIERS[0] and known.model is not None:
        first = kept = min(max(known.model.variance, 1e-3), _WIDEST)
        if tier == TIERS[2] and known.pilot is not None:
            kept = min(max(known.pilot.variance, 1e-3) / (shares[2, 0] + shares[2, 1] * first), _WIDEST)
    variances = np.full(known.plan.generations + 1, math.nan)
    variances[1] = first
    for t in range(2, len(variances)):
        variances[t] = kept * (shares[t, 0] + shares[t, 1:t] @ variances[1:t])
    return np.asarray(np.log(variances[1:] / first))
