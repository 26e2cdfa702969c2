"""Conditional diffusion for vectors, with a residual multilayer perceptron."""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from loops.models.denoising import DenoisingModel, fit_denoising
from loops.samples import Samples, Space

__all__ = ["Diffusion"]

_FREQUENCIES = 32  # number of sines, and of cosines, that encode the time for the network
_OCTAVES, _NARROW = 4, 8  # frequencies per column, used up to 8 columns to keep fine detail sharp (Tancik 2020)
_PERIOD = 10_000.0  # longest period of the time encoding, in noise levels times 2π (Vaswani et al. 2017)


@dataclass(frozen=True)
class Diffusion:
    """A diffusion model for labelled vectors: a residual perceptron, sampled with classifier-free guidance."""

    reads: ClassVar[str] = "vectors"
    vectorised: ClassVar[bool] = False
    conditional: ClassVar[bool] = True
    bias_means: ClassVar[str] = "classifier-free guidance of weight w, λ = 1/(1 + w)"
    hidden: int = 128  # width of the network
    blocks: int = 3  # residual blocks, of two layers each
    steps: int = 1500  # Adam steps
    batch: int = 128  # items per step
    rate: float = 3e-3  # learning rate at the start; it falls to 0 along a cosine
    levels: int = 500  # noise levels in training
    sampling_steps: int = 50  # noise levels in sampling; a divisor of `levels`
    device: str = "cpu"

    def fit(
        self, data: Samples, *, space: Space, weights: np.ndarray | None, rng: np.random.Generator
    ) -> DenoisingModel:
        """Train a network from scratch to denoise the labelled data; InputError if the data have no labels or items."""
        return fit_denoising(
            partial(_Network, space, self.hidden, self.blocks),
            data,
            space=space,
            weights=weights,
            rng=rng,
            steps=self.steps,
            batch=self.batch,
            rate=self.rate,
            levels=self.levels,
            sampling_steps=self.sampling_steps,
            device=self.device,
        )


class _Network(nn.Module):
    """Residual blocks plus a linear path; the linear path is exact if each class is normal with independent columns."""

    def __init__(self, space: Space, hidden: int, blocks: int) -> None:
        super().__init__()
        self.octaves = _OCTAVES if space.width <= _NARROW else 0
        self.enter = nn.Linear(space.width * (1 + 2 * self.octaves), hidden)
        self.label = nn.Embedding(space.classes + 1, hidden)  # the last one: hidden
        self.time = nn.Sequential(nn.Linear(2 * _FREQUENCIES, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.blocks = nn.ModuleList(_Block(hidden) for _ in range(blocks))
        self.leave = nn.Linear(hidden, space.width)
        self.direct = nn.Linear(hidden, 2 * space.width)

    def forward(self, rows: torch.Tensor, times: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        condition = nn.functional.silu(self.time(_waves(times)) + self.label(labels))
        state = self.enter(_octaves(rows, self.octaves))
        for block in self.blocks:
            state = block(state, condition)
        gain, shift = self.direct(condition).chunk(2, dim=-1)
        found: torch.Tensor = self.leave(state) + gain * rows + shift
        return found


class _Block(nn.Module):
    """Two layers with a residual connection; diffusion time and class label scale and shift the input of the layers."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden, elementwise_affine=False)
        self.modulate = nn.Linear(hidden, 2 * hidden)
        self.layers = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))

    def forward(self, state: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        scale, shift = self.modulate(condition).chunk(2, dim=-1)
        changed: torch.Tensor = self.layers(self.norm(state) * (1 + scale) + shift)
        return state + changed


def _octaves(rows: torch.Tensor, count: int) -> torch.Tensor:
    """Rows (n, d) extended by sines and cosines of each column at `count` frequencies, each twice the previous one."""
    angles = [rows * (math.pi / 2 * 2**octave) for octave in range(count)]
    return torch.cat([rows, *(angle.sin() for angle in angles), *(angle.cos() for angle in angles)], dim=1)


def _waves(times: torch.Tensor) -> torch.Tensor:
    """Encode times (n,) as sines and cosines (n, 2 · frequencies)."""
    powers = torch.arange(_FREQUENCIES, device=times.device) / _FREQUENCIES
    angles = times[:, None] * torch.exp(-math.log(_PERIOD) * powers)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
