"""GIF, which is read only."""

from __future__ import annotations

from .decoding import as_picture, frames_note
from .picture import Picture
from .pixels import loaded


def read(data: bytes, max_pixels: int) -> tuple[Picture, int]:
    """The first frame of a GIF file."""
    with loaded(data, max_pixels, "GIF") as image:
        comment = image.info.get("comment") or b""
        return as_picture(image, "GIF", frames_note(image), comment=comment)
