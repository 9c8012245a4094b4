"""HEIC photos, which phones take, by pillow-heif as one of Pillow's formats; and AVIF, in the same container."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import numpy as np

from .exif import upright_xmp
from .picture import DEFAULT_QUALITY, Picture
from .pixels import metadata, saved, without_grey_alpha

_HEVC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}


def is_heic(data: bytes) -> bool:
    """Whether a file begins as HEIF with pictures that HEVC has compressed (ISO/IEC 23008-12)."""
    if data[4:8] != b"ftyp":
        return False
    (end,) = struct.unpack_from(">I", data)
    brands = {data[start : start + 4] for start in (8, *range(16, min(end, 256), 4))}
    return bool(brands & _HEVC)


def make_known() -> None:
    """Make Pillow read and write HEIC, as "HEIF". ImportError tells how to install what that needs."""
    try:
        import pillow_heif
    except ImportError as error:
        raise ImportError("HEIC photos need pillow-heif: pip install 'lightendiff[heic]'") from error
    pillow_heif.register_heif_opener()


def encode_heic(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    make_known()
    options: dict[str, Any] = {
        "quality": quality or DEFAULT_QUALITY["HEIF"],
        "chroma": picture.encoding.get("chroma", 444),
        "enc_params": {"preset": "ultrafast"},  # a seventh of the time, for files a sixth larger
    }
    picture = replace(picture, xmp=upright_xmp(picture.xmp))  # pillow-heif would turn the pixels by it
    return saved(without_grey_alpha(array), "HEIF", **options, **metadata(picture))


def encode_avif(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    colour = "4:2:0" if quality and quality < 80 else "4:4:4"
    options: dict[str, Any] = {"subsampling": "4:0:0" if array.shape[2] == 1 else colour}
    options |= {"quality": quality or DEFAULT_QUALITY["AVIF"], "speed": 8}
    return saved(without_grey_alpha(array), "AVIF", **options, **metadata(picture))
