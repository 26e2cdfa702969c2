"""Families of generative models behind one protocol: fit(data, rng) gives a model, sample(n, bias, rng) gives data."""

from loops.models.catalogue import FAMILIES, make_family

__all__ = ["FAMILIES", "make_family"]
