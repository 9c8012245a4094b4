"""WebP: whether it is lossless, which is kept."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import numpy as np

from .decoding import as_picture, first_notes
from .formats import BY_NAME
from .icc import as_colour, model_of
from .mending import mended_webp
from .picture import Picture
from .pixels import loaded, metadata, saved

_MOST_CHUNKS = 10_000  # that are looked through


def read(data: bytes, max_pixels: int) -> tuple[Picture, int]:
    """The first frame of a WebP file."""
    lossless = data[12:16] == b"VP8L" or (data[12:16] == b"VP8X" and has_chunk(data, b"VP8L"))
    with loaded(data, max_pixels, "WEBP", mend=mended_webp) as image:
        return as_picture(image, "WEBP", first_notes(image), encoding={"lossless": lossless})


def write(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    """A WebP file of (h, w, 1, 3 or 4) uint8; grey becomes three equal channels there."""
    options: dict[str, Any] = {"quality": quality or BY_NAME["WEBP"].quality}
    if quality is None and picture.encoding.get("lossless"):
        options = {"lossless": True, "exact": True}
    if model_of(picture.icc_profile) == "GRAY":
        picture = replace(picture, icc_profile=as_colour(picture.icc_profile))
    return saved(array, "WEBP", **options, **metadata(picture))


def has_chunk(webp: bytes, wanted: bytes) -> bool:
    """Whether a WebP file has a chunk of that name."""
    position = 12
    for _ in range(_MOST_CHUNKS):
        if position + 8 > len(webp):
            break
        name, size = struct.unpack_from("<4sI", webp, position)
        if name == wanted:
            return True
        position += 8 + size + size % 2
    return False
