"""Trusted references: building, storing, loading and searching references, and comparing how items were stored."""

from auditor.reference.build import build_reference
from auditor.reference.reference import Reference, load_reference, save_reference

__all__ = ["Reference", "build_reference", "load_reference", "save_reference"]
