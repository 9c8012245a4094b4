"""WebP: whether it is lossless, which is kept."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from .picture import DEFAULT_QUALITY, Picture
from .pixels import metadata, saved, without_grey_alpha


def encode_webp(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    options: dict[str, Any] = {"quality": quality or DEFAULT_QUALITY["WEBP"]}
    if quality is None and picture.encoding.get("lossless"):
        options = {"lossless": True, "exact": True}
    return saved(without_grey_alpha(array), "WEBP", **options, **metadata(picture))


def has_chunk(webp: bytes, wanted: bytes) -> bool:
    """Whether a WebP file has a chunk of that name."""
    position = 12
    while position + 8 <= len(webp):
        name, size = struct.unpack_from("<4sI", webp, position)
        if name == wanted:
            return True
        position += 8 + size + size % 2
    return False
