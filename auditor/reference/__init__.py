"""A trusted reference: its components, how their items are stored, its file, its encoders."""

from auditor.reference.reference import EncoderRole, Reference, build_reference, load_reference, save_reference

__all__ = ["EncoderRole", "Reference", "build_reference", "load_reference", "save_reference"]
