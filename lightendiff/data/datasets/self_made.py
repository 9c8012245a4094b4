"""Pictures from random numbers, for trying things out without any files."""

from __future__ import annotations

import cv2
import numpy as np

from ..pictures import Sample
from .source import Source


class SelfMade(Source):
    """Pictures that it makes itself, for trying things out: colour gradients with discs, boxes, lines and grain.

    Args:
        count: how many.
        size: (height, width).
        seed: other seeds, other pictures.
        darken: leave the darkening to the sensor model; otherwise the dark picture is the target at 1/10 of its light,
            in 8 bit.
        weight: how often training draws from it, beside the weights of the other sources.
    """

    def __init__(
        self,
        count: int = 16,
        size: tuple[int, int] = (96, 128),
        seed: int = 0,
        darken: bool = False,
        weight: float = 1.0,
    ) -> None:
        if count < 1 or min(size) < 1:
            raise ValueError(f"count and size: expected positive numbers, got {count} and {tuple(size)}")
        self.count, self.size, self.seed, self.darken = count, (int(size[0]), int(size[1])), seed, darken
        self.validates, self.weight = not darken, weight
        self._samples: list[Sample] = []

    def load(self) -> None:
        if not self._samples:
            self._samples = [self._make(index) for index in range(self.count)]

    def _make(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        h, w = self.size
        corners = rng.uniform(40, 235, (2, 2, 3)).astype(np.float32)
        picture = cv2.resize(corners, (w, h), interpolation=cv2.INTER_LINEAR)
        for _ in range(8):
            colour = tuple(float(value) for value in rng.uniform(10, 250, 3))
            x, y, radius = int(rng.integers(w)), int(rng.integers(h)), int(rng.integers(2, max(3, min(h, w) // 4)))
            match int(rng.integers(3)):
                case 0:
                    cv2.circle(picture, (x, y), radius, colour, -1)
                case 1:
                    cv2.rectangle(picture, (x, y), (x + radius, y + 2 * radius), colour, -1)
                case _:
                    cv2.line(picture, (x, y), (int(rng.integers(w)), int(rng.integers(h))), colour, 1 + radius // 8)
        picture += rng.normal(0, 6, (h, w, 1)).astype(np.float32)
        target = picture.clip(0, 255).round().astype(np.uint8).transpose(2, 0, 1)
        # a tenth of the light is 10^(-1/2.2) of the code value
        dark = target if self.darken else (target * 10 ** (-1 / 2.2)).round().astype(np.uint8)
        name = f"self-made {self.seed}/{index}"
        return Sample(dark, target, float(dark.mean()) / 255, name, self.darken)

    def __len__(self) -> int:
        return len(self._samples)

    def pair(self, index: int) -> Sample:
        return self._samples[index]
