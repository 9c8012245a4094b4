"""A picture as Pillow has it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .picture import Picture
from .writing import rounded


def as_pil(picture: Picture) -> Image.Image:
    """The picture with its profile, EXIF block and resolution in `info`, where Pillow's formats look for them.

    Its mode is L, LA, RGB or RGBA, or I;16 for 16-bit grey; Pillow has no colour of 16 bits, which is rounded to 8.
    """
    pixels, alpha = picture.pixels, picture.alpha
    if pixels.dtype == np.uint16 and not (pixels.shape[2] == 1 and alpha is None):
        pixels, alpha = rounded(pixels), None if alpha is None else rounded(alpha)
    array = pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    exif = b"Exif\0\0" + picture.exif if picture.exif else b""
    info = {"icc_profile": picture.icc_profile, "exif": exif, "dpi": picture.dpi}
    image.info = {name: value for name, value in info.items() if value}
    return image
