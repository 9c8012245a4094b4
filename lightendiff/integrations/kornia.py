"""A module on batches (b, 3, h, w) in [0, 1], kornia's convention, through which gradients pass."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from ..diffusion.options import Sampling
from ..pipeline import SHIPPED_WEIGHTS
from ..restorer import Restorer, context_noise
from ..weights.load import load


class LightenModule(nn.Module):
    """Restores dark pictures within a network or an augmentation pipeline.

    It composes with kornia's `ImageSequential` and `AugmentationSequential` and with `nn.Sequential`, moves with
    `.to(device)`, and works under `torch.compile` and `torch.export`. Its weights are frozen; gradients reach the input
    where that requires them. All pictures start from the same noise, which is part of the module.

    Args:
        weights: path as in `LightenPipeline.from_pretrained`, or a restorer; None for the weights of the package.
        num_inference_steps: None for what the weights were made for.
        exposure: stops by which results are brighter than the automatic choice, from -3 to 3.
        dtype: precision of the networks: float32, bfloat16 or float16.
        seed: of the noise.

    Raises:
        ValueError: an option is out of its range, or the architecture has no limit to what its UNet sees, so that no
            fixed noise would suffice.

    Example:
        >>> dark = torch.full((1, 3, 48, 64), 0.05, requires_grad=True)
        >>> restored = LightenModule()(dark)
        >>> bool(restored.mean() > 3 * dark.mean())
        True
        >>> restored.mean().backward()
        >>> dark.grad.shape
        torch.Size([1, 3, 48, 64])
    """

    noise: Tensor

    def __init__(
        self,
        weights: str | Path | Restorer | None = None,
        num_inference_steps: int | None = None,
        exposure: float = 0.0,
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
    ) -> None:
        super().__init__()
        restorer = weights if isinstance(weights, Restorer) else load(weights or SHIPPED_WEIGHTS)
        noise = context_noise("weights", restorer.config, seed)
        self.restorer = copy.copy(restorer)  # shares the weights, but has a precision of its own
        self.restorer.eval().requires_grad_(False)
        self.restorer.autocast_dtype = None if dtype == torch.float32 else dtype
        self.sampling = Sampling(num_inference_steps, exposure=exposure)
        self.restorer.check(self.sampling)
        self.register_buffer("noise", noise, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """(b, 3, h, w) float in [0, 1] → the same, restored."""
        b, _, h, w = self.restorer.noise_shape(image)
        noise = self.noise[..., :h, :w].expand(b, -1, -1, -1)
        restored: Tensor = self.restorer(image, self.sampling, noise=noise).to(image.dtype)
        return restored
