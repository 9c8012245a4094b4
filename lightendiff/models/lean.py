"""The encoder and decoder of the `default` preset: small, local, and quick on a CPU.

Both are built from dense 3×3 convolutions, which CPUs and GPUs run at their best, and see only a neighbourhood:
nothing in them depends on statistics of the whole picture except the scalar `mean`, so they can run in tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .content_transfer import Skips

LIFT = 0.45  # exponent of the gamma-lifted copy, which spreads dark tones as the eye does
TARGET_MEAN = 0.4  # the scaled copy brings a dark picture's mean here
MAX_SCALE = 32.0  # noise of darker pictures than that isn't worth lifting further
LOG_GAIN_RANGE = 3.0  # the decoder moves the gain by at most e^±3 from the scaled copy's


class PixelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each position of (b, c, h, w): local, unlike group normalisation."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """x + conv3×3(SiLU(conv3×3(norm(x))))."""

    def __init__(self, channels: int, normalise: bool) -> None:
        super().__init__()
        self.norm = PixelNorm(channels) if normalise else nn.Identity()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.normal_(self.conv2.weight, std=0.1 * (channels * 9) ** -0.5)  # start close to the identity
        _zero_bias(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(self.norm(x))))


def _levels(channels: Sequence[int], blocks: Sequence[int]) -> nn.ModuleList:
    """The blocks at ½, ¼, ⅛; normalised except at the first level, where it would cost as much as it gives."""
    return nn.ModuleList(
        nn.Sequential(*(ResidualBlock(width, normalise=level > 0) for _ in range(count)))
        for level, (width, count) in enumerate(zip(channels, blocks, strict=True))
    )


class LeanEncoder(nn.Module):
    """A pyramid of features at ½, ¼ and ⅛, and a latent from a small branch of its own.

    Args:
        latent_channels: channels of the latent.
        channels: widths at ½, ¼, ⅛.
        blocks: residual blocks at each of these levels.
        condition_features: channels of the deepest features that join the latent in the UNet's condition.
    """

    def __init__(
        self, latent_channels: int, channels: Sequence[int], blocks: Sequence[int], condition_features: int
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(6 * 4 + 1, channels[0], 3, padding=1)
        self.levels = _levels(channels, blocks)
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(channels))
        self.to_latent = nn.Sequential(
            nn.PixelUnshuffle(8),
            nn.Conv2d(3 * 64, 64, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(64, latent_channels, 3, padding=1),
        )
        self.to_condition = nn.Conv2d(channels[-1], condition_features, 1)

    def latent(self, image: Tensor) -> Tensor:
        """Latent (b, c, h/8, w/8) in [0, 1] of an image (b, 3, h, w): the branch alone, for training targets.

        Its first three channels start out as a thumbnail of the lifted picture, so that it carries exposure and
        colour from the first step on; without that, the decoder learns to do without it.
        """
        lifted = _lift(image)
        logits = self.to_latent(lifted).float()
        thumbnail = 4.0 * F.avg_pool2d(lifted, 8) - 2.0
        return torch.sigmoid(torch.cat([logits[:, :3] + thumbnail, logits[:, 3:]], dim=1))

    def freeze_latent(self) -> None:
        """Stop training the branch that makes latents; the pyramid trains on."""
        self.to_latent.requires_grad_(False)

    def forward(self, image: Tensor, mean: Tensor) -> tuple[Tensor, Skips]:
        mean = mean.float().view(-1, 1, 1, 1).clamp(min=1e-4)
        scale = (TARGET_MEAN / mean).clamp(1.0, MAX_SCALE)
        scaled = image * scale
        planes = F.pixel_unshuffle(torch.cat([_lift(image), scaled / (1.0 + scaled)], dim=1), 2)
        level_mean = (torch.log2(mean) / 8.0).expand(-1, 1, *planes.shape[2:])
        x = self.stem(torch.cat([planes, level_mean], dim=1))
        features = []
        for i, level in enumerate(self.levels):
            x = level(x if i == 0 else self.downs[i - 1](x))
            features.append(x)
        return self.latent(image), [image, scale, *features]

    def condition(self, latent: Tensor, skips: Skips) -> Tensor:
        return torch.cat([2.0 * latent - 1.0, self.to_condition(skips[-1]).float()], dim=1)


class LeanDecoder(nn.Module):
    """Renders the pyramid at a latent's exposure, as a gain on the dark picture and a residual.

    output = image · scale · exp(g) + r, with g bounded smoothly: what needs no change starts out unchanged.

    Args:
        latent_channels: channels of the latent.
        channels: widths at ½, ¼, ⅛, as the encoder's.
        blocks: residual blocks at each of these levels.
    """

    def __init__(self, latent_channels: int, channels: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        deepest = channels[-1]
        self.modulation = nn.Sequential(
            nn.Conv2d(latent_channels, 64, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(64, 2 * deepest, 1),
        )
        self.levels = _levels(channels, blocks)
        pairs = list(pairwise(channels))
        self.ups = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in pairs)
        self.merges = nn.ModuleList(nn.Conv2d(2 * a, a, 1) for a, _ in pairs)
        self.head = nn.Conv2d(channels[0], 6 * 4, 3, padding=1)
        nn.init.normal_(self.head.weight, std=1e-3)
        _zero_bias(self.head)

    def forward(self, latent: Tensor, skips: Skips) -> Tensor:
        image, scale, *features = skips
        gain, shift = self.modulation(2.0 * latent - 1.0).chunk(2, dim=1)
        x = self.levels[-1](features[-1] * (1.0 + gain) + shift)
        for i in reversed(range(len(self.ups))):
            x = F.pixel_shuffle(self.ups[i](x), 2)
            x = self.levels[i](self.merges[i](torch.cat([x, features[i]], dim=1)))
        log_gain, residual = F.pixel_shuffle(self.head(x), 2).float().chunk(2, dim=1)
        bounded = LOG_GAIN_RANGE * torch.tanh(log_gain / LOG_GAIN_RANGE)
        return image * scale * torch.exp(bounded) + residual


def _zero_bias(conv: nn.Conv2d) -> None:
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)


def _lift(image: Tensor) -> Tensor:
    # The offset keeps the slope at black finite, for gradients that reach the input.
    return (image + 1e-3) ** LIFT
