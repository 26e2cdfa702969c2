"""Select synthetic samples: all samples, the best of every K, or the samples that an imperfect verifier accepts."""

import numpy as np

from auditor.workflows import workflow_named
from indexes.errors import InputError
from loops.config import LoopConfig
from loops.data.population import Population
from loops.generation.chains import Chains
from loops.samples import Samples

__all__ = ["best_of", "draw_selected", "verified"]

_ROUNDS = 100  # rounds of n samples each before giving up on a verifier that accepts too few


def draw_selected(
    models: Chains,
    n: int,
    *,
    config: LoopConfig,
    clean: Population,
    rngs: list[np.random.Generator],
    floor: float,
    selecting: np.random.Generator,
) -> Samples:
    """Draw n synthetic items from every chain, selected by the rule of the loop's workflow."""
    selection = workflow_named(config.workflow).selection
    if selection == "best":
        candidates = models.sample(n * config.candidates, bias=config.bias, rngs=rngs)
        return best_of(candidates, _typicality(candidates.values, clean), group=config.candidates)
    if selection == "verified":
        return verified(models, n, config=config, clean=clean, rngs=rngs, floor=floor, selecting=selecting)
    return models.sample(n, bias=config.bias, rngs=rngs)


def best_of(candidates: Samples, reward: np.ndarray, *, group: int) -> Samples:
    """The candidate with the highest reward (chains, n·group) among each `group` consecutive candidates."""
    chains, total = reward.shape
    winner = reward.reshape(chains, -1, group).argmax(2) + group * np.arange(total // group)
    return candidates.pick(winner)


def verified(
    models: Chains,
    n: int,
    *,
    config: LoopConfig,
    clean: Population,
    rngs: list[np.random.Generator],
    floor: float,
    selecting: np.random.Generator,
) -> Samples:
    """The first n samples of every chain that the verifier accepts.

    A sample is good if its typicality score (similarity to real data) is at least `floor`. With a verifier error of e,
    good samples are accepted with probability 1 − e and bad samples with probability e (after Feng et al. 2024). Raises
    InputError if the verifier accepts less than 1 % of a chain's samples.
    """
    kept: list[list[Samples]] = [[] for _ in range(models.count)]
    missing = np.full(models.count, n)
    for _ in range(_ROUNDS):
        drawn = models.sample(n, bias=config.bias, rngs=rngs)
        good = _typicality(drawn.values, clean) >= floor
        passed = good ^ (selecting.random(good.shape) < config.verifier_error)
        for chain in np.flatnonzero(missing).tolist():
            rows = np.flatnonzero(passed[chain])[: missing[chain]]
            kept[chain].append(drawn.chain(chain).take(rows))
            missing[chain] -= len(rows)
        if not missing.any():
            return _stack(kept)
    raise InputError(
        f"the verifier accepted fewer than 1 in {_ROUNDS} samples in {np.count_nonzero(missing)} chains, because the "
        "samples no longer resemble real data: use more real data (--n-real) or a larger verifier_error"
    )


def _typicality(values: np.ndarray, clean: Population) -> np.ndarray:
    chains, n, width = values.shape
    return clean.typicality(values.reshape(chains * n, width)).reshape(chains, n)


def _stack(kept: list[list[Samples]]) -> Samples:
    values = np.stack([np.concatenate([part.values for part in parts]) for parts in kept])
    if kept[0][0].labels is None:
        return Samples(values)
    return Samples(
        values, np.stack([np.concatenate([p.labels for p in parts if p.labels is not None]) for parts in kept])
    )
