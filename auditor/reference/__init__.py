"""A trusted reference: its components, how their items are stored, its file, its encoders."""

from auditor.reference.build import build_reference
from auditor.reference.reference import Reference, load_reference, save_reference

__all__ = ["Reference", "build_reference", "load_reference", "save_reference"]
