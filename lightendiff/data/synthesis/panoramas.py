"""HDR panoramas, such as Poly Haven's: a scene's light in all directions, of which a camera sees a part."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

VIEW = 384, 512  # height and width of a view, in every fourth of them the other way round
ANGLES = 50.0, 90.0  # degrees that a view's longer side covers
PITCH = 6.0  # degrees, standard deviation: cameras look ahead


def read_panorama(path: Path) -> np.ndarray:
    """The light (h, 2h, 3), float32 RGB, of a Radiance file in equirectangular projection; ValueError if it is none."""
    data = np.fromfile(path, np.uint8)  # since imread can't open paths with non-ASCII letters on Windows
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if pixels is None or pixels.dtype != np.float32 or pixels.ndim != 3:
        raise ValueError(f"{path} can't be read as an HDR picture")
    if pixels.shape[1] != 2 * pixels.shape[0]:
        h, w = pixels.shape[:2]
        raise ValueError(f"{path} is {w}×{h}, but an equirectangular panorama is twice as wide as high")
    return np.nan_to_num(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), posinf=0.0).clip(0, None)


def view(panorama: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a camera sees, (384, 512, 3) or (512, 384, 3) light, looking in a random direction near the horizon."""
    h, w = VIEW if rng.random() < 0.75 else VIEW[::-1]
    focal = max(h, w) / 2 / np.tan(np.radians(rng.uniform(*ANGLES)) / 2)  # in pixels
    pitch, yaw = np.radians(rng.normal(0, PITCH)), rng.uniform(0, 2 * np.pi)
    # as many pixels to the radian as the view has, so that none are skipped
    height = min(len(panorama), round(np.pi * focal))
    panorama = cv2.resize(panorama, (2 * height, height), interpolation=cv2.INTER_AREA)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    right, down, ahead = (x - (w - 1) / 2) / focal, (y - (h - 1) / 2) / focal, np.ones((h, w), np.float32)
    down, ahead = down * np.cos(pitch) - ahead * np.sin(pitch), down * np.sin(pitch) + ahead * np.cos(pitch)
    longitude = np.arctan2(right, ahead) + yaw
    latitude = np.arctan2(down, np.hypot(right, ahead))  # downwards
    columns = longitude / (2 * np.pi) % 1 * 2 * height - 0.5
    rows = (latitude / np.pi + 0.5) * height - 0.5
    return cv2.remap(
        panorama, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )
