"""Tones of code values in [0, 1], of pictures as of thumbnails: their exposure, with highlights that roll off, and a
scale that gives dark ones more room."""

from __future__ import annotations

import torch
from torch import Tensor

GAMMA = 2.2  # a stop is a factor of 2 in light, and so of 2^(1/γ) in code values
SHOULDER = 0.2  # the highlights that roll off where a picture gets brighter by a stop or more
LIFT = 0.45  # exponent of the gamma-lifted copy, which spreads dark tones as the eye does
BLACK = 1e-3  # keeps the lift's slope at black finite, for gradients that reach the input


def exposed(values: Tensor, stops: float) -> Tensor:
    """Code values in [0, 1] at `stops` more light: continuous and monotone in both, with highlights that roll off."""
    values = values * 2.0 ** (stops / GAMMA)
    return values if stops <= 0 else roll_off(values, 1.0 - SHOULDER * min(1.0, stops))


def roll_off(values: Tensor, knee: float) -> Tensor:
    """Values ≥ 0 as they are up to `knee` < 1, and from there on smoothly towards 1."""
    return torch.where(values > knee, knee + (1.0 - knee) * torch.tanh((values - knee) / (1.0 - knee)), values)


def lift(image: Tensor) -> Tensor:
    """Code values in [0, 1] on a scale that gives dark tones more room, itself about [0, 1]."""
    return (image + BLACK) ** LIFT


def unlift(lifted: Tensor) -> Tensor:
    """The inverse of `lift`, for values that were lifted ones or are near them."""
    return lifted.clamp(min=BLACK**LIFT) ** (1.0 / LIFT) - BLACK
