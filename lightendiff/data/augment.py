"""What happens to a training batch on the device: to float, flipped, darkened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightendiff.data.degradations import SensorModel, darken, normal
from lightendiff.data.pseudo_pairs import pseudo_dark
from lightendiff.runtime.extras import needing
from lightendiff.tone import GAMMA

with needing("train", "augmentation"):
    from kornia.geometry import hflip, vflip


@dataclass(frozen=True)
class Augmentation:
    """How pairs are varied, dark picture and target alike.

    Attributes:
        upside_down: probability of a vertical flip and, of square crops, of a transposition. That skies are bright and
            above helps to guess tones.
        tint: standard deviation, in stops, of the gains that the channels of half of the pairs get. The target's mean
            stays as it is.
        dark_stops: up to so many stops more or less light for dark pictures, except those that are their own target.
        paste: probability that a rectangle of another pair is pasted into a pair.
    """

    upside_down: float = 0.5
    tint: float = 0.0
    dark_stops: float = 0.0
    paste: float = 0.0

    def __post_init__(self) -> None:
        for name in ("upside_down", "paste"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a probability, got {getattr(self, name)}")
        for name in ("tint", "dark_stops"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")


class BatchAugment(nn.Module):
    """Random flips (and transposition of square crops), the sensor model for the samples marked `darken`, and tints and
    pasted rectangles.

    The parameters are drawn here and applied with kornia's functions rather than its augmentation classes: those draw
    from torch's global generators, with which a resumed run would not repeat an uninterrupted one.

    Args:
        sensor: ranges of the sensor model.
        augmentation: how pairs are varied.
        flips: whether to flip and transpose.

    Attributes:
        pseudo_pairs: whether the dark picture of two that show different scenes gives way to the normal-light one with
            its tones.
    """

    def __init__(
        self, sensor: SensorModel | None = None, augmentation: Augmentation | None = None, flips: bool = True
    ) -> None:
        super().__init__()
        self.sensor = SensorModel() if sensor is None else sensor
        self.augmentation = Augmentation() if augmentation is None else augmentation
        self.flips = flips
        self.pseudo_pairs = True

    @torch.no_grad()
    def forward(self, batch: dict[str, Any], generator: torch.Generator | None = None) -> dict[str, Any]:
        """Of a batch as `lightendiff.data.datamodule.collate` makes it: `dark`, `target` float32 (b,3,h,w) in [0,1],
        `mean` (b,), the mean of the whole dark picture, in [0,1], `ignore_detail` (b,) and `names`. The outcome depends
        on batch and generator only. Pictures of different scenes are a pair afterwards, unless told by `paired`.
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
        if "paired" in batch and self.pseudo_pairs:
            apart = ~batch["paired"]
            with torch.autocast(dark.device.type, enabled=False):
                made = pseudo_dark(target[apart], batch["tones"][apart], self.sensor, generator)
            dark = dark.index_put((apart,), made)
        if self.augmentation.dark_stops > 0:
            dark, mean = self._exposed(dark, target, mean, generator)
        if self.augmentation.tint > 0:
            dark, target = self._tinted(dark, target, generator)
        whole = {"dark": dark, "target": target, "mean": mean, "ignore_detail": batch["ignore_detail"]}
        pasted = self._pasted(whole, generator) if self.augmentation.paste > 0 else whole
        apart = {"paired": batch["paired"]} if "paired" in batch and not self.pseudo_pairs else {}
        return {**pasted, **apart, "names": batch["names"]}

    def _exposed(
        self, dark: Tensor, target: Tensor, mean: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Dark pictures with more or less light, and the means of the whole ones."""
        stops = self.augmentation.dark_stops * (2 * _uniform((len(dark),), dark, generator) - 1)
        differ = (dark != target).flatten(1).any(1)
        gains = torch.where(differ, torch.exp2(stops / GAMMA), 1.0)
        return (dark * gains[:, None, None, None]).clamp(max=1.0), (mean * gains).clamp(max=1.0)

    def _tinted(self, dark: Tensor, target: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Channels of half of the pairs multiplied by gains that leave the target's mean as it is."""
        stops = self.augmentation.tint * normal((len(dark), 3), dark, generator)
        stops = stops * (_uniform((len(dark), 1), dark, generator) < 0.5)
        gains = torch.exp2(stops / GAMMA)  # of code values
        means = target.mean((2, 3)).clamp_min(1 / 255)
        gains = (gains * means.sum(1, keepdim=True) / (gains * means).sum(1, keepdim=True))[..., None, None]
        return (dark * gains).clamp(max=1.0), (target * gains).clamp(max=1.0)

    def _pasted(self, batch: dict[str, Tensor], generator: torch.Generator | None) -> dict[str, Tensor]:
        """A rectangle of the next pair of the batch in some pairs, at its own place (CutMix: Yun et al., ICCV 2019)."""
        coins, *places = _uniform((5, len(batch["dark"])), batch["dark"], generator).tolist()
        height, width = batch["dark"].shape[2:]
        out = {name: value.clone() for name, value in batch.items()}
        for i, coin in enumerate(coins):
            if coin >= self.augmentation.paste:
                continue
            other = (i + 1) % len(coins)
            share_h, share_w, top, left = (place[i] for place in places)
            h, w = round((0.25 + 0.5 * share_h) * height), round((0.25 + 0.5 * share_w) * width)
            y, x = int(top * (height - h + 1)), int(left * (width - w + 1))
            window = (slice(None), slice(y, y + h), slice(x, x + w))
            for name in ("dark", "target"):
                out[name][i][window] = batch[name][other][window]
            change = out["dark"][i].mean() - batch["dark"][i].mean()
            out["mean"][i] = (batch["mean"][i] + change).clamp(0, 1)
            out["ignore_detail"][i] |= batch["ignore_detail"][other]
        return out

    def _flip(self, pictures: Tensor, generator: torch.Generator | None) -> Tensor:
        """Flip the two halves of `pictures`, (2b,3,h,w), alike."""
        turned = self.augmentation.upside_down  # a transposed picture has its sky at the side
        chances = torch.tensor([[0.5], [turned], [turned]], device=pictures.device)
        coins = _uniform((3, len(pictures) // 2), pictures, generator) < chances
        horizontal, vertical, transpose = coins.repeat(1, 2)[..., None, None, None]
        pictures = torch.where(horizontal, hflip(pictures), pictures)
        pictures = torch.where(vertical, vflip(pictures), pictures)
        return torch.where(transpose, pictures.mT, pictures) if pictures.shape[-1] == pictures.shape[-2] else pictures


def _uniform(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Numbers in [0, 1), as `normal` draws its own."""
    device = generator.device if generator is not None else like.device
    return torch.rand(shape, generator=generator, device=device).to(like.device)
