"""Shared code of the neural model families: seeding, scaling, batches, optimisation and decoding."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from indexes.errors import InputError
from loops.samples import Samples, Space

__all__ = ["Scaling", "decoded", "minibatches", "optimise", "perceptron", "scaling_of", "seeded", "tensor"]

_CHUNK = 4096  # items decoded at a time


@contextmanager
def seeded(rng: np.random.Generator, device: str) -> Iterator[None]:
    """Seed torch's global random generators from `rng` inside a `with` block, and restore them at the end."""
    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(rng.integers(2**63)))
        yield


def tensor(array: np.ndarray, device: str) -> torch.Tensor:
    """A tensor copy of the array on the device: int64 for integer arrays, else float32."""
    kind = torch.int64 if np.issubdtype(array.dtype, np.integer) else torch.float32
    return torch.tensor(np.ascontiguousarray(array), dtype=kind, device=device)


@dataclass(frozen=True, slots=True)
class Scaling:
    """Affine map from data to network inputs: bounded data are mapped to [−1, 1], other data are standardised."""

    centre: np.ndarray  # (width,) or ()
    scale: np.ndarray  # (width,) or ()
    bounds: tuple[float, float] | None

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Convert data (n, width) to the scaled float32 values that a network uses."""
        return ((values - self.centre) / self.scale).astype(np.float32)

    def backward(self, values: np.ndarray) -> np.ndarray:
        """Convert network values (n, width) back to the units of the data, clipped to the data's bounds (if any)."""
        found = values.astype(np.float64) * self.scale + self.centre
        return (found if self.bounds is None else np.clip(found, *self.bounds)).astype(np.float32)


def scaling_of(values: np.ndarray, space: Space) -> Scaling:
    """Scaling by the bounds of the space; without bounds, by the mean and standard deviation of each column."""
    if len(values) == 0:
        raise InputError("got no items to train on")
    if space.bounds is not None:
        low, high = space.bounds
        return Scaling(np.array((low + high) / 2), np.array((high - low) / 2), space.bounds)
    spread = values.std(0, dtype=np.float64)
    floor = max(1e-6 * float(spread.max()), 1e-12)  # a constant column, or a collapsed model's data
    return Scaling(values.mean(0, dtype=np.float64), np.maximum(spread, floor), None)


def perceptron(entering: int, hidden: Iterable[int], leaving: int, activation: torch.nn.Module) -> torch.nn.Sequential:
    """A multilayer perceptron; all layers share one activation module, which must have no parameters."""
    sizes = [entering, *hidden]
    layers: list[torch.nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [torch.nn.Linear(before, after), activation]
    return torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], leaving))


def minibatches(n: int, size: int, steps: int, *, weights: np.ndarray | None, device: str) -> Iterator[torch.Tensor]:
    """Yield `steps` batches of row numbers: shuffled epochs, or draws in proportion to `weights` if given."""
    if n == 0:
        raise InputError("got no items to train on")
    if weights is not None:
        chances = tensor(weights / weights.sum(), device)
        for _ in range(steps):
            yield torch.multinomial(chances, min(size, n), replacement=True)
        return
    order, at = torch.randperm(n, device=device), 0
    for _ in range(steps):
        if at + min(size, n) > n:
            order, at = torch.randperm(n, device=device), 0
        yield order[at : at + size]
        at += size


def optimise(
    parameters: Iterable[torch.nn.Parameter],
    loss: Callable[[torch.Tensor], torch.Tensor],
    batches: Iterable[torch.Tensor],
    *,
    steps: int,
    rate: float,
    average: torch.optim.swa_utils.AveragedModel | None = None,
    source: torch.nn.Module | None = None,
) -> None:
    """Run Adam with a cosine decay of the learning rate; each step updates the moving average `average`, if given."""
    kept = list(parameters)
    optimiser = torch.optim.Adam(kept, lr=rate, fused=True)  # five times faster on a CPU with many small tensors
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=max(1, steps))
    for rows in batches:
        optimiser.zero_grad(set_to_none=True)
        loss(rows).backward()
        torch.nn.utils.clip_grad_norm_(kept, 1.0)
        optimiser.step()
        schedule.step()
        if average is not None and source is not None:
            average.update_parameters(source)


@torch.no_grad()
def decoded(
    decode: Callable[[torch.Tensor], torch.Tensor],
    scaling: Scaling,
    n: int,
    *,
    width: int,
    deviation: float,
    rng: np.random.Generator,
    device: str,
) -> Samples:
    """Decode n normal latents of standard deviation `deviation` to items (n, width); InputError if not finite."""
    with seeded(rng, device):
        latents = deviation * torch.randn(n, width, device=device)
        made = np.concatenate([decode(chunk).cpu().numpy() for chunk in latents.split(_CHUNK)])
    if not np.isfinite(made).all():
        raise InputError(
            "the model makes values that are not finite because training diverged: lower the learning rate"
        )
    return Samples(scaling.backward(made))
