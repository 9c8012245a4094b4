"""Tones of code values in [0, 1], of pictures as of thumbnails: their exposure, with highlights that roll off, and a
scale that gives dark ones more room."""

from __future__ import annotations

import torch
from torch import Tensor

GAMMA = 2.2  # a stop is a factor of 2 in light, and so of 2^(1/γ) in code values
SHOULDER = 0.2  # the highlights that roll off where a picture gets brighter by a stop or more
ENCODING_EXPONENT = 0.45  # of gamma encoding, which spreads dark tones as the eye does
BLACK = 1e-3  # keeps the slope of that at black finite, for gradients that reach the input
ENCODED_BLACK = BLACK**ENCODING_EXPONENT


def exposed(values: Tensor, stops: float) -> Tensor:
    """Code values in [0, 1] at `stops` more light: continuous and monotone in both, with highlights that roll off."""
    values = values * 2.0 ** (stops / GAMMA)
    return values if stops <= 0 else roll_off(values, 1.0 - SHOULDER * min(1.0, stops))


def roll_off(values: Tensor, knee: float) -> Tensor:
    """Values ≥ 0 as they are up to `knee` < 1, and from there on smoothly towards 1."""
    return torch.where(values > knee, knee + (1.0 - knee) * torch.tanh((values - knee) / (1.0 - knee)), values)


def gamma_encode(values: Tensor) -> Tensor:
    """Code values in [0, 1] on a scale that gives dark tones more room, itself about [0, 1]."""
    return (values + BLACK) ** ENCODING_EXPONENT


def gamma_decode(encoded: Tensor) -> Tensor:
    """The inverse of `gamma_encode`, for values that were encoded or are near such."""
    return encoded.clamp(min=ENCODED_BLACK) ** (1.0 / ENCODING_EXPONENT) - BLACK
