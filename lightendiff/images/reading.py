"""Reading a picture file of any kind, by its content."""

from __future__ import annotations

import os
from dataclasses import replace

from ..files.locations import RemotePath, located
from .formats import MAX_PIXELS, format_of, titles
from .picture import ImageError, Picture, reason, shown
from .pixels import turned
from .xmp import upright_xmp


def read_picture(path: str | os.PathLike[str] | RemotePath, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a file of one of the formats in `formats`, recognised by its content; of several frames the first.

    Palettes, 1-bit, CMYK, Lab, 32-bit and floating-point pixels (in [0, 1]) become 8- or 16-bit grey or sRGB. RAW
    photos, recognised by their names' ends, are developed to 16 bit; that needs rawpy, and HEIC pillow-heif. The path
    may be an address of a remote file, as in `locations`.
    Raises ImageError when the file is missing, damaged, of another kind, or has more than max_pixels pixels.
    """
    try:
        return _decode(located(path).read_bytes(), max_pixels, str(path))
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise ImageError(f"{shown(path)}: {reason(error)}") from error


def decode_picture(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """As `read_picture`, from a file's content; the messages of errors call it `name`."""
    try:
        return _decode(data, max_pixels, name)
    except Exception as error:
        raise ImageError(f"{shown(name)}: {reason(error)}") from error


def _decode(data: bytes, max_pixels: int, name: str) -> Picture:
    if not data:
        raise ValueError("the file is empty")
    row = format_of(data, name)
    if row is None:
        raise ValueError(f"not a {titles()} image")
    picture: Picture
    orientation: int
    picture, orientation = row.codec().read(data, max_pixels)
    if orientation == 1:
        return picture
    alpha = None if picture.alpha is None else turned(picture.alpha, orientation)
    dpi = picture.dpi if orientation < 5 or picture.dpi is None else picture.dpi[::-1]
    return replace(
        picture, pixels=turned(picture.pixels, orientation), alpha=alpha, xmp=upright_xmp(picture.xmp), dpi=dpi
    )
