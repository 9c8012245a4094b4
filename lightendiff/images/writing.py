"""Writing a picture file: the whole file or nothing, and what each format can hold of it."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from ..files.locations import RemotePath, located
from ..files.storage import write_whole
from .formats import ENCODERS, LARGEST_SIDE
from .picture import FORMATS, ImageError, Picture, reason, shown


def write_picture(
    path: str | os.PathLike[str] | RemotePath,
    picture: Picture,
    *,
    format: str | None = None,
    quality: int | None = None,
) -> tuple[str, ...]:
    """Write a picture as the format says, else as the extension says, else in its own format.

    quality (1–100) is for JPEG, WebP, HEIC and AVIF; without it a JPEG keeps its source's tables and a lossless WebP
    stays lossless, everything else gets 95, or in HEIC and AVIF what looks as good. The path may be an address of a
    remote file, as in `storage`, which says how the file appears only when whole. Returns notes on what the format
    could not hold. Raises ImageError; then nothing is left.
    """
    kind = _kind(picture, format or FORMATS.get(os.path.splitext(str(path))[1].lower()), quality)
    notes: list[str] = []
    try:
        write_whole(located(path), _encode(picture, kind, quality, notes))
    except Exception as error:
        raise ImageError(f"{shown(path)}: {reason(error)}") from error
    return tuple(notes)


def encode_picture(
    picture: Picture, *, format: str | None = None, quality: int | None = None
) -> tuple[bytes, tuple[str, ...]]:
    """The content of the file that `write_picture` would write, in the picture's own format by default; the notes."""
    kind = _kind(picture, format, quality)
    notes: list[str] = []
    try:
        data = _encode(picture, kind, quality, notes)
    except Exception as error:
        raise ImageError(reason(error)) from error
    return data, tuple(notes)


def _kind(picture: Picture, format: str | None, quality: int | None) -> str:
    """The name of the encoder, after the arguments of both functions above are checked."""
    if format is not None and format.upper() not in ENCODERS:
        raise ValueError(f"format: expected one of {', '.join(ENCODERS)}, got {format!r}")
    if quality is not None and not 1 <= quality <= 100:
        raise ValueError(f"quality: expected 1 to 100, got {quality}")
    return (format or (picture.format if picture.format in ENCODERS else "PNG")).upper()


def _encode(picture: Picture, kind: str, quality: int | None, notes: list[str]) -> bytes:
    height, width, channels = picture.pixels.shape
    if max(height, width) > LARGEST_SIDE.get(kind, 2**31 - 1):
        raise ValueError(f"{kind} holds at most {LARGEST_SIDE[kind]} pixels a side, this is {width}×{height}")
    pixels, alpha = picture.pixels, picture.alpha
    if alpha is not None and kind == "JPEG":
        if (alpha != np.iinfo(alpha.dtype).max).any():
            notes.append("JPEG holds no transparency: it is left out")
        alpha = None
    if alpha is not None and channels == 1 and (kind == "BMP" or (kind == "TIFF" and pixels.dtype == np.uint16)):
        pixels = pixels.repeat(3, axis=2)  # few programs (not even our reader) take grey with alpha there
    array = pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)
    if array.dtype == np.uint16 and kind not in ("PNG", "TIFF"):
        notes.append(f"{kind} holds 8 bit: 16 bit is rounded")
        array = ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if picture.format != kind:
        picture = replace(picture, encoding={})
    return ENCODERS[kind](array, picture, quality, notes)
