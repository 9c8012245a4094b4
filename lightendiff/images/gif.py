"""GIF, which is read only."""

from __future__ import annotations

from .decoding import read_with_pillow
from .picture import Picture


def read(data: bytes, max_pixels: int) -> tuple[Picture, int]:
    """The first frame of a GIF file."""
    return read_with_pillow(data, max_pixels, "GIF", "GIF")
