"""References of true hue: an exposure fusion has the lightness that is wanted, and hues that no frame has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .. import colour
from .pictures import to_code

CLIPPED = 0.97  # code value from which a channel may be clipped


def with_true_hues(reference: np.ndarray, frames: Sequence[np.ndarray]) -> np.ndarray:
    """`reference` with the hue and relative chroma of its `frames`, all (h, w, 3) uint8, where one of them knows.

    A frame knows where it is neither clipped nor too dark to be trusted; brighter frames count more. The luminance
    stays, but for saturated places that would leave the gamut; others become paler.
    """
    pictures = (torch.tensor(picture).permute(2, 0, 1)[None].float() / 255 for picture in (reference, *frames))
    first, *others = (colour.whole_blocks(picture) for picture in pictures)
    light, trust = torch.tensor(0.0), torch.tensor(0.0)
    for frame in others:
        seen, known = colour.trusted_light(frame)
        known = known * _unclipped(frame)
        light, trust = light + known * seen, torch.maximum(trust, known)
    guide = first.amax(dim=1, keepdim=True)
    recoloured = colour.to_code(colour.recoloured(first, light, trust, guide, torch.full_like(guide, colour.LIT[1])))
    height, width = reference.shape[:2]
    return to_code(recoloured[0, :, :height, :width].permute(1, 2, 0).numpy())


def _unclipped(frame: Tensor) -> Tensor:
    """1 for blocks without a clipped pixel, 0 for those of which half is clipped; that turns the hue."""
    clipped = (frame.amax(dim=1, keepdim=True) > CLIPPED).to(frame.dtype)
    return (1.0 - 2.0 * F.avg_pool2d(clipped, colour.BLOCK)).clamp(min=0.0)
