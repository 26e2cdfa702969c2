"""A normalizing flow made of coupling layers."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from zuko.flows import RealNVP
from zuko.transforms import MonotonicRQSTransform

from loops.models.bias import check_bias
from loops.models.training import Scaling, decoded, minibatches, optimise, scaling_of, seeded, tensor
from loops.samples import Samples, Space

__all__ = ["Flow", "FlowModel"]

_BINS = 8  # bins of the splines for a single column
_FEW = 3  # columns; up to this number random masks would often leave a column unchanged


@dataclass(frozen=True, slots=True)
class FlowModel:
    """The fitted invertible map between items and standard normal latents of the same width."""

    flow: Any  # a zuko Flow
    scaling: Scaling
    width: int
    device: str

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        """Generate n items from latents drawn from N(0, λI) with sampling bias λ; λ = 0 uses only the latent mean."""
        return decoded(
            self.flow().transform.inv,
            self.scaling,
            n,
            width=self.width,
            deviation=math.sqrt(check_bias(bias)),
            rng=rng,
            device=self.device,
        )


@dataclass(frozen=True)
class Flow:
    """A normalizing flow of affine coupling layers (Dinh et al. 2017), or of splines for items with one column."""

    reads: ClassVar[str] = "vectors"
    vectorised: ClassVar[bool] = False
    conditional: ClassVar[bool] = False
    bias_means: ClassVar[str] = "the latent is drawn from N(0, λI)"
    layers: int = 8  # couplings, each changing half of the columns given the others
    hidden: int = 128  # width of each coupling's network, of two hidden layers
    steps: int = 600  # Adam steps
    batch: int = 256  # items per step
    rate: float = 5e-3  # learning rate at the start; it falls to 0 along a cosine
    noise: float = 0.05  # standard deviation of noise on bounded training items, as a share of half the range
    device: str = "cpu"

    def fit(self, data: Samples, *, space: Space, weights: np.ndarray | None, rng: np.random.Generator) -> FlowModel:
        """Train a flow from scratch by maximum likelihood; InputError if there are no items.

        Bounded items, such as pixels, have many equal values, which would make the likelihood unbounded. Training adds
        Gaussian noise to bounded items; clipping the samples to the bounds removes most of the noise.
        """
        scaling = scaling_of(data.values, space)
        noise = 0.0 if space.bounds is None else self.noise
        with seeded(rng, self.device):
            rows = tensor(scaling.forward(data.values), self.device)
            flow = self._network(space.width).to(self.device)

            def loss(batch: torch.Tensor) -> torch.Tensor:
                seen = rows[batch] + noise * torch.randn(len(batch), space.width, device=self.device)
                negative: torch.Tensor = -flow().log_prob(seen).mean() / space.width
                return negative

            batches = minibatches(len(rows), self.batch, self.steps, weights=weights, device=self.device)
            optimise(flow.parameters(), loss, batches, steps=self.steps, rate=self.rate)
        return FlowModel(flow, scaling, space.width, self.device)

    def _network(self, width: int) -> Any:
        if width == 1:  # no other column to couple with: each layer maps the single column
            shapes = ((_BINS,), (_BINS,), (_BINS - 1,))
            return RealNVP(1, transforms=self.layers, univariate=MonotonicRQSTransform, shapes=shapes)
        hidden = (self.hidden, self.hidden)
        return RealNVP(width, transforms=self.layers, randmask=width > _FEW, hidden_features=hidden)
