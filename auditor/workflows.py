"""Workflows: what each generation's training set consists of."""

from dataclasses import dataclass
from typing import Literal

from indexes.errors import InputError

__all__ = ["WORKFLOWS", "Workflow", "workflow_named"]


@dataclass(frozen=True, slots=True)
class Workflow:
    """Which real and which synthetic items a training set contains from generation 2 on."""

    summary: str
    real: Literal["none", "initial", "fixed", "fresh"]
    synthetic: Literal["last", "pool"] = "last"  # samples of the last K generations, or of all generations
    subsampled: bool = False  # the training set is sampled down to a fixed budget, without replacement
    weighted: bool = False  # the real part has a given share in the loss
    selection: Literal["none", "best", "verified"] = "none"  # which of the models' samples are kept


WORKFLOWS = {
    "replace": Workflow("the fully synthetic loop: only what the last generation sampled", "none"),
    "augment": Workflow("the same real set every generation, and what the last generation sampled", "fixed"),
    "augment-accumulate": Workflow(
        "the same real set every generation, and what all generations sampled", "fixed", "pool"
    ),
    "fresh": Workflow("real data drawn anew every generation, and what the last K generations sampled", "fresh"),
    "accumulate": Workflow("the initial real data, and what all generations sampled", "initial", "pool"),
    "accumulate-subsample": Workflow(
        "a random subset, of fixed size, of the initial real data and what all generations sampled",
        "initial", "pool", subsampled=True,
    ),
    "weighted": Workflow(
        "real data drawn anew, with a given share in the loss, and what the last generation sampled",
        "fresh", weighted=True,
    ),
    "curated": Workflow(
        "what the last generation sampled, the most typical of every K; with --n-real, beside fixed real data",
        "fixed", selection="best",
    ),
    "verified": Workflow(
        "what the last generation sampled and a verifier of a given error rate let pass; with --n-real, beside fixed "
        "real data",
        "fixed", selection="verified",
    ),
}  # fmt: skip


def workflow_named(name: str) -> Workflow:
    """The workflow of that name; InputError if there is none."""
    if name not in WORKFLOWS:
        raise InputError(f"no workflow is called {name!r}, expected one of {', '.join(WORKFLOWS)}")
    return WORKFLOWS[name]
