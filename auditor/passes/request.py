"""What is asked of an audit, and the set as the first pass left it."""

from dataclasses import dataclass, field

import numpy as np

from auditor.passes.first import ShardResult
from auditor.plan import Plan
from auditor.policy import Policy
from auditor.risk.model import RiskModel, risk_model

__all__ = ["AuditRequest", "AuditedSet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRequest:
    """What the set is meant for and how it is to be judged; nothing here changes the evidence."""

    policy: Policy = field(default_factory=Policy)
    plan: Plan | None = None  # of the training that is intended; without one nothing is said of the risk
    level: float = 0.95  # of all intervals
    declared: frozenset[str] = frozenset()  # reference-complete, generators-complete
    seed: int = 0  # of the draws behind the test of fit and the generators' shares
    risk_model: RiskModel | None = field(default=None, repr=False)  # None: the one that ships
    model_samples: np.ndarray | None = field(default=None, repr=False)  # (n, d) in the semantic space
    pilot: np.ndarray | None = field(default=None, repr=False)  # (n, d) in the semantic space
    command: tuple[str, ...] | None = None  # that asked, to be recorded

    def model(self) -> RiskModel:
        """The risk model."""
        return self.risk_model or risk_model()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedSet:
    """The set as the first pass left it."""

    source: str
    shards: tuple[ShardResult, ...] = field(repr=False)
    reused: int  # shards that an earlier run had finished
    started: float  # seconds since 1970
    limit: int | None  # items used at most
    column: str | None
    batch_size: int
    sampled_from: int | None  # items of the set where only a random sample was used
