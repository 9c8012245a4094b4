"""The architecture of the published LightenDiffusion network (Jiang et al., ECCV 2024), tensor for tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .autoencoder import FACTOR, Autoencoder, AutoencoderConfig, Skips
from .layers import LeakyConvs, LeakyResidual, conv3x3, keep_variance, leaky_relu


class PaperEncoder(nn.Module):
    """Three levels of residual block and strided convolution, and a latent from the deepest.

    Args:
        latent_channels: channels of the latent.
        channels: widths of the three levels; their outputs, the skips, lie at ½, ¼ and ⅛ of the image's size.
    """

    def __init__(self, latent_channels: int = 3, channels: Sequence[int] = (64, 128, 256)) -> None:
        super().__init__()
        first, middle, last = _three(channels)
        self.stem = nn.Sequential(nn.Conv2d(3, first, 5, padding=2), nn.Conv2d(first, first, 5, padding=2))
        inputs = (first, first, middle)
        self.blocks = nn.ModuleList(LeakyResidual(a, b) for a, b in zip(inputs, channels, strict=True))
        self.downs = nn.ModuleList(nn.Conv2d(c, c, 3, stride=2, padding=1) for c in channels)
        self.to_latent = LeakyConvs(conv3x3(last, middle), conv3x3(middle, first), conv3x3(first, latent_channels))
        keep_variance(self)

    def forward(self, image: Tensor, mean: Tensor | None = None) -> tuple[Tensor, Skips]:
        """Image (b, 3, h, w) in [0, 1] -> latent (b, c, h/8, w/8) in [0, 1] and the skips at ½, ¼, ⅛.

        This encoder sees local content only: `mean`, the whole picture's mean, is of no use to it.
        """
        x = self.stem(image)
        skips = []
        for block, down in zip(self.blocks, self.downs, strict=True):
            x = down(block(x))
            skips.append(x)
        return torch.sigmoid(self.to_latent(x).float()), skips


class PaperDecoder(nn.Module):
    """From the latent up again; each level's skip is added between two residual blocks.

    Args:
        latent_channels: channels of the latent.
        channels: widths of the encoder's three levels.
    """

    def __init__(self, latent_channels: int = 3, channels: Sequence[int] = (64, 128, 256)) -> None:
        super().__init__()
        first, middle, last = _three(channels)
        self.from_latent = LeakyConvs(conv3x3(latent_channels, first), conv3x3(first, middle), conv3x3(middle, last))
        deepest_first = (last, middle, first)
        self.blocks = nn.ModuleList(LeakyResidual(c, c) for c in deepest_first for _ in range(2))
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=1)
            for a, b in zip(deepest_first, (middle, first, first), strict=True)
        )
        self.head = LeakyConvs(conv3x3(first, first), nn.Conv2d(first, 3, 1))
        keep_variance(self)

    def forward(self, latent: Tensor, skips: Skips) -> Tensor:
        """Latent (b, c, h/8, w/8) in [0, 1] and the encoder's skips -> image (b, 3, h, w), not clamped."""
        x = self.from_latent(latent)
        for i, up in enumerate(self.ups):
            x = self.blocks[2 * i](x).add_(skips[-1 - i])
            x = leaky_relu(up(self.blocks[2 * i + 1](x)))
        return self.head(x)


class PaperAutoencoder(Autoencoder):
    """A learned latent, from the deepest of three levels of features, and these features as the skips.

    The latent is no map of brightness, so that there is no exposure control, and the UNet sees pictures in full size.
    """

    encoder: PaperEncoder
    decoder: PaperDecoder

    needs_decomposition = True
    exposure_control = False
    preferred_dtype = torch.float32  # published in it, and compared with what that gives
    first_and_last = (
        "encoder.stem.0.weight",
        "encoder.to_latent.2.weight",
        "decoder.from_latent.0.weight",
        "decoder.head.1.weight",
    )

    @classmethod
    def build_encoder(cls, config: AutoencoderConfig) -> PaperEncoder:
        return PaperEncoder(config.latent_channels, config.channels)

    @classmethod
    def build_decoder(cls, config: AutoencoderConfig) -> PaperDecoder:
        return PaperDecoder(config.latent_channels, config.channels)

    @classmethod
    def encoder_multiple(cls, config: AutoencoderConfig) -> int:
        return FACTOR

    @classmethod
    def multiple(cls, config: AutoencoderConfig) -> int:
        return 64  # as the published code pads, whatever the UNet

    @classmethod
    def reach(cls, config: AutoencoderConfig) -> int:
        encoder = 4 + (2 + 1) + 2 * (2 + 1) + 4 * (2 + 1)  # the stem, and each level's block and convolution
        latent = 8 * (3 + 3)
        decoder = 8 * (4 + 1) + 4 * (4 + 1) + 2 * (4 + 1) + 1
        return encoder + latent + decoder + 8

    def latent(self, image: Tensor) -> Tensor:
        """The latent alone; this encoder takes it from its deepest features."""
        return self.encoder(image)[0]

    def condition(self, image: Tensor, latent: Tensor, mean: Tensor | None = None) -> Tensor:
        """The dark latent alone, brought from [0, 1] to [-1, 1]."""
        return 2.0 * latent - 1.0

    def freeze_latent(self) -> None:
        super().freeze_latent()
        self.encoder.requires_grad_(False)


def _three(channels: Sequence[int]) -> tuple[int, int, int]:
    if len(channels) != 3:
        raise ValueError(f"channels: expected the widths of three levels, got {tuple(channels)}")
    return channels[0], channels[1], channels[2]
