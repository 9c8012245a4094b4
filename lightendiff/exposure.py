"""Changing the exposure of code values in [0, 1], of pictures as of thumbnails, with highlights that roll off."""

from __future__ import annotations

import torch
from torch import Tensor

GAMMA = 2.2  # a stop is a factor of 2 in light, and so of 2^(1/γ) in code values
SHOULDER = 0.2  # the highlights that roll off where a picture gets brighter by a stop or more


def exposed(values: Tensor, stops: float) -> Tensor:
    """Code values in [0, 1] at `stops` more light: continuous and monotone in both, with highlights that roll off."""
    values = values * 2.0 ** (stops / GAMMA)
    return values if stops <= 0 else roll_off(values, 1.0 - SHOULDER * min(1.0, stops))


def roll_off(values: Tensor, knee: float) -> Tensor:
    """Values ≥ 0 as they are up to `knee` < 1, and from there on smoothly towards 1."""
    return torch.where(values > knee, knee + (1.0 - knee) * torch.tanh((values - knee) / (1.0 - knee)), values)
