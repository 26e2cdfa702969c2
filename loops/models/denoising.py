"""Conditional denoising diffusion for any network: training, guidance and sampling (Ho et al. 2020)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from indexes.errors import InputError
from loops.models.bias import guidance_weight
from loops.models.training import Scaling, minibatches, optimise, scaling_of, seeded, tensor
from loops.samples import Samples, Space

__all__ = ["DenoisingModel", "class_labels", "fit_denoising"]

_DROPPED = 0.1  # share of the training items whose label is hidden (Ho & Salimans 2021; Alemohammad et al. 2024)
_AVERAGED = 0.1  # share of the training steps over which the parameters are averaged
_CHUNK = 2**19  # numbers sampled at once, which bounds the memory: 668 images of 28 × 28


def class_labels(data: Samples, space: Space) -> np.ndarray:
    """The labels (n,) of the training items; InputError if an item has no label from 0 to classes − 1."""
    if data.labels is None or space.classes < 1:
        raise InputError(
            "got items without labels, expected a label in 0..classes−1 for each: with one class, use label 0"
        )
    if data.n == 0:
        raise InputError("got no items to train on")
    low, high = int(data.labels.min()), int(data.labels.max())
    if low < 0 or high >= space.classes:
        raise InputError(f"got labels from {low} to {high}, expected labels in 0..{space.classes - 1}")
    return data.labels


@dataclass(frozen=True, slots=True)
class DenoisingModel:
    """A trained diffusion network, which predicts the velocity of noisy rows; label `classes` means no label."""

    network: nn.Module
    schedule: DDIMScheduler
    scaling: Scaling
    chances: np.ndarray  # (classes,): share of each label in the training set
    width: int
    device: str

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        """Draw labels by training frequency, then values by DDIM with guidance weight 1/λ − 1 for sampling bias λ.

        DDIM is the deterministic sampler of Song et al. (2021). Raises InputError for the sampling bias λ = 0, which
        would mean an infinite guidance weight.
        """
        guidance = guidance_weight(bias)
        labels = rng.choice(len(self.chances), size=n, p=self.chances)
        size = max(1, _CHUNK // self.width)
        with seeded(rng, self.device), torch.inference_mode():
            parts = [self._sample(tensor(labels[at : at + size], self.device), guidance) for at in range(0, n, size)]
        rows = np.concatenate(parts) if parts else np.empty((0, self.width), np.float32)
        return Samples(self.scaling.backward(rows), labels.astype(np.int64))

    def _sample(self, labels: torch.Tensor, guidance: float) -> np.ndarray:
        rows = torch.randn(len(labels), self.width, device=self.device)
        for time in self.schedule.timesteps.tolist():
            velocity = self._velocity(rows, torch.full_like(labels, time), labels, guidance)
            moved: Any = self.schedule.step(velocity, time, rows, use_clipped_model_output=True)
            rows = moved.prev_sample
        return rows.cpu().numpy()

    def _velocity(self, rows: torch.Tensor, times: torch.Tensor, labels: torch.Tensor, guidance: float) -> torch.Tensor:
        """Velocity with guidance weight w: (1 + w) · conditional − w · unconditional velocity (Ho & Salimans 2021)."""
        conditional: torch.Tensor = self.network(rows, times, labels)
        if guidance == 0:
            return conditional
        hidden = torch.full_like(labels, len(self.chances))
        return (1 + guidance) * conditional - guidance * self.network(rows, times, hidden)


def fit_denoising(
    build: Callable[[], nn.Module],
    data: Samples,
    *,
    space: Space,
    weights: np.ndarray | None,
    rng: np.random.Generator,
    steps: int,
    batch: int,
    rate: float,
    levels: int,
    sampling_steps: int,
    device: str,
) -> DenoisingModel:
    """Train the network from `build` to predict diffusion velocities; the returned model has averaged parameters.

    Training uses `levels` noise levels of a cosine schedule (Nichol & Dhariwal 2021) and velocity targets (Salimans &
    Ho 2022). Predicted images are clipped to the bounds of the data, if the data have bounds. Raises InputError if the
    items have no labels, or if `sampling_steps` does not divide `levels`.
    """
    labels = class_labels(data, space)
    if not 1 <= sampling_steps <= levels or levels % sampling_steps:
        raise InputError(f"got {sampling_steps} sampling steps, expected a divisor of the {levels} noise levels")
    schedule = DDIMScheduler(
        num_train_timesteps=levels,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",  # so that sampling starts from pure noise
        clip_sample=space.bounds is not None,
    )
    scaling = scaling_of(data.values, space)
    with seeded(rng, device), torch.backends.cudnn.flags(enabled=True, deterministic=True):
        network = build().to(device)
        averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(1 - 1 / (1 + _AVERAGED * steps)))
        clean, known = tensor(scaling.forward(data.values), device), tensor(labels, device)

        def loss(rows: torch.Tensor) -> torch.Tensor:
            noise, times = torch.randn_like(clean[rows]), torch.randint(levels, rows.shape, device=device)
            noisy = schedule.add_noise(clean[rows], noise, times)
            hides = torch.rand(rows.shape, device=device) < _DROPPED
            velocity = network(noisy, times, known[rows].masked_fill(hides, space.classes))
            return nn.functional.mse_loss(velocity, schedule.get_velocity(clean[rows], noise, times))

        batches = minibatches(len(clean), batch, steps, weights=weights, device=device)
        optimise(network.parameters(), loss, batches, steps=steps, rate=rate, average=averaged, source=network)
    schedule.set_timesteps(sampling_steps)
    counts = np.bincount(labels, weights, minlength=space.classes)
    return DenoisingModel(averaged.module.eval(), schedule, scaling, counts / counts.sum(), space.width, device)
