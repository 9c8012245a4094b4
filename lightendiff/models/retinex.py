"""Latent Retinex decomposition (Jiang et al., ECCV 2024, section 3.2): latent = reflectance ⊙ illumination.

A first guess, illumination = maximum over the channels, carries content into the illumination. Cross attention and
self-attention move that content over to the reflectance.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import LeakyResidual, conv3x3, depthwise3x3

HEADS = 8
BRIGHT = 1.5  # before its sigmoid: at 0.5, where it would begin, illumination saturates at 1 to reach the latent
DARKEST = 1e-6  # smallest illumination that the first guess divides by; a sigmoid's latent stays above it


class RetinexDecomposition(nn.Module):
    """Splits a latent into reflectance (content) and illumination (exposure).

    Args:
        latent_channels: channels of the latent.
        width: channels of the features, a multiple of 8.

    Raises:
        ValueError: `width` isn't a multiple of 8.
    """

    # An orthogonalised step is of full size however small the gradient: once saturated, these ran on for ever.
    first_and_last = (
        "reflectance_in.0.weight",
        "illumination_in.0.weight",
        "reflectance_out.1.weight",
        "illumination_out.1.weight",
    )

    def __init__(self, latent_channels: int = 3, width: int = 64) -> None:
        super().__init__()
        if width <= 0 or width % HEADS:
            raise ValueError(f"width: expected a positive multiple of {HEADS}, got {width}")
        self.latent_channels = latent_channels
        self.reflectance_in = _features(latent_channels, width)
        self.illumination_in = _features(1, width)
        self.cross_attention = RowCrossAttention(width)
        self.self_attention = ChannelSelfAttention(width)
        self.reflectance_out = nn.Sequential(LeakyResidual(width, width), conv3x3(width, latent_channels))
        self.illumination_out = nn.Sequential(LeakyResidual(width, width), conv3x3(width, 1))
        nn.init.constant_(self.reflectance_out[1].get_parameter("bias"), BRIGHT)

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Decompose.

        Args:
            latent: (b, latent_channels, h, w) in [0, 1], any h and w.

        Returns:
            Reflectance and illumination, each of the latent's shape, in (0, 1). The illumination's channels are equal.
        """
        if latent.ndim != 4 or latent.shape[1] != self.latent_channels:
            raise ValueError(f"latent: expected (b, {self.latent_channels}, h, w), got {tuple(latent.shape)}")
        brightest = latent.amax(dim=1, keepdim=True).clamp(min=DARKEST)
        r = self.reflectance_in(latent / brightest)
        i = self.illumination_in(brightest)
        content = self.self_attention(i)
        reflectance = torch.sigmoid(self.reflectance_out(self.cross_attention(i, r) + content))
        illumination = torch.sigmoid(self.illumination_out(i - content))
        return reflectance, illumination.expand(-1, self.latent_channels, -1, -1)


class RowCrossAttention(nn.Module):
    """Cross attention between channels, computed for every image row by itself.

    For row y, with Q, K, V the (width, w) matrices of that row's features: softmax(Q·Kᵀ/√(width/8))·V.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = (width / HEADS) ** -0.5
        self.query = nn.Sequential(depthwise3x3(width), nn.Conv2d(width, width, 1))
        self.key = nn.Sequential(depthwise3x3(width), nn.Conv2d(width, width, 1))
        self.value = nn.Sequential(depthwise3x3(width), nn.Conv2d(width, width, 1))

    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        """Queries from `target`, keys and values from `source`, each (b, width, h, w) -> (b, width, h, w)."""
        # rows take the place of heads and channels that of tokens: (b, h, width, w)
        q, k, v = (x.transpose(1, 2) for x in (self.query(target), self.key(source), self.value(source)))
        return F.scaled_dot_product_attention(q, k, v, scale=self.scale).transpose(1, 2)


class ChannelSelfAttention(nn.Module):
    """Self-attention between the channels of a head, each channel a vector over all positions.

    With q and k normalised to length 1: softmax(q·kᵀ)·v, no temperature.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Sequential(nn.Conv2d(width, 3 * width, 1), depthwise3x3(3 * width))
        self.project = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, width, h, w) -> (b, width, h, w)."""
        # each of q, k, v: (b, heads, channels of a head, h·w)
        q, k, v = self.qkv(x).flatten(2).unflatten(1, (3, HEADS, -1)).unbind(1)
        weights = torch.softmax(F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1), dim=-1)
        return self.project((weights @ v).flatten(1, 2).unflatten(2, x.shape[2:]))


def _features(in_channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(conv3x3(in_channels, width), LeakyResidual(width, width), LeakyResidual(width, width))
