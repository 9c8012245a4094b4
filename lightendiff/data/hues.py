"""References of true hue: an exposure fusion has the lightness that is wanted, and hues that no frame has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .. import colour
from .pictures import to_code


def with_true_hues(reference: np.ndarray, frames: Sequence[np.ndarray]) -> np.ndarray:
    """`reference` with the hue and relative chroma of its `frames`, all (h, w, 3) uint8, where one of them knows.

    A frame knows where it is neither clipped nor too dark to be trusted, as `lightendiff.colour` judges it; brighter
    frames count more. The luminance stays, but for saturated places that would leave the gamut; others become paler.
    """
    pictures = (torch.tensor(picture).permute(2, 0, 1)[None].float() / 255 for picture in (reference, *frames))
    first, *others = (colour.whole_blocks(picture) for picture in pictures)
    seen = [colour.trusted_light(frame) for frame in others]
    light = torch.stack([trust * light for light, trust in seen]).sum(dim=0)
    trust = torch.stack([trust for _, trust in seen]).amax(dim=0)
    recoloured = colour.to_code(colour.recoloured(first, light, trust))
    height, width = reference.shape[:2]
    return to_code(recoloured[0, :, :height, :width].permute(1, 2, 0).numpy())
