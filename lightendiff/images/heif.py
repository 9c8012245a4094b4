"""HEIC photos, which phones take, by pillow-heif as one of Pillow's formats; what AVIF has in common with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .cicp import profile_of
from .decoding import as_picture, first_notes
from .formats import BY_NAME
from .mending import mended_boxes
from .picture import Picture
from .pixels import kept_profile, loaded, metadata, saved
from .xmp import upright_xmp


def make_known() -> None:
    """Make Pillow read and write HEIC, as "HEIF". ImportError tells how to install what that needs."""
    try:
        import pillow_heif
    except ImportError as error:
        raise ImportError("HEIC photos need pillow-heif: pip install 'lightendiff[heic]'") from error
    pillow_heif.register_heif_opener()


def read(data: bytes, max_pixels: int) -> tuple[Picture, int]:
    """The first picture of a HEIC file, rounded to 8 bit."""
    make_known()
    return read_container(data, max_pixels, "HEIF")


def read_container(data: bytes, max_pixels: int, format: str) -> tuple[Picture, int]:
    """The first picture of a HEIC or AVIF file, with the profile of the colours that it describes."""
    with loaded(data, max_pixels, format, mend=mended_boxes) as image:
        notes = first_notes(image)
        described = profile_of(data, notes)
        others = [str(name) for name in image.info.get("aux") or {} if "alpha" not in str(name)]
        if others or image.info.get("depth_images"):
            notes.append("pictures that go with it (a gain map or depth) are left out")
        profile = kept_profile(image) or (described if image.mode in ("RGB", "RGBA") else b"")
        encoding = {"chroma": image.info.get("chroma", 420)} if format == "HEIF" else {}  # grey has none
        return as_picture(image, format, notes, icc_profile=profile, encoding=encoding)


def write(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    """A HEIC file of (h, w, 1, 3 or 4) uint8."""
    make_known()
    options: dict[str, Any] = {
        "quality": quality or BY_NAME["HEIF"].quality,
        "chroma": picture.encoding.get("chroma", 444),
        "enc_params": {"preset": "ultrafast"},  # a seventh of the time, for files a sixth larger
    }
    picture = replace(picture, xmp=upright_xmp(picture.xmp))  # pillow-heif would turn the pixels by it
    return saved(array, "HEIF", **options, **metadata(picture))
