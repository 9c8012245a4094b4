"""Losses on images, on latents and on the latent Retinex decomposition. All take (b, c, h, w) and return a scalar.

A stage takes its losses as objects, which a configuration describes by their fields. Calling one gives what is added
to the total, its weight included.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F


def charbonnier(prediction: Tensor, target: Tensor, eps: float = 1e-3) -> Tensor:
    """Mean of √((prediction − target)² + eps²) − eps: L1 that is smooth at zero."""
    return (torch.sqrt((prediction - target) ** 2 + eps**2) - eps).mean()


def ssim_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """1 − SSIM (Wang et al., 2004; 11-pixel Gaussian window, σ = 1.5, range 1), evaluated at every second position.

    The stride makes it 14 times faster on a CPU than kornia's and changes the value by less than the noise of one
    crop; measure with `lightendiff.evaluation.metrics.ssim`.
    """
    channels = prediction.shape[1]
    offsets = torch.arange(11, device=prediction.device, dtype=prediction.dtype) - 5.0
    window = torch.exp(-(offsets**2) / (2 * 1.5**2))
    window = window[:, None] * window[None, :]
    kernel = (window / window.sum()).expand(4 * channels, 1, 11, 11)
    moments = torch.cat([prediction, target, prediction**2 + target**2, prediction * target], dim=1)
    moments = moments.contiguous(memory_format=torch.channels_last)
    mean_p, mean_t, squares, product = F.conv2d(moments, kernel, stride=2, groups=4 * channels).chunk(4, dim=1)
    means, mean_squares = mean_p * mean_t, mean_p**2 + mean_t**2
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * means + c1) / (mean_squares + c1)
    structure = (2 * (product - means) + c2) / (squares - mean_squares + c2)
    return 1.0 - (luminance * structure).mean()


def match_brightness(prediction: Tensor, target: Tensor) -> Tensor:
    """`prediction` scaled, picture by picture, to the mean of `target`; the factor carries no gradient."""
    mean = prediction.detach().mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-3)
    factor = target.mean(dim=(1, 2, 3), keepdim=True) / mean
    return prediction * factor.clamp(0.25, 4.0)


class Loss:
    """Base of the losses, whose fields are weights, shares and powers of at least 0."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value is not None and value < 0:
                raise ValueError(f"{field.name}: expected at least 0, got {value}")


@dataclass(frozen=True)
class ImageLoss(Loss):
    """Charbonnier + ssim · (1 − SSIM), of a picture and, with the share `matched`, of its brightness-matched copy.

    The exposure that a photographer would have chosen can't be known from a dark picture, so the plain error is
    mostly exposure; the brightness-matched term (the idea of the GT-mean loss, Liao et al., 2025) keeps the
    gradient of everything else from drowning in it.

    Attributes:
        ssim: weight of 1 − SSIM beside the Charbonnier loss.
        matched: share of the brightness-matched copy, from 0 to 1.
    """

    ssim: float = 0.3
    matched: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.matched > 1:
            raise ValueError(f"matched: expected from 0 to 1, got {self.matched}")

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        if self.matched == 0:
            return self._fidelity(prediction, target)
        matched = self._fidelity(match_brightness(prediction, target), target)
        return (1 - self.matched) * self._fidelity(prediction, target) + self.matched * matched

    def _fidelity(self, image: Tensor, target: Tensor) -> Tensor:
        return charbonnier(image, target) + self.ssim * ssim_loss(image, target)


@dataclass(frozen=True)
class LatentLoss(Loss):
    """Mean squared error of a sampled latent.

    Attributes:
        weight: beside the image loss.
    """

    weight: float = 1.0

    def __call__(self, sampled: Tensor, target: Tensor) -> Tensor:
        return self.weight * F.mse_loss(sampled, target)


@dataclass(frozen=True)
class ConsistencyLoss(Loss):
    """L1 distance of a sampled latent to R ⊙ L^power of the dark picture (LightenDiffusion, eq. 10).

    Attributes:
        weight: beside the diffusion loss.
        power: of the illumination; below 1 it brightens.
    """

    weight: float = 0.001
    power: float = 0.2

    def __call__(self, sampled: Tensor, reflectance: Tensor, illumination: Tensor) -> Tensor:
        return self.weight * F.l1_loss(sampled, (reflectance * illumination**self.power).float())


@dataclass(frozen=True)
class RetinexLoss(Loss):
    """The latent Retinex losses of LightenDiffusion (section 3.2) for several exposures of one scene.

    Attributes:
        weight: of their sum (the paper's λ); 0 leaves the decomposition untrained.
        smoothness: weight in the sum of the term that lets illumination change only where reflectance does. At the
            paper's 0.1 the sum is smallest with the content in the illumination.
        shapes_latent_from: step from which they train the encoder, too, as in the paper from 0 on; None for never. They
            are smallest for a constant latent, and a latent that starts small collapses to one under them.
    """

    weight: float = 0.1
    smoothness: float = 0.8
    shapes_latent_from: int | None = None

    def __call__(self, latents: list[Tensor], parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Of the latents Fⁱ, (b, c, h, w) each, and their (reflectance Rⁱ, illumination Lⁱ)."""
        terms = retinex_losses(latents, parts)
        return self.weight * (terms["reconstruction"] + terms["reflectance"] + self.smoothness * terms["smoothness"])


def retinex_losses(latents: list[Tensor], parts: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """The latent Retinex losses of LightenDiffusion for several exposures of one scene.

    Args:
        latents: the latents Fⁱ, (b, c, h, w) each.
        parts: their (reflectance Rⁱ, illumination Lⁱ).

    Returns:
        `reconstruction` Σᵢⱼ ‖Fʲ − Rⁱ ⊙ Lʲ‖₁, `reflectance` Σ ‖Rⁱ − Rʲ‖₁ over neighbours, and `smoothness`
        Σ ‖∇Lⁱ · exp(−10 ∇Rⁱ)‖₁: illumination may only change where reflectance does.
    """
    count = len(latents)
    reconstruction = sum(
        (F.l1_loss(parts[i][0] * parts[j][1], latents[j]) for i in range(count) for j in range(count)),
        start=latents[0].new_zeros(()),
    )
    reflectance = sum(
        (F.l1_loss(parts[i][0], parts[i + 1][0]) for i in range(count - 1)), start=latents[0].new_zeros(())
    )
    smoothness = sum((_smoothness(r, light) for r, light in parts), start=latents[0].new_zeros(()))
    return {"reconstruction": reconstruction, "reflectance": reflectance, "smoothness": smoothness}


def _smoothness(reflectance: Tensor, illumination: Tensor) -> Tensor:
    total = illumination.new_zeros(())
    for dim in (2, 3):
        edges = reflectance.mean(dim=1, keepdim=True).diff(dim=dim).abs()
        total = total + (illumination.diff(dim=dim).abs() * torch.exp(-10.0 * edges)).mean()
    return total


def decomposition_figures(
    latents: list[Tensor], parts: list[tuple[Tensor, Tensor]], brighter: Tensor | float = 1.0
) -> dict[str, Tensor]:
    """What tells a decomposition from a degenerate one, of a dark picture and then a bright one; `brighter` (b,) is -1
    where it's the other way round.

    `latent_std` and `reflectance_std`: the smaller of both pictures' standard deviations over positions, near 0 for
    a constant latent or a saturated reflectance; `illumination_gain`: mean L of the bright one minus that of the dark.
    """

    def deviation(values: list[Tensor]) -> Tensor:
        return torch.stack([value.detach().std(dim=(2, 3)).mean() for value in values]).amin()

    (dark_r, dark_l), (bright_r, bright_l) = parts
    return {
        "latent_std": deviation(latents),
        "reflectance_std": deviation([dark_r, bright_r]),
        "illumination_gain": (brighter * (bright_l - dark_l).detach().mean(dim=(1, 2, 3))).mean(),
    }
