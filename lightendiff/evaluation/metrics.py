"""PSNR and SSIM as the field reports them on low-light benchmarks.

Pictures are (b, 3, h, w) in [0, 1]; both are rounded to 8 bits before they are compared, as files would be.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..runtime.extras import needing

with needing("evaluate", "measuring"):
    from torchmetrics.functional.image import structural_similarity_index_measure


def quantise(image: Tensor) -> Tensor:
    """`image` clamped to [0, 1] and rounded to 8 bits, as float32."""
    return (image.float().clamp(0.0, 1.0) * 255.0).round() / 255.0


def psnr(prediction: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over RGB in dB, one value a picture: (b,). Identical pictures give infinity.

    Both are (b, 3, h, w) in [0, 1].

    Example:
        >>> black, grey = torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.2)
        >>> psnr(black, grey)  # 20·log₁₀(1/0.2)
        tensor([13.9794])
    """
    error = ((quantise(prediction) - quantise(target)) ** 2).mean(dim=(1, 2, 3))
    return -10.0 * torch.log10(error)


def ssim(prediction: Tensor, target: Tensor) -> Tensor:
    """Structural similarity (Wang et al., 2004), averaged over RGB; one value a picture: (b,).

    The Gaussian window (σ = 1.5) of 11 pixels is put wherever it fits into the picture, as in scikit-image; pictures
    must be at least that large. (torchmetrics 1.9 also averages where the window sticks out over mirrored pixels.)
    Both are (b, 3, h, w) in [0, 1].

    Raises:
        ValueError: `target` has fewer than 11 pixels to a side.

    Example:
        >>> picture = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
        >>> round(ssim(picture, picture).item(), 4), ssim(1 - picture, picture).item() < 0.5
        (1.0, True)
    """
    if min(target.shape[2:]) < 11:
        raise ValueError(f"target: expected at least 11×11 pixels, got {tuple(target.shape)}")
    _, everywhere = structural_similarity_index_measure(
        quantise(prediction), quantise(target), data_range=1.0, sigma=1.5, kernel_size=11, return_full_image=True
    )
    return everywhere[..., 5:-5, 5:-5].mean(dim=(1, 2, 3))


def brightness_matched(prediction: Tensor, target: Tensor) -> Tensor:
    """`prediction` times mean(target)/mean(prediction), picture by picture ("GT-mean").

    Both are (b, 3, h, w) in [0, 1], and so is the result. Figures computed on it are another quantity than the plain
    ones: label them.
    """
    factor = target.mean(dim=(1, 2, 3), keepdim=True) / prediction.mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)
    return (prediction * factor).clamp(0.0, 1.0)
