"""A camera that photographs linear light: response, exposure and noise. Pictures are (h, w, 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ..pictures import to_code

Curve = Callable[[np.ndarray], np.ndarray]  # from linear light to code values in [0, 1]


@dataclass(frozen=True)
class Scene:
    """Dark frames and what they should become, (h, w, 3) uint8."""

    frames: list[np.ndarray]
    reference: np.ndarray


def random_response(rng: np.random.Generator) -> Curve:
    """A random response: gamma, more or less contrast, and a hard or a soft shoulder."""
    gamma, contrast, soft = rng.uniform(1.8, 2.5), rng.uniform(0.0, 0.6), rng.random() < 0.5

    def curve(light: np.ndarray) -> np.ndarray:
        v = np.clip(1 - np.exp(-1.4 * light) if soft else light, 0, 1) ** (1 / gamma)
        code: np.ndarray = (1 - contrast) * v + contrast * v * v * (3 - 2 * v)
        return code

    return curve


def stops_for(light: np.ndarray, curve: Curve, mean: float) -> float:
    """The stops at which the picture's mean is `mean` code values, by bisection on a small copy."""
    small = cv2.resize(light, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    low, high = -16.0, 16.0
    for _ in range(18):
        middle = (low + high) / 2
        low, high = (middle, high) if curve(small * 2**middle).mean() * 255 < mean else (low, middle)
    return middle


def take(
    light: np.ndarray, curve: Curve, shot: float, read: float, rng: np.random.Generator, veil: np.ndarray | float = 0.0
) -> np.ndarray:
    """A frame of linear light with a sensor's noise, and of a noiseless `veil` of light over it."""
    noise = rng.normal(size=light.shape).astype(np.float32) * np.sqrt(shot * light + read**2)
    return to_code(curve(np.maximum(light + noise + veil, 0)))


def to_linear(photo: np.ndarray) -> np.ndarray:
    """The light, 1 for white, that sRGB code values (uint8) stand for."""
    v = photo.astype(np.float32) / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
