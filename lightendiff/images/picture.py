"""What is read and written: a picture with its metadata, the formats, the error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import UnidentifiedImageError

from ..files.locations import why

MAX_PIXELS = 300_000_000  # larger pictures are taken for decompression bombs; the largest phone cameras make 200 MP
FORMATS = {  # the formats that can be written, by extension
    ".png": "PNG", ".apng": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG",
    ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".dib": "BMP",
    ".heic": "HEIF", ".heif": "HEIF", ".hif": "HEIF", ".avif": "AVIF",
}  # fmt: skip
RAW = (".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2")  # cameras' own, read with rawpy
READABLE = (*FORMATS, ".gif", *RAW)
DEFAULT_QUALITY = {"JPEG": 95, "WEBP": 95, "HEIF": 75, "AVIF": 90}  # these keep a photo about as well


class ImageError(ValueError):
    """A picture that can't be read or written. The message is one line that names the file and the reason."""


@dataclass(frozen=True)
class Picture:
    """Pixels, and everything in the file that has to outlive them.

    pixels: (h, w, 1) grey or (h, w, 3) RGB, uint8 or uint16, upright (the EXIF orientation is already applied).
    alpha: (h, w) of the same dtype, or None. format: "PNG", "JPEG", "WEBP", "TIFF", "BMP", "HEIF", "AVIF"
    or "GIF".
    exif: a TIFF structure with orientation 1, or empty. dpi: horizontal and vertical.
    encoding: how the source was compressed and what only its own format can hold; used when the format is kept.
    notes: what reading had to change, in words for the user.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    format: str = "PNG"
    exif: bytes = b""
    icc_profile: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    encoding: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pixels, alpha = self.pixels, self.alpha
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
            raise ValueError(f"pixels: expected shape (h, w, 1) or (h, w, 3), got {pixels.shape}")
        if pixels.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"pixels: expected dtype uint8 or uint16, got {pixels.dtype}")
        if alpha is not None and (alpha.shape != pixels.shape[:2] or alpha.dtype != pixels.dtype):
            expected = f"shape {pixels.shape[:2]} and dtype {pixels.dtype}"
            raise ValueError(f"alpha: expected {expected}, got shape {alpha.shape} and dtype {alpha.dtype}")


def shown(path: object) -> str:
    """The path or address as one printable line, whatever characters or undecodable bytes are in it."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(path))


def reason(error: Exception) -> str:
    """What went wrong in reading or writing a picture, as one line for the user."""
    if isinstance(error, UnidentifiedImageError):
        return "not a PNG, JPEG, WebP, HEIC, AVIF, TIFF, BMP or GIF image"
    if isinstance(error, (ValueError, OSError, ImportError)) and str(error):
        return why(error)
    return f"damaged, or of a kind that is not supported ({type(error).__name__}: {error})".splitlines()[0]
