"""Audit of a dataset: evidence of origin, synthetic fraction, fidelity, diversity, policy checks, and verdict."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditor.measures.diversity import vendi
    from auditor.measures.fidelity import frechet, prdc
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
    "frechet",
    "load_reference",
    "prdc",
    "vendi",
]

_HOMES = {
    "AuditResult": "auditor.results",
    "Measure": "auditor.statistics.intervals",
    "Plan": "auditor.plan",
    "Policy": "auditor.policy",
    "audit": "auditor.run",
    "build_reference": "auditor.reference.build",
    "frechet": "auditor.measures.fidelity",
    "load_reference": "auditor.reference.reference",
    "prdc": "auditor.measures.fidelity",
    "vendi": "auditor.measures.diversity",
}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use, so that `import auditor` does not load torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'auditor' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
