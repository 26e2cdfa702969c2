"""From arrays to answers: evidence, synthetic fraction, fidelity, diversity, policy, verdict."""

from auditor.run import audit

__all__ = ["audit"]
