"""What is read and written: a picture with its metadata, the formats, the error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import UnidentifiedImageError

from ..files.locations import shown, why
from .formats import titles


class ImageError(ValueError):
    """A picture that can't be read or written. The message is one printable line: the file and the reason."""

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))


@dataclass(frozen=True)
class Picture:
    """Pixels, and everything in the file that has to outlive them.

    pixels: (h, w, 1) grey or (h, w, 3) RGB, uint8 or uint16, upright (the EXIF orientation is already applied).
    alpha: (h, w) of the same dtype, or None. format: name of a row in `formats`.
    exif: a TIFF structure with orientation 1, or empty. dpi: horizontal and vertical. srgb: whether reading has
    converted the colours to sRGB, whatever the metadata says.
    iptc: its records, without what a format wraps around them. comment: text of the file, as the file encodes it.
    encoding: how the source was compressed and what only its own format can hold; used when the format is kept.
    notes: what reading had to change, in words for the user.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    format: str = "PNG"
    exif: bytes = b""
    icc_profile: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    comment: bytes = b""
    dpi: tuple[float, float] | None = None
    srgb: bool = False
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


def reason(error: Exception) -> str:
    """What went wrong in reading or writing a picture, as one line for the user."""
    if isinstance(error, UnidentifiedImageError):
        return f"not a {titles()} image"
    if isinstance(error, MemoryError):
        return "it takes more memory to decode than there is"
    if isinstance(error, (ValueError, OSError, ImportError)) and str(error):
        return why(error)
    return f"damaged, or of a kind that is not supported ({type(error).__name__}: {error})".splitlines()[0]
