"""Audit of a dataset: evidence of origin, synthetic fraction, fidelity, diversity, policy checks, and verdict."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditor.measures.cmmd import cmmd
    from auditor.measures.frechet import frechet
    from auditor.measures.intrinsic_dimension import intrinsic_dimension
    from auditor.measures.kid import kid
    from auditor.measures.kinds import diversity_loss, kinds, spread
    from auditor.measures.neighbour_entropy import neighbour_entropy
    from auditor.measures.prdc import prdc
    from auditor.measures.sliced_wasserstein import sliced_wasserstein
    from auditor.measures.vendi import vendi
    from auditor.plan import Plan
    from auditor.policy import Policy
    from auditor.reference.build import build_reference
    from auditor.reference.reference import load_reference
    from auditor.results import AuditResult
    from auditor.run import audit
    from auditor.statistics.intervals import Measure

__all__ = [
    "AuditResult",
    "Measure",
    "Plan",
    "Policy",
    "audit",
    "build_reference",
    "cmmd",
    "diversity_loss",
    "frechet",
    "intrinsic_dimension",
    "kid",
    "kinds",
    "load_reference",
    "neighbour_entropy",
    "prdc",
    "sliced_wasserstein",
    "spread",
    "vendi",
]

_HOMES = {
    "AuditResult": "auditor.results",
    "Measure": "auditor.statistics.intervals",
    "Plan": "auditor.plan",
    "Policy": "auditor.policy",
    "audit": "auditor.run",
    "build_reference": "auditor.reference.build",
    "cmmd": "auditor.measures.cmmd",
    "diversity_loss": "auditor.measures.kinds",
    "frechet": "auditor.measures.frechet",
    "intrinsic_dimension": "auditor.measures.intrinsic_dimension",
    "kid": "auditor.measures.kid",
    "kinds": "auditor.measures.kinds",
    "load_reference": "auditor.reference.reference",
    "neighbour_entropy": "auditor.measures.neighbour_entropy",
    "prdc": "auditor.measures.prdc",
    "sliced_wasserstein": "auditor.measures.sliced_wasserstein",
    "spread": "auditor.measures.kinds",
    "vendi": "auditor.measures.vendi",
}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use, so that `import auditor` does not load torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'auditor' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
