"""From arrays to answers: evidence, synthetic fraction, fidelity, diversity, policy, verdict."""

from auditor.audit import audit

__all__ = ["audit"]
