"""AVIF, in the container of HEIC, by Pillow."""

from __future__ import annotations

from typing import Any

import numpy as np

from .formats import BY_NAME
from .heif import read_container
from .picture import Picture
from .pixels import metadata, saved


def read(data: bytes, max_pixels: int) -> tuple[Picture, int]:
    """The first picture of an AVIF file, rounded to 8 bit."""
    return read_container(data, max_pixels, "AVIF")


def write(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    """An AVIF file of (h, w, 1, 3 or 4) uint8."""
    colour = "4:2:0" if quality and quality < 80 else "4:4:4"
    options: dict[str, Any] = {"subsampling": "4:0:0" if array.shape[2] == 1 else colour}
    options |= {"quality": quality or BY_NAME["AVIF"].quality, "speed": 8}
    return saved(array, "AVIF", **options, **metadata(picture))
