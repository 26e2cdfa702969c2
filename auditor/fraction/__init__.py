"""Synthetic fraction of a set: estimates, bounds that allow for unknown generators, and advice if undetermined."""
