"""What the formats that Pillow decodes have in common: an image as a picture with its metadata."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from .exif import exif_of, still_xmp, valid_dpi
from .picture import Picture
from .pixels import decoded, kept_profile, loaded, split_alpha


def read_with_pillow(data: bytes, max_pixels: int, format: str, *decoders: str) -> tuple[Picture, int]:
    """The first frame as it is stored, decoded by one of these decoders, and its EXIF orientation."""
    with loaded(data, max_pixels, *decoders) as image:
        return as_picture(image, format, frames_note(image))


def frames_note(image: Image.Image) -> list[str]:
    """A note where there is more than one frame, else none."""
    return ["only the first frame is restored"] if getattr(image, "is_animated", False) else []


def as_picture(
    image: Image.Image,
    format: str,
    notes: list[str],
    *,
    array: np.ndarray | None = None,
    icc_profile: bytes | None = None,
    encoding: dict[str, Any] | None = None,
) -> tuple[Picture, int]:
    """A decoded image as a picture, and its EXIF orientation.

    array: its pixels (h, w) or (h, w, 1 to 4), where Pillow can't hold them. icc_profile: in place of Pillow's.
    """
    array = decoded(image, notes) if array is None else array
    exif, orientation = exif_of(image, notes)
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    picture = Picture(
        *split_alpha(array),
        format=format,
        exif=exif,
        icc_profile=kept_profile(image) if icc_profile is None else icc_profile,
        xmp=still_xmp(xmp.encode() if isinstance(xmp, str) else bytes(xmp), notes),
        dpi=valid_dpi(*image.info.get("dpi", (None, None))),
        encoding=encoding or {},
        notes=tuple(notes),
    )
    return picture, orientation
