"""BMP, with alpha where there is some."""

from __future__ import annotations

import struct

import numpy as np

from .decoding import as_picture, first_notes
from .mending import mended_bmp
from .picture import Picture
from .pixels import loaded, saved


def read(data: bytes, max_pixels: int) -> tuple[Picture, int]:
    """A BMP file's picture."""
    with loaded(data, max_pixels, "BMP", "DIB", mend=mended_bmp) as image:
        return as_picture(image, "BMP", first_notes(image))


def write(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    """A BMP file of (h, w, 1, 3 or 4) uint8."""
    if array.shape[2] != 4:
        return saved(array, "BMP", **({"dpi": picture.dpi} if picture.dpi else {}))
    # With alpha: a version 4 header with masks, since Pillow's header makes readers ignore the fourth channel.
    height, width = array.shape[:2]
    body = np.ascontiguousarray(array[::-1, :, (2, 1, 0, 3)]).tobytes()
    per_metre = [round(dpi / 0.0254) for dpi in picture.dpi or (96, 96)]
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(body), *per_metre, 0, 0)
    header += struct.pack("<4I4s", *masks, b"BGRs") + bytes(48)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(body), 0, 0, 14 + len(header)) + header + body
