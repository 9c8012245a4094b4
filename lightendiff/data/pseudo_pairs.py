"""Pseudo-pairs: a normal-light picture with the tones of a real dark one, which has itself for its target.

    log dark = m_D + a · (log linear - m_N),   a = s_D / s_N within CONTRAST

in linear light and per channel, with m and s the mean and standard deviation of a whole picture's log tones. Less light
alone is a = 1; what else lies between the two is the camera's tone curve and the scenes' difference. The sensor's noise
is added to that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .degradations import SensorModel

FLOOR = 0.5 / 255 / 12.92  # linear light of half a code value: black has no logarithm
LEAST_DEVIATION = 0.05  # of log tones: an even picture has no contrast to be changed
CONTRAST = 2 / 3, 3 / 2  # one scene's two exposures have such a (LOL v1: 0.7 to 1.6, 5 to 95 %), two scenes' any


def log_tones(pixels: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of each channel's log linear light, float32 (2,3), of code values (h,w,3) of 8 or 16
    bit.
    """
    top = np.iinfo(pixels.dtype).max
    codes = np.arange(top + 1) / top
    linear = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    logs = np.log(np.maximum(linear, FLOOR))
    counts = [np.bincount(pixels[..., c].ravel(), minlength=top + 1) / pixels[..., c].size for c in range(3)]
    means = np.array([count @ logs for count in counts])
    squares = np.array([count @ logs**2 for count in counts])
    return np.stack([means, np.sqrt(np.maximum(squares - means**2, 0.0))]).astype(np.float32)


def pseudo_dark(target: Tensor, tones: Tensor, sensor: SensorModel, generator: torch.Generator | None = None) -> Tensor:
    """Normal-light pictures `target` (b,3,h,w) in [0,1] as dark as others, in steps of 1/255.

    `tones` (b,2,2,3) are the `log_tones` of those others and of the whole pictures that `target` is cut from. Of
    `sensor`, exposure and tint have no effect.
    """
    from kornia.color import rgb_to_linear_rgb

    from .degradations import photograph

    (dark_mean, dark_deviation), (mean, deviation) = (each.unbind(1) for each in tones.float().unbind(1))
    contrast = (dark_deviation / deviation.clamp_min(LEAST_DEVIATION)).clamp(*CONTRAST)
    logs = rgb_to_linear_rgb(target.float()).clamp_min(FLOOR).log()
    mean, contrast, dark_mean = (each[..., None, None] for each in (mean, contrast, dark_mean))
    linear = (dark_mean + contrast * (logs - mean)).exp()
    return photograph(linear, sensor.draw(len(target), generator), generator)
