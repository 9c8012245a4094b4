"""GIF, which is read only."""

from __future__ import annotations

from .decoding import as_picture, first_notes
from .mending import mended_gif
from .picture import Picture
from .pixels import loaded


def read(data: bytes, max_pixels: int) -> tuple[Picture, int]:
    """The first frame of a GIF file."""
    with loaded(data, max_pixels, "GIF", mend=mended_gif) as image:
        comment = image.info.get("comment") or b""
        return as_picture(image, "GIF", first_notes(image), comment=comment)
