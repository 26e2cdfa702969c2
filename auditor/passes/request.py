"""Settings of an audit request, and the audited set after the first pass."""

from dataclasses import dataclass, field

import numpy as np

from auditor.passes.first import ShardResult
from auditor.plan import Plan
from auditor.policy import Policy
from auditor.risk.model import RiskModel, risk_model

__all__ = ["AuditRequest", "AuditedSet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRequest:
    """Intended use of the audited set and how to judge it; no field changes the evidence of the first pass."""

    policy: Policy = field(default_factory=Policy)
    plan: Plan | None = None  # the intended training; None: the risk is not determined
    level: float = 0.95  # confidence level of all intervals
    declared: frozenset[str] = frozenset()  # reference-complete, generators-complete
    seed: int = 0  # seed of the draws for the test of fit and for the generators' shares
    risk_model: RiskModel | None = field(default=None, repr=False)  # None: the model that comes with the package
    model_samples: np.ndarray | None = field(default=None, repr=False)  # (n, d) in the semantic space
    pilot: np.ndarray | None = field(default=None, repr=False)  # (n, d) in the semantic space
    command: tuple[str, ...] | None = None  # command line of this request, stored in the result

    def model(self) -> RiskModel:
        """The risk model."""
        return self.risk_model or risk_model()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedSet:
    """The audited set and its shards after the first pass."""

    source: str
    shards: tuple[ShardResult, ...] = field(repr=False)
    reused: int  # shards that an earlier run had finished
    started: float  # seconds since 1970
    limit: int | None  # largest number of items to use
    column: str | None
    batch_size: int
    sampled_from: int | None  # items in the whole set, if only a random sample was used
