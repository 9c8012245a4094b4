"""The encoder and decoder of the `default` preset: small, local, and quick on a CPU.

The latent is the picture's own thumbnail: block means of the gamma-lifted picture at ⅛ resolution. It says how bright
and which colour every place is, and nothing else; all detail comes through the skips. So the diffusion model answers
one question only, what the restored thumbnail looks like, and whoever moves the thumbnail moves exposure and colour.

Encoder and decoder are built from dense 3×3 convolutions, which CPUs and GPUs run at their best, and see only a
neighbourhood: nothing in them depends on statistics of the whole picture except the scalar `mean`, so they can run in
tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..tone import BLACK, LIFT, lift, unlift
from .autoencoder import Skips

LATENT_CHANNELS = 3
FACTOR = 8  # pixels to a side of what one latent position stands for
TARGET_MEAN = 0.4  # the scaled copy brings a dark picture's mean here
MAX_SCALE = 32.0  # noise of darker pictures than that isn't worth lifting further
MAX_LOG_GAIN = 4.5  # a thumbnail lifts a dark block at most 90 times; beyond that there is only noise
WHITE = 0.86, 0.94  # code values from which a pixel begins to count as white, and is wholly white
WHITE_SLACK = 0.15  # log gain below 0 that is taken for an error, not for a wish that white become darker
LOG_GAIN_RANGE = 2.0  # the decoder moves the gain by at most e^±2 from the thumbnail's


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
        return x + self.conv2(F.silu(self.conv1(self.norm(x)), inplace=True))


def _levels(channels: Sequence[int], blocks: Sequence[int]) -> nn.ModuleList:
    """The blocks at ½, ¼, ⅛, …; normalised except at the first level, where it would cost as much as it gives."""
    return nn.ModuleList(
        nn.Sequential(*(ResidualBlock(width, normalise=level > 0) for _ in range(count)))
        for level, (width, count) in enumerate(zip(channels, blocks, strict=True))
    )


class LeanEncoder(nn.Module):
    """A pyramid of features at ½, ¼, ⅛ and so on, and the thumbnail as the latent.

    Args:
        channels: widths at ½, ¼, ⅛, …
        blocks: residual blocks at each of these levels.
        condition_features: channels that join the latent in the UNet's condition.
    """

    def __init__(self, channels: Sequence[int], blocks: Sequence[int], condition_features: int) -> None:
        super().__init__()
        self.multiple = max(FACTOR, 2 ** len(channels))
        self.stem = nn.Conv2d(6 * 4 + 1, channels[0], 3, padding=1)
        self.levels = _levels(channels, blocks)
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(channels))
        self.to_condition = nn.Sequential(
            nn.Conv2d(6 * FACTOR**2 + 1, 2 * condition_features, 1),
            nn.SiLU(),
            nn.Conv2d(2 * condition_features, condition_features, 3, padding=1),
        )

    def forward(self, image: Tensor, mean: Tensor) -> tuple[Tensor, Skips]:
        lifted = lift(image)
        x = self.stem(_planes(image, lifted, mean, 2))
        features = []
        for i, level in enumerate(self.levels):
            x = level(x if i == 0 else self.downs[i - 1](x))
            features.append(x)
        return _thumbnail(lifted).clamp(max=1.0), [image, *features]

    def latent(self, image: Tensor) -> Tensor:
        """The thumbnail (b, 3, h/8, w/8) in [0, 1] of an image (b, 3, h, w): block means of its lifted tones."""
        return _thumbnail(lift(image)).clamp(max=1.0)

    def condition(self, image: Tensor, latent: Tensor, mean: Tensor) -> Tensor:
        """The thumbnail, scaled to a fixed mean as a first guess of the restored one, and learned features."""
        guess = lift(_rolled_off(unlift(latent.float()) * _scale(mean))).clamp(max=1.0)
        features = self.to_condition(_planes(image, lift(image), mean, FACTOR))
        return torch.cat([2.0 * guess - 1.0, features.float()], dim=1)

    def relight(self, latent: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        return lift(change(unlift(latent))).clamp(max=1.0)

    def enlarge(self, restored: Tensor, small: Tensor, large: Tensor) -> Tensor:
        # What is enlarged is the gain, which is smooth; the detail of the thumbnail is the picture's own.
        gain = _log_ratio(restored, small)
        return (large * F.interpolate(gain, size=large.shape[2:], mode="bilinear").exp()).clamp(max=1.0)

    def freeze_latent(self) -> None:
        """Nothing here decides what latents are: they aren't learned."""


class LeanDecoder(nn.Module):
    """Renders the pyramid at a latent's exposure and colour.

    The ratio of the wanted thumbnail to the picture's own, interpolated, is a first gain; the network refines it and
    adds a residual: output = image · exp(gain + g) + r, with all gains bounded smoothly. What needs no change starts
    out unchanged. White stays white, unless the latent asks for much darker: no picture is too dark there.

    Args:
        channels: widths at ½, ¼, ⅛, …, as the encoder's; at least these three.
        blocks: residual blocks at each of these levels.
    """

    def __init__(self, channels: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.modulation = nn.Sequential(nn.Conv2d(2 * LATENT_CHANNELS, 64, 3, padding=1), nn.SiLU())
        self.modulate = nn.ModuleList(
            nn.Conv2d(64, 2 * width, 2**depth, stride=2**depth) for depth, width in enumerate(channels[2:])
        )
        self.levels = _levels(channels, blocks)
        pairs = list(pairwise(channels))
        self.ups = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in pairs)
        joined = [2 * a + (3 * 4 if i == 0 else 0) for i, (a, _) in enumerate(pairs)]
        self.merges = nn.ModuleList(nn.Conv2d(c, a, 1) for c, (a, _) in zip(joined, pairs, strict=True))
        self.head = nn.Conv2d(channels[0], 6 * 4, 3, padding=1)
        nn.init.normal_(self.head.weight, std=1e-3)
        _zero_bias(self.head)

    def forward(self, latent: Tensor, skips: Skips) -> Tensor:
        image, *features = skips
        gain = _bounded(_log_ratio(latent, _thumbnail(lift(image))) / LIFT, MAX_LOG_GAIN)
        asked = F.interpolate(gain, scale_factor=float(FACTOR), mode="bilinear")
        rendered = _rolled_off(image * torch.exp(asked))

        wanted = self.modulation(torch.cat([2.0 * latent - 1.0, gain], dim=1))
        for depth, modulate in enumerate(self.modulate):
            factor, shift = modulate(wanted).chunk(2, dim=1)
            features[2 + depth] = features[2 + depth] * (1.0 + factor) + shift
        x = self.levels[-1](features[-1])
        for i in reversed(range(len(self.ups))):
            parts = [F.pixel_shuffle(self.ups[i](x), 2), features[i]]
            if i == 0:
                parts.append(F.pixel_unshuffle(rendered, 2).to(x.dtype))
            x = self.levels[i](self.merges[i](torch.cat(parts, dim=1)))
        log_gain, residual = F.pixel_shuffle(self.head(x), 2).float().chunk(2, dim=1)
        output = rendered * torch.exp(_bounded(log_gain, LOG_GAIN_RANGE)) + residual
        white = image * torch.exp((asked + WHITE_SLACK).clamp(max=0.0))
        return output + _whiteness(image) * (white - output).clamp(min=0.0)


def _thumbnail(lifted: Tensor) -> Tensor:
    return F.avg_pool2d(lifted, FACTOR)


def _log_ratio(wanted: Tensor, own: Tensor) -> Tensor:
    """log(wanted / own) of two thumbnails; a wanted one may lie below what black lifts to."""
    return torch.log(wanted.clamp(min=BLACK**LIFT)) - torch.log(own)


def _planes(image: Tensor, lifted: Tensor, mean: Tensor, factor: int) -> Tensor:
    """What the networks see of an image: lifted, scaled to a fixed mean, and that mean, in blocks of factor²."""
    scaled = image * _scale(mean)
    mean = mean.float().view(-1, 1, 1, 1).clamp(min=1e-4)
    planes = F.pixel_unshuffle(torch.cat([lifted, scaled / (1.0 + scaled)], dim=1), factor)
    return torch.cat([planes, (torch.log2(mean) / 8.0).expand(-1, 1, *planes.shape[2:])], dim=1)


def _scale(mean: Tensor) -> Tensor:
    """What pictures of these means (b,) are multiplied by to bring them to a fixed one: (b, 1, 1, 1), at least 1."""
    return (TARGET_MEAN / mean.float().view(-1, 1, 1, 1).clamp(min=1e-4)).clamp(1.0, MAX_SCALE)


def _rolled_off(x: Tensor) -> Tensor:
    """x up to 1, and smoothly towards 2 beyond: lights in dark surroundings are multiplied by the gain of those."""
    return torch.where(x > 1.0, 2.0 - 1.0 / x.clamp(min=1.0), x)


def _whiteness(image: Tensor) -> Tensor:
    """How white each pixel is, by its darkest channel: (b, 1, h, w) from 0 to 1."""
    start, whole = WHITE
    return ((image.amin(dim=1, keepdim=True) - start) / (whole - start)).clamp(0.0, 1.0)


def _bounded(x: Tensor, limit: float) -> Tensor:
    return limit * torch.tanh(x / limit)


def _zero_bias(conv: nn.Conv2d) -> None:
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
