"""A variational autoencoder made of two multilayer perceptrons."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from loops.models.bias import check_bias
from loops.models.training import Scaling, decoded, minibatches, optimise, perceptron, scaling_of, seeded, tensor
from loops.samples import Samples, Space

__all__ = ["VariationalAutoencoder", "VariationalAutoencoderModel"]

_LAYERS = 3  # hidden layers of each network
_FLOOR = 1e-6  # added to the decoder's variance, in scaled units; identical items would drive it to 0
_MANY = 4096  # items from which the final variance is estimated


@dataclass(frozen=True, slots=True)
class VariationalAutoencoderModel:
    """The fitted decoder, and the standard deviation of items around the decoded mean."""

    decoder: nn.Module
    deviation: float  # in the scaled units of the decoder; 0 if samples get no noise
    scaling: Scaling
    latent: int
    device: str

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        """Decode n latents from N(0, λI) for sampling bias λ; `noise` adds noise of λ times the decoder's variance."""
        root = math.sqrt(check_bias(bias))

        def decode(latents: torch.Tensor) -> torch.Tensor:
            means: torch.Tensor = self.decoder(latents)
            return means + root * self.deviation * torch.randn_like(means) if self.deviation else means

        return decoded(decode, self.scaling, n, width=self.latent, deviation=root, rng=rng, device=self.device)


@dataclass(frozen=True)
class VariationalAutoencoder:
    """A variational autoencoder whose decoder has one variance, set to its most likely value (Rybkin et al. 2021)."""

    reads: ClassVar[str] = "vectors"
    vectorised: ClassVar[bool] = False
    conditional: ClassVar[bool] = False
    bias_means: ClassVar[str] = "the latent is drawn from N(0, λI)"
    latent: int = 8  # width of the latent code of an item
    hidden: int = 256  # width of the networks' three hidden layers
    steps: int = 2500  # Adam steps
    batch: int = 128  # items per step
    rate: float = 2e-3  # learning rate at the start; it falls to 0 along a cosine
    noise: bool = True  # add the decoder's noise to samples, as the model states; the mean alone loses variance
    device: str = "cpu"

    def fit(
        self, data: Samples, *, space: Space, weights: np.ndarray | None, rng: np.random.Generator
    ) -> VariationalAutoencoderModel:
        """Train encoder and decoder from scratch on the evidence lower bound; InputError if there are no items."""
        scaling = scaling_of(data.values, space)
        hidden = (self.hidden,) * _LAYERS
        with seeded(rng, self.device):
            rows = tensor(scaling.forward(data.values), self.device)
            encoder = perceptron(space.width, hidden, 2 * self.latent, nn.SiLU()).to(self.device)
            decoder = perceptron(self.latent, hidden, space.width, nn.SiLU()).to(self.device)

            def misfit_and_divergence(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
                seen = rows[batch]
                mean, log_variance = encoder(seen).chunk(2, dim=-1)
                latents = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
                divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1) / 2
                return (seen - decoder(latents)).square().mean() + _FLOOR, divergence.mean()

            def loss(batch: torch.Tensor) -> torch.Tensor:
                misfit, divergence = misfit_and_divergence(batch)
                return misfit.log() / 2 + divergence / space.width  # at its minimum over the decoder's variance

            learned = [*encoder.parameters(), *decoder.parameters()]
            batches = minibatches(len(rows), self.batch, self.steps, weights=weights, device=self.device)
            optimise(learned, loss, batches, steps=self.steps, rate=self.rate)
            (many,) = minibatches(len(rows), _MANY, 1, weights=weights, device=self.device)
            with torch.no_grad():
                deviation = misfit_and_divergence(many)[0].sqrt().item() if self.noise else 0.0
        return VariationalAutoencoderModel(decoder, deviation, scaling, self.latent, self.device)
