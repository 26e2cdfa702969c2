"""A Wasserstein generative adversarial network with gradient penalty (Gulrajani et al. 2017)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from loops.models.bias import check_bias
from loops.models.training import Scaling, decoded, minibatches, perceptron, scaling_of, seeded, tensor
from loops.samples import Samples, Space

__all__ = ["Adversarial", "AdversarialModel"]

_AVERAGING = 0.99  # decay per step of the generator's moving average, which is what samples


@dataclass(frozen=True, slots=True)
class AdversarialModel:
    """The fitted generator."""

    generator: nn.Module
    scaling: Scaling
    latent: int
    device: str

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        """Generate n items from standard normal latents multiplied by the sampling bias, which moves them towards 0."""
        return decoded(
            self.generator,
            self.scaling,
            n,
            width=self.latent,
            deviation=check_bias(bias),
            rng=rng,
            device=self.device,
        )


@dataclass(frozen=True)
class Adversarial:
    """A Wasserstein GAN for vectors and small images; generator and critic are perceptrons with two hidden layers."""

    reads: ClassVar[str] = "vectors"
    vectorised: ClassVar[bool] = False
    conditional: ClassVar[bool] = False
    bias_means: ClassVar[str] = "the latent is interpolated towards its mean: multiplied by λ"
    latent: int = 16  # width of the latent that an item is generated from
    hidden: int = 256  # width of both networks
    steps: int = 800  # Adam steps of the generator
    critic_steps: int = 3  # per generator step; the critic's higher rate compensates for fewer than the usual 5
    batch: int = 128  # items per step
    rate: float = 2e-3  # generator's learning rate at the start; it falls to 0 along a cosine
    critic_rate: float = 4e-3  # likewise (Heusel et al. 2017)
    penalty: float = 10.0  # weight of (norm of the critic's gradient − 1)²; two or three columns need about 0.1
    device: str = "cpu"

    def fit(
        self, data: Samples, *, space: Space, weights: np.ndarray | None, rng: np.random.Generator
    ) -> AdversarialModel:
        """Train both networks from scratch, and keep the generator's moving average; InputError without items."""
        scaling = scaling_of(data.values, space)
        hidden = (self.hidden, self.hidden)
        with seeded(rng, self.device):
            rows = tensor(scaling.forward(data.values), self.device)
            generator = perceptron(self.latent, hidden, space.width, nn.ReLU())
            if space.bounds is not None:
                generator.append(nn.Tanh())
            critic = perceptron(space.width, hidden, 1, nn.LeakyReLU(0.2)).to(self.device)
            steps = self.steps * self.critic_steps
            batches = minibatches(len(rows), self.batch, steps, weights=weights, device=self.device)
            kept = self._play(generator.to(self.device), critic, (rows[batch] for batch in batches))
        return AdversarialModel(kept, scaling, self.latent, self.device)

    def _play(self, generator: nn.Module, critic: nn.Module, batches: Iterable[torch.Tensor]) -> nn.Module:
        """Train the critic on every batch, the generator on every `critic_steps`-th; returns the averaged generator."""
        average = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(_AVERAGING))
        critic_adam, critic_schedule = self._adam(critic, self.critic_rate, self.steps * self.critic_steps)
        adam, schedule = self._adam(generator, self.rate, self.steps)
        for step, real in enumerate(batches, start=1):
            with torch.no_grad():
                made = generator(self._latents(real))
            _descend(_critic_loss(critic, real, made, self.penalty), critic_adam, critic_schedule)
            if step % self.critic_steps == 0:
                _descend(-critic(generator(self._latents(real))).mean(), adam, schedule)
                average.update_parameters(generator)
        kept: nn.Module = average.module
        return kept

    def _adam(self, network: nn.Module, rate: float, steps: int) -> tuple[torch.optim.Adam, CosineAnnealingLR]:
        adam = torch.optim.Adam(network.parameters(), lr=rate, betas=(0.0, 0.9), fused=True)
        return adam, CosineAnnealingLR(adam, T_max=steps)

    def _latents(self, real: torch.Tensor) -> torch.Tensor:
        return torch.randn(len(real), self.latent, device=real.device)


def _critic_loss(critic: nn.Module, real: torch.Tensor, made: torch.Tensor, penalty: float) -> torch.Tensor:
    """Critic loss: mean score of generated items minus mean score of real items, plus the gradient penalty."""
    shares = torch.rand(len(real), 1, device=real.device)
    between = torch.lerp(real, made, shares).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    excess = (gradient.norm(dim=1) - 1).square().mean()
    made_scores, real_scores = critic(torch.cat([made, real])).chunk(2)
    loss: torch.Tensor = made_scores.mean() - real_scores.mean() + penalty * excess
    return loss


def _descend(loss: torch.Tensor, adam: torch.optim.Adam, schedule: CosineAnnealingLR) -> None:
    adam.zero_grad()
    loss.backward()
    adam.step()
    schedule.step()
