"""The architecture of the `default` preset: small, local, and quick on a CPU.

The latent is the picture's own thumbnail: block means of the gamma-encoded picture at ⅛ resolution. It says how bright
and which colour every place is, and nothing else; all detail comes through the skips. So the diffusion model answers
one question only, what the restored thumbnail looks like, and whoever moves the thumbnail moves exposure and colour.

Encoder and decoder are built from dense 3×3 convolutions, which CPUs and GPUs run at their best, and see only a
neighbourhood: nothing in them depends on statistics of the whole picture except the scalar `mean`, so they can run in
tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..tone import ENCODED_BLACK, ENCODING_EXPONENT, gamma_decode, gamma_encode
from .autoencoder import FACTOR, Autoencoder, AutoencoderConfig, Skips, ToneCurve, mean_of

LATENT_CHANNELS = 3
TARGET_MEAN = 0.4  # the scaled copy brings a dark picture's mean here
MAX_SCALE = 32.0  # noise of darker pictures than that isn't worth brightening further
MAX_LOG_GAIN = 4.5  # a thumbnail brightens a dark block at most 90 times; beyond that there is only noise
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
        self.stem = nn.Conv2d(6 * 4 + 1, channels[0], 3, padding=1)
        self.levels = _levels(channels, blocks)
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(channels))
        self.to_condition = nn.Sequential(
            nn.Conv2d(6 * FACTOR**2 + 1, 2 * condition_features, 1),
            nn.SiLU(),
            nn.Conv2d(2 * condition_features, condition_features, 3, padding=1),
        )

    def forward(self, image: Tensor, mean: Tensor) -> tuple[Tensor, Skips]:
        """Image (b, 3, h, w) in [0, 1] and its mean (b,) → the thumbnail, and the image with the levels' features."""
        encoded = gamma_encode(image)
        x = self.stem(_planes(image, encoded, mean, 2))
        features = []
        for i, level in enumerate(self.levels):
            x = level(x if i == 0 else self.downs[i - 1](x))
            features.append(x)
        return _thumbnail(encoded).clamp(max=1.0), [image, *features]

    def condition(self, image: Tensor, mean: Tensor) -> Tensor:
        """Learned features (b, condition_features, h/8, w/8)."""
        return self.to_condition(_planes(image, gamma_encode(image), mean, FACTOR))


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
        own = _thumbnail(gamma_encode(image))
        gain = _bounded(_log_ratio(latent, own) / ENCODING_EXPONENT, MAX_LOG_GAIN)
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


class LeanAutoencoder(Autoencoder):
    """The thumbnail as the latent, and a pyramid of features as the skips.

    Raises:
        ValueError: `config.latent_channels` isn't a thumbnail's.
    """

    encoder: LeanEncoder
    decoder: LeanDecoder

    needs_decomposition = False  # a tone curve relights a thumbnail
    exposure_control = True
    latent_of_black = ENCODED_BLACK
    preferred_dtype = torch.bfloat16
    first_and_last = ("encoder.stem.weight", "encoder.to_condition.0.weight", "decoder.head.weight")

    def __init__(self, config: AutoencoderConfig) -> None:
        if config.latent_channels != LATENT_CHANNELS:
            raise ValueError(
                f"latent_channels: expected {LATENT_CHANNELS}, those of a thumbnail, got {config.latent_channels}"
            )
        super().__init__(config)

    @classmethod
    def build_encoder(cls, config: AutoencoderConfig) -> LeanEncoder:
        return LeanEncoder(config.channels, config.encoder_blocks, config.condition_features)

    @classmethod
    def build_decoder(cls, config: AutoencoderConfig) -> LeanDecoder:
        return LeanDecoder(config.channels, config.decoder_blocks)

    @classmethod
    def encoder_multiple(cls, config: AutoencoderConfig) -> int:
        return max(FACTOR, 2 ** len(config.channels))

    @classmethod
    def reach(cls, config: AutoencoderConfig) -> int:
        steps = [2 ** (level + 1) for level in range(len(config.channels))]  # pixels between positions of a level
        encoder, decoder = (
            sum(2 * count * step for count, step in zip(blocks, steps, strict=True))
            for blocks in (config.encoder_blocks, config.decoder_blocks)
        )
        return 2 + encoder + decoder + 2 + steps[-1]  # the stem, the head, and the grid of the deepest level

    def latent(self, image: Tensor) -> Tensor:
        """The thumbnail (b, 3, h/8, w/8) in [0, 1] of an image (b, 3, h, w): block means of its encoded tones."""
        return _thumbnail(gamma_encode(image)).clamp(max=1.0)

    def condition(self, image: Tensor, latent: Tensor, mean: Tensor | None = None) -> Tensor:
        """The thumbnail, scaled to a fixed mean as a first guess of the restored one, and learned features."""
        mean = mean_of(image) if mean is None else mean
        guess = gamma_encode(_rolled_off(gamma_decode(latent.float()) * _scale(mean))).clamp(max=1.0)
        return torch.cat([2.0 * guess - 1.0, self.encoder.condition(image, mean).float()], dim=1)

    def code_values(self, latent: Tensor) -> Tensor:
        return gamma_decode(latent)

    def apply_tone_curve(self, latent: Tensor, curve: ToneCurve) -> Tensor:
        return gamma_encode(curve(gamma_decode(latent))).clamp(max=1.0)

    def enlarge(self, restored: Tensor, small: Tensor, large: Tensor) -> Tensor:
        # What is enlarged is the gain, which is smooth; the detail of the thumbnail is the picture's own.
        gain = _log_ratio(restored, small)
        return (large * F.interpolate(gain, size=large.shape[2:], mode="bilinear").exp()).clamp(max=1.0)


def _thumbnail(encoded: Tensor) -> Tensor:
    return F.avg_pool2d(encoded, FACTOR)


def _log_ratio(wanted: Tensor, own: Tensor) -> Tensor:
    """log(wanted / own) of two thumbnails; a wanted one may lie below what black is encoded as."""
    return torch.log(wanted.clamp(min=ENCODED_BLACK)) - torch.log(own)


def _planes(image: Tensor, encoded: Tensor, mean: Tensor, factor: int) -> Tensor:
    """What the networks see of an image: gamma-encoded, scaled to a fixed mean, and that mean, in blocks of factor²."""
    scaled = image * _scale(mean)
    mean = mean.float().view(-1, 1, 1, 1).clamp(min=1e-4)
    planes = F.pixel_unshuffle(torch.cat([encoded, scaled / (1.0 + scaled)], dim=1), factor)
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
