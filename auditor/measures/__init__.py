"""Fidelity and diversity of a set in the space of an encoder that sees content."""
