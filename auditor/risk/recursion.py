"""Mechanistic forecast: errors pass from generation to generation with the training data, and add up to a distance."""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from auditor.plan import Plan
from auditor.workflows import workflow_named
from indexes.errors import InputError

__all__ = ["Mechanism", "growth", "impulse_response", "origin_shares", "solve_coherence", "training_sizes"]

_SATURATION = 1.3  # squared distance, in units of the real total variance, at which distances level off
_COHERENCES = (0.5, 1.0)  # errors that add in variance, and in amplitude


def origin_shares(plan: Plan, *, real_weight: float = 0.5) -> np.ndarray:
    """Share w[t, j] of training set t that comes from generation j, (T + 1, T + 1); j = 0 is the real data.

    Every row of shares sums to 1; row 0 is unused. With weighted losses the real part has the share `real_weight`.
    """
    workflow, last = workflow_named(plan.workflow), plan.generations
    n_initial, n_real, n_synthetic = plan.sizes
    shares = np.zeros((last + 1, last + 1))
    shares[1, 0] = 1.0
    n_real = {"none": 0, "initial": n_initial}.get(workflow.real, n_real)
    for t in range(2, last + 1):
        origins = np.arange(1, t) if workflow.synthetic == "pool" else np.array([t - 1])
        total = n_real + n_synthetic * len(origins)
        if total == 0:
            raise InputError(f"the workflow {plan.workflow} has nothing to train on: give real or synthetic items")
        shares[t, 0] = real_weight if workflow.weighted and n_real else n_real / total
        shares[t, origins] = (1 - shares[t, 0]) / len(origins)
    return shares


def training_sizes(plan: Plan) -> np.ndarray:
    """Number of items that each generation is trained on, (T,)."""
    workflow = workflow_named(plan.workflow)
    n_initial, n_real, n_synthetic = plan.sizes
    n_real = {"none": 0, "initial": n_initial}.get(workflow.real, n_real)
    sources = np.arange(1, plan.generations) if workflow.synthetic == "pool" else np.ones(plan.generations - 1)
    later = n_real + n_synthetic * sources
    return np.concatenate([[n_initial], np.full_like(later, n_initial) if workflow.subsampled else later])


def impulse_response(shares: np.ndarray) -> np.ndarray:
    """Response h[k, t]: the part of generation k's error that is left in generation t, (T + 1, T + 1).

    The recursion is h[k, k] = 1 and h[k, t] = Σ_j w[t, j] h[k, j] for t > k, where w are the shares `shares`.
    """
    last = len(shares) - 1
    response = np.eye(last + 1)
    for t in range(2, last + 1):
        response[1:t, t] = response[1:t, 1:t] @ shares[t, 1:t]
    return response


def growth(response: np.ndarray, coherence: float, errors: float | np.ndarray = 1.0) -> np.ndarray:
    """Accumulated error S_t(γ) = (Σ_k (e_k h[k, t])^(1/γ))^(2γ) for t = 1 … T, (T,), from squared errors e_k² (T,).

    With γ = ½ the errors of generations are independent and add in variance. With γ = 1 the errors all point the same
    way and add in amplitude.
    """
    inner = (response[1:, 1:] * np.sqrt(np.broadcast_to(errors, len(response) - 1))[:, None]) ** (1 / coherence)
    return np.asarray(np.triu(inner).sum(0) ** (2 * coherence))


@dataclass(frozen=True, slots=True)
class Mechanism:
    """Components of a Fréchet distance, each a squared distance in units of the real total variance."""

    floor: float  # distance of a real sample of the measured size
    sampling: float | np.ndarray  # v: from finite training sets, new in every generation, one number or (T,)
    model: float  # ε²: what a model adds in one generation
    data: float | np.ndarray  # δ²: added directly, not passed on as an error; one number or (T,)
    coherence: float = 0.5  # γ of the models' errors

    def forecast(self, response: np.ndarray) -> np.ndarray:
        """Fréchet distance F_t = floor + c(1 − exp(−x_t/c)) of each generation t = 1 … T, (T,).

        The error x_t is the sum of the accumulated sampling errors S_t(½) of v, the accumulated model errors S_t(γ) of
        ε², and δ². Distances level off at the constant c.
        """
        error = growth(response, 0.5, self.sampling) + growth(response, self.coherence, self.model) + self.data
        return np.asarray(self.floor - _SATURATION * np.expm1(-error / _SATURATION))


def solve_coherence(ratio: float, mechanism: Mechanism, response: np.ndarray) -> float:
    """Coherence γ in [½, 1] for which the forecast distance ratio F_2/F_1 is nearest to the ratio in a pilot."""

    def excess(coherence: float) -> float:
        tried = replace(mechanism, coherence=coherence)
        first, second = tried.forecast(response)[:2]
        return math.log(second / first) - math.log(ratio)

    low, high = (excess(coherence) for coherence in _COHERENCES)
    if low >= 0 or high <= 0:
        return _COHERENCES[0] if low >= 0 else _COHERENCES[1]
    return float(optimize.brentq(excess, *_COHERENCES))
