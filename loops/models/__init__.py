"""Generative models with one protocol: fit(data, rng) gives a model, sample(n, bias, rng) gives data."""

from loops.models.gaussian_mixture import GaussianMixtureModel, fit_gaussian_mixture

__all__ = ["GaussianMixtureModel", "fit_gaussian_mixture"]
