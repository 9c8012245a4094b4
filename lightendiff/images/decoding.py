"""What the formats that Pillow decodes have in common: an image as a picture with its metadata."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from .cicp import adobe_profile
from .exif import exif_of, is_adobe_rgb, resolution_of, valid_dpi
from .formats import BY_NAME
from .icc import model_of
from .mending import NOTE
from .picture import Picture
from .pixels import CONVERTED, decoded, kept_profile, split_alpha
from .xmp import plain_xmp


def first_notes(image: Image.Image) -> list[str]:
    """A note where there is more than one frame, and one where the file ended early."""
    notes = ["only the first frame is restored"] if getattr(image, "is_animated", False) else []
    return [*notes, NOTE] if image.info.get("mended") else notes


def as_picture(
    image: Image.Image,
    format: str,
    notes: list[str],
    *,
    array: np.ndarray | None = None,
    icc_profile: bytes | None = None,
    xmp: bytes = b"",
    iptc: bytes = b"",
    comment: bytes = b"",
    encoding: dict[str, Any] | None = None,
) -> tuple[Picture, int]:
    """A decoded image as a picture, and its EXIF orientation.

    array: its pixels (h, w) or (h, w, 1 to 4), where Pillow can't hold them. icc_profile, xmp: in place of Pillow's.
    """
    array = decoded(image, notes) if array is None else array
    exif, orientation = exif_of(image, notes)
    icc_profile = kept_profile(image) if icc_profile is None else icc_profile
    pixels, alpha = split_alpha(array)
    if not icc_profile and pixels.shape[2] == 3 and image.mode not in CONVERTED and is_adobe_rgb(exif):
        icc_profile = adobe_profile()
        notes.append("its EXIF data says Adobe RGB: a profile says so, too")
    resolution = valid_dpi(*image.info.get("dpi", (None, None)))
    if "dpi" not in BY_NAME[format].holds:
        resolution = resolution_of(exif)
    packet = xmp or image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    picture = Picture(
        pixels,
        alpha,
        format=format,
        exif=exif,
        icc_profile=fitting_profile(icc_profile, pixels.shape[2], notes),
        xmp=plain_xmp(packet.encode() if isinstance(packet, str) else bytes(packet), notes),
        iptc=iptc,
        comment=comment,
        dpi=resolution,
        srgb=image.mode in CONVERTED,
        encoding=encoding or {},
        notes=tuple(notes),
    )
    return picture, orientation


def fitting_profile(profile: bytes, channels: int, notes: list[str]) -> bytes:
    """The profile, or nothing where it describes pixels of another colour model."""
    model = model_of(profile)
    if model and (model not in ("RGB", "GRAY") or (model == "GRAY" and channels == 3)):
        notes.append(f"a profile of {model} doesn't fit these pixels: it is left out")
        return b""
    return profile
