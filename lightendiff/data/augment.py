"""What happens to a training batch on the device: to float, flipped, darkened."""

from __future__ import annotations

from typing import Any

import torch
from kornia.geometry import hflip, vflip
from torch import Tensor, nn

from lightendiff.data.degradations import SensorModel, darken


class BatchAugment(nn.Module):
    """Random flips (and transposition of square crops), then the sensor model for the samples marked `darken`.

    The parameters are drawn here and applied with kornia's functions rather than its augmentation classes: those draw
    from torch's global generators, with which a resumed run would not repeat an uninterrupted one.

    Args:
        sensor: ranges of the sensor model.
        flips: whether to flip and transpose.
    """

    def __init__(self, sensor: SensorModel | None = None, flips: bool = True) -> None:
        super().__init__()
        self.sensor = SensorModel() if sensor is None else sensor
        self.flips = flips

    @torch.no_grad()
    def forward(self, batch: dict[str, Any], generator: torch.Generator | None = None) -> dict[str, Any]:
        """Of a batch as `lightendiff.data.datamodule.collate` makes it: `dark`, `target` float32 (b,3,h,w) in [0,1],
        `mean` (b,), the mean of the whole dark picture, in [0,1], and `names`. The outcome depends on batch and
        generator only.
        """
        pictures = torch.cat([batch["dark"], batch["target"]]).float() / 255
        if self.flips:
            pictures = self._flip(pictures, generator)
        dark, target = pictures.chunk(2)
        mean = batch["mean"].float()
        if (chosen := batch["darken"]).any():
            bright = dark[chosen]
            with torch.autocast(bright.device.type, enabled=False):  # 8-bit steps need more than bfloat16's 8 bits
                darkened = darken(bright, self.sensor.draw(len(bright), generator), generator)
            dark = dark.index_put((chosen,), darkened)
            # the whole picture's mean after darkening, of which only the crop is known, falls by the crop's factor
            factor = darkened.mean((1, 2, 3)) / bright.mean((1, 2, 3)).clamp_min(1 / 255)
            mean = mean.index_put((chosen,), (factor * mean[chosen]).clamp(0, 1))
        return {"dark": dark, "target": target, "mean": mean, "names": batch["names"]}

    @staticmethod
    def _flip(pictures: Tensor, generator: torch.Generator | None) -> Tensor:
        """Flip the two halves of `pictures`, (2b,3,h,w), alike."""
        device = generator.device if generator is not None else pictures.device
        coins = torch.rand(3, len(pictures) // 2, generator=generator, device=device) < 0.5
        horizontal, vertical, transpose = coins.to(pictures.device).repeat(1, 2)[..., None, None, None]
        pictures = torch.where(horizontal, hflip(pictures), pictures)
        pictures = torch.where(vertical, vflip(pictures), pictures)
        return torch.where(transpose, pictures.mT, pictures) if pictures.shape[-1] == pictures.shape[-2] else pictures
