"""Generative model families with a common interface: `fit` trains a model, and the model's `sample` draws items."""

from loops.models.catalogue import FAMILIES, make_family

__all__ = ["FAMILIES", "make_family"]
