"""Conditional diffusion for images, with a U-Net (Ronneberger et al. 2015; Ho et al. 2020)."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from indexes.encoders.open_clip import import_open_clip
from indexes.errors import InputError
from loops.models.denoising import DenoisingModel, fit_denoising
from loops.samples import Samples, Space

__all__ = ["UNetDiffusion"]

_GROUPS = 4  # groups of channels, each normalised separately
_PADDED = 8  # largest padded side, in multiples of the image's larger side


@dataclass(frozen=True)
class UNetDiffusion:
    """A diffusion model for labelled images: a U-Net, sampled with classifier-free guidance."""

    reads: ClassVar[str] = "vectors"
    vectorised: ClassVar[bool] = False
    conditional: ClassVar[bool] = True
    bias_means: ClassVar[str] = "classifier-free guidance of weight w, λ = 1/(1 + w)"
    channels: int = 16  # at full resolution, a multiple of 4; twice as many at each halving of the size
    halvings: int = 1  # of height and width
    layers: int = 1  # residual blocks at each size, going down; one more going up
    steps: int = 1000  # Adam steps
    batch: int = 32  # images per step
    rate: float = 2e-3  # learning rate at the start; it falls to 0 along a cosine
    levels: int = 500  # noise levels in training
    sampling_steps: int = 25  # noise levels in sampling; a divisor of `levels`
    device: str = "cpu"

    def fit(
        self, data: Samples, *, space: Space, weights: np.ndarray | None, rng: np.random.Generator
    ) -> DenoisingModel:
        """Train a network from scratch to denoise labelled images; InputError if there are no images or labels."""
        if space.image is None:
            raise InputError("unet-diffusion needs images, but the items are not images: use the family diffusion")
        if self.channels < 1 or self.channels % _GROUPS or self.halvings < 0:
            raise InputError(
                f"got {self.channels} channels and {self.halvings} halvings, "
                f"expected channels as a multiple of {_GROUPS}, and halvings >= 0"
            )
        if 2**self.halvings > _PADDED * max(space.image[1:]):
            raise InputError(
                f"got {self.halvings} halvings for images of {space.image[1:]} pixels, expected fewer halvings"
            )
        widths = tuple(self.channels * 2**halving for halving in range(self.halvings + 1))
        return fit_denoising(
            partial(_Network, space.image, space.classes, widths, self.layers),
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
    """A U-Net with flat rows as input and output; images are zero-padded to a size that can be halved repeatedly."""

    def __init__(self, image: tuple[int, int, int], classes: int, widths: tuple[int, ...], layers: int) -> None:
        super().__init__()
        import_open_clip()  # makes a torchvision built for another torch importable; the next line imports it
        from diffusers.models.unets.unet_2d import UNet2DModel

        self.image = image
        self.multiple = 2 ** (len(widths) - 1)
        self.unet = UNet2DModel(
            in_channels=image[0],
            out_channels=image[0],
            block_out_channels=widths,
            down_block_types=("DownBlock2D",) * len(widths),
            up_block_types=("UpBlock2D",) * len(widths),
            layers_per_block=layers,
            norm_num_groups=_GROUPS,
            add_attention=False,  # its gradient on CUDA differs from run to run
            num_class_embeds=classes + 1,  # the last one: hidden
        ).to(memory_format=torch.channels_last)

    def forward(self, rows: torch.Tensor, times: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        _, height, width = self.image
        images = rows.reshape(-1, *self.image)
        images = nn.functional.pad(images, (0, -width % self.multiple, 0, -height % self.multiple))
        with torch.autocast(rows.device.type, torch.bfloat16, enabled=rows.is_cuda):
            images = images.contiguous(memory_format=torch.channels_last)
            found: torch.Tensor = self.unet(images, times, class_labels=labels).sample
        return found[:, :, :height, :width].reshape(rows.shape).float()
