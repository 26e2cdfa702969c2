"""Configuration of a loop: model family, workflow, data, item counts, sampling bias and seed."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from auditor.workflows import workflow_named
from indexes.errors import InputError

__all__ = ["LoopConfig", "config_from"]

_DEFAULT_ITEMS = 1000
_POSITIVE = (
    "generations", "memory", "chains", "threads", "candidates", "n_measure", "measured_chains", "budget", "limit",
)  # fmt: skip


@dataclass(frozen=True)
class LoopConfig:
    """Settings of one loop; counts that are None are replaced with defaults by `resolved`."""

    family: str = "gaussian"
    workflow: str = "replace"
    data: str | None = None  # a formula such as normal:2, digits, or a source; None: the family's default
    generations: int = 10
    n_real: int | None = None  # real items of generations 2 and later, if the workflow uses real items
    n_synthetic: int | None = None  # synthetic items that a generation adds
    n_initial: int | None = None  # real items of generation 1
    bias: float = 1.0  # sampling bias λ
    memory: int = 1  # K: the synthetic items come in equal parts from the last K generations (fresh, replace, augment)
    chains: int | None = None  # independent repetitions
    contamination: float = 0.0  # share of contaminants in every draw called real
    contaminant: str | None = None  # a source, a formula, or a family that is fitted to clean data
    seed: int = 0
    device: str = "cpu"
    threads: int = 1  # results depend on this number, because it sets the order of sums
    settings: Mapping[str, Any] = field(default_factory=dict)  # settings of the family
    mixing: str = "fixed"  # or "binomial": from generation 2 on, each item is synthetic with chance n_s/(n_r + n_s)
    real_weight: float = 0.5  # weighted: the share of the real part in the loss
    candidates: int = 4  # curated: K, the number of candidates of which the best is kept
    verifier_error: float = 0.1  # verified: probability that the verifier judges a sample wrongly
    budget: int | None = None  # accumulate-subsample: items of a training set
    n_measure: int | None = None  # samples per chain for the measures
    measured_chains: int = 8  # chains for sampled measures (precision, recall, …); exact measures use all chains
    encoder: str | None = None  # encoder for items of a source; None: pixels for images, plain text for texts
    column: str | None = None  # column of a table to read
    limit: int | None = None  # number of items of a source to use, drawn at random

    def __post_init__(self) -> None:
        """Raises InputError if a field or a combination of fields is invalid."""
        for name in ("family", "workflow", "data", "contaminant", "device", "encoder", "column"):
            _check_name(name, getattr(self, name), may_miss=name not in ("family", "workflow", "device"))
        workflow_named(self.workflow)
        _check_share("bias", self.bias, top=1.0)
        for name in _POSITIVE:
            _check_whole(name, getattr(self, name), least=1)
        for name in ("n_real", "n_synthetic"):
            _check_whole(name, getattr(self, name), least=0)
        _check_whole("n_initial", self.n_initial, least=1)
        _check_whole("seed", self.seed, least=0)
        for name in ("contamination", "real_weight"):
            _check_share(name, getattr(self, name), top=1.0)
        _check_share("verifier_error", self.verifier_error, top=0.5)
        if self.mixing not in ("fixed", "binomial"):
            raise InputError(f"mixing is {self.mixing!r}, expected fixed or binomial")
        if self.mixing == "binomial" and self.workflow != "fresh":
            raise InputError(
                f"binomial mixing needs the workflow fresh, got {self.workflow}: change mixing or workflow"
            )
        if self.memory > 1 and workflow_named(self.workflow).synthetic == "pool":
            raise InputError(
                f"memory is {self.memory}, expected 1: the workflow {self.workflow} keeps all generations' samples"
            )
        if self.contamination > 0 and self.contaminant is None:
            raise InputError("contamination is set without a contaminant: give --contaminant")
        _check_settings(self.settings)

    def resolved(self, *, size: int | None, width: int, vectorised: bool) -> "LoopConfig":
        """A copy of the configuration with missing counts filled in; the data hold `size` items (None: a formula).

        The default number of chains is 100 for a vectorised family (fewer for items with more than 64 columns), else 1.
        """
        plain = self.n_initial or self.n_real or self.n_synthetic or _least(size, _DEFAULT_ITEMS)
        real = workflow_named(self.workflow).real
        selects = workflow_named(self.workflow).selection != "none"
        n_real = 0 if real == "none" or (selects and self.n_real is None) else self.n_real
        for n in (plain, n_real) if self.contamination else ():
            if n and n * self.contamination < 0.5:
                raise InputError(
                    f"a contamination of {self.contamination} gives no contaminants in {n} items: use more items"
                )
        if self.workflow == "weighted" and (n_real == 0 or self.n_synthetic == 0):
            raise InputError("a weighted loss needs real and synthetic items: set n_real and n_synthetic above 0")
        if self.generations > 1 and n_real == 0 and self.n_synthetic == 0:
            raise InputError(
                f"the workflow {self.workflow} has no items to train on: set n_real or n_synthetic above 0"
            )
        return dataclasses.replace(
            self,
            n_initial=plain,
            n_real=plain if real == "initial" or n_real is None else n_real,
            n_synthetic=plain if self.n_synthetic is None else self.n_synthetic,
            budget=self.budget or plain,
            chains=self.chains or (max(1, min(100, 6400 // width)) if vectorised else 1),
            n_measure=self.n_measure or (_DEFAULT_ITEMS if size is None else max(1, min(size // 2, _DEFAULT_ITEMS))),
        )

    def as_json(self) -> dict[str, Any]:
        """All fields as a dictionary of JSON types."""
        return {**dataclasses.asdict(self), "settings": dict(self.settings)}


def config_from(fields: Mapping[str, Any]) -> LoopConfig:
    """A configuration from named fields; hyphens in names count as underscores; None means that a field is absent."""
    named = {str(key).replace("-", "_"): value for key, value in fields.items() if value is not None}
    known = {f.name for f in dataclasses.fields(LoopConfig)}
    if unknown := sorted(set(named) - known):
        raise InputError(f"a loop has no field {', '.join(unknown)}, expected some of {', '.join(sorted(known))}")
    for key in ("bias", "contamination", "real_weight", "verifier_error"):
        if isinstance(named.get(key), int) and not isinstance(named[key], bool):
            named[key] = float(named[key])
    return LoopConfig(**named)


def _least(size: int | None, otherwise: int) -> int:
    return otherwise if size is None else min(size, otherwise)


def _check_settings(settings: Any) -> None:
    if not isinstance(settings, Mapping) or not all(isinstance(key, str) for key in settings):
        raise InputError(f"settings are {settings!r}, expected a mapping from names of family settings to values")
    try:
        json.dumps(dict(settings))
    except (TypeError, ValueError):
        raise InputError(
            f"settings are {settings!r}, expected values that are numbers, texts, or lists of these"
        ) from None


def _check_name(name: str, value: Any, *, may_miss: bool) -> None:
    if not isinstance(value, str) and not (value is None and may_miss):
        raise InputError(f"{name} is {value!r}, expected a text")


def _check_whole(name: str, value: Any, *, least: int) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
        raise InputError(f"{name.replace('_', ' ')} is {value!r}, expected a whole number of at least {least}")


def _check_share(name: str, value: Any, *, top: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= top:
        raise InputError(f"{name.replace('_', ' ')} is {value!r}, expected a number in [0, {top:g}]")
