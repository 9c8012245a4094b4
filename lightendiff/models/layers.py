"""Building blocks of the published encoder, decoder and latent Retinex decomposition."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.01  # of every LeakyReLU in the published network


def leaky_relu(x: Tensor) -> Tensor:
    """LeakyReLU that overwrites its input: only for the output of a convolution, which nothing else reads."""
    return F.leaky_relu(x, SLOPE, inplace=True)


class LeakyResidual(nn.Module):
    """3×3 convolution, LeakyReLU, 3×3 convolution, plus a 1×1 convolution of the input."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, in_channels, h, w) -> (b, out_channels, h, w)."""
        return self.conv2(leaky_relu(self.conv1(x))).add_(self.shortcut(x))


class LeakyConvs(nn.Sequential):
    """Convolutions with LeakyReLU between them and none after the last."""

    def forward(self, x: Tensor) -> Tensor:
        for i, conv in enumerate(self):
            x = conv(x if i == 0 else leaky_relu(x))
        return x


def keep_variance(module: nn.Module) -> None:
    """Initialise a network's convolutions anew, so that features keep their size from layer to layer.

    PyTorch's own initialisation shrinks them: another latent changed a new network's picture by 0.0001 of the picture's
    deviation, and training never found it. With this it is 0.24.
    """
    for each in module.modules():
        if isinstance(each, nn.Conv2d | nn.ConvTranspose2d):
            _draw(each, 1.0)
    for each in module.modules():
        if isinstance(each, LeakyResidual):
            _draw(each.shortcut, 0.5**0.5)  # a sum of two
        elif isinstance(each, LeakyConvs):
            for conv in list(each)[1:]:
                _draw(conv, 2**0.5)  # LeakyReLU halves the variance before it


def _draw(conv: nn.Module, gain: float) -> None:
    assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
    inputs: float = conv.in_channels * math.prod(conv.kernel_size)  # that an output sums over
    if isinstance(conv, nn.ConvTranspose2d):
        inputs /= math.prod(conv.stride)
    nn.init.normal_(conv.weight, std=gain * inputs**-0.5)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A 3×3 convolution that keeps the size."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def depthwise3x3(channels: int) -> nn.Conv2d:
    """A 3×3 convolution of each channel by itself."""
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
