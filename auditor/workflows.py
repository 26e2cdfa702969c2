"""Workflows: the real and the synthetic items in the training set of each generation."""

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
    "replace": Workflow("fully synthetic loop: only samples of the last generation", "none"),
    "augment": Workflow("the same real items in every generation, and samples of the last generation", "fixed"),
    "augment-accumulate": Workflow(
        "the same real items in every generation, and samples of all earlier generations", "fixed", "pool"
    ),
    "fresh": Workflow("new real items in every generation, and samples of the last K generations", "fresh"),
    "accumulate": Workflow("the initial real items, and samples of all earlier generations", "initial", "pool"),
    "accumulate-subsample": Workflow(
        "a random subset, of fixed size, of the initial real items and samples of all earlier generations",
        "initial", "pool", subsampled=True,
    ),
    "weighted": Workflow(
        "new real items in every generation, with a given weight in the loss, and samples of the last generation",
        "fresh", weighted=True,
    ),
    "curated": Workflow(
        "the most typical of every K samples of the last generation; with --n-real, also fixed real items",
        "fixed", selection="best",
    ),
    "verified": Workflow(
        "samples of the last generation that pass a verifier with a given error rate; with --n-real, also fixed real "
        "items",
        "fixed", selection="verified",
    ),
}  # fmt: skip


def workflow_named(name: str) -> Workflow:
    """The workflow with this name; raises InputError for an unknown name."""
    if name not in WORKFLOWS:
        raise InputError(f"no workflow is called {name!r}, expected one of {', '.join(WORKFLOWS)}")
    return WORKFLOWS[name]
