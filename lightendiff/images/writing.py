"""Writing a picture file: the whole file or nothing, and what each format can hold of it."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from ..files.locations import RemotePath, located, shown
from ..files.storage import write_whole
from .exif import fitted, with_resolution
from .formats import BY_NAME, FORMATS, TABLE, Format, written_as
from .icc import as_colour, model_of
from .picture import ImageError, Picture, reason
from .png import texts


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
    row = _row(picture, format or FORMATS.get(os.path.splitext(str(path))[1].lower()), quality)
    notes: list[str] = []
    try:
        write_whole(located(path), _encode(picture, row, quality, notes))
    except Exception as error:
        raise ImageError(f"{shown(path)}: {reason(error)}") from error
    return tuple(notes)


def encode_picture(
    picture: Picture, *, format: str | None = None, quality: int | None = None
) -> tuple[bytes, tuple[str, ...]]:
    """The content of the file that `write_picture` would write, in the picture's own format by default; the notes."""
    row = _row(picture, format, quality)
    notes: list[str] = []
    try:
        data = _encode(picture, row, quality, notes)
    except Exception as error:
        raise ImageError(reason(error)) from error
    return data, tuple(notes)


def _row(picture: Picture, format: str | None, quality: int | None) -> Format:
    """The format to write, after the arguments of both functions above are checked."""
    names = [row.name for row in TABLE if row.written]
    if format is not None and format.upper() not in names:
        raise ValueError(f"format: expected one of {', '.join(names)}, got {format!r}")
    if quality is not None and not 1 <= quality <= 100:
        raise ValueError(f"quality: expected 1 to 100, got {quality}")
    return written_as(picture.format) if format is None else BY_NAME[format.upper()]


def _encode(picture: Picture, row: Format, quality: int | None, notes: list[str]) -> bytes:
    height, width, channels = picture.pixels.shape
    if max(height, width) > row.largest_side:
        raise ValueError(f"{row.title} holds at most {row.largest_side} pixels a side, this is {width}×{height}")
    pixels, alpha = picture.pixels, picture.alpha
    if alpha is not None and not row.alpha:
        if (alpha != np.iinfo(alpha.dtype).max).any():
            notes.append(f"{row.title} holds no transparency: it is left out")
        alpha = None
    if 8 * pixels.itemsize > row.bits:
        notes.append(f"{row.title} holds {row.bits} bit: 16 bit is rounded")
        pixels, alpha = rounded(pixels), None if alpha is None else rounded(alpha)
    if alpha is not None and channels == 1 and 8 * pixels.itemsize > row.grey_bits:
        pixels = pixels.repeat(3, axis=2)  # few programs (not even our reader) take grey with alpha there
    array = pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)
    if array.shape[2] >= 3 and model_of(picture.icc_profile) == "GRAY":
        picture = replace(picture, icc_profile=as_colour(picture.icc_profile))
    _note_left_out(picture, row, notes)
    exif = fitted(picture.exif, width, height, srgb=picture.srgb) if picture.exif else b""
    if picture.dpi and "dpi" not in row.holds and "exif" in row.holds:
        exif = with_resolution(exif, picture.dpi)
    picture = replace(picture, exif=exif)
    if picture.format != row.name:
        picture = replace(picture, encoding={})
    data: bytes = row.codec().write(array, picture, quality, notes)
    return data


def rounded(array: np.ndarray) -> np.ndarray:
    """16 bit as 8."""
    return ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _note_left_out(picture: Picture, row: Format, notes: list[str]) -> None:
    blocks = {
        "exif": ("EXIF", picture.exif),
        "xmp": ("XMP", picture.xmp),
        "profile": ("colour profile", picture.icc_profile),
    }
    names = [name for key, (name, block) in blocks.items() if block and key not in row.holds]
    if names:
        *others, last = [name for key, (name, _) in blocks.items() if key not in row.holds]
        notes.append(f"{row.title} holds no {', '.join(others)} or {last}: they are left out")
    for key, what, block in (("iptc", "IPTC data", picture.iptc), ("comment", "comment", picture.comment)):
        if block and key not in row.holds:
            notes.append(f"{row.title} holds no {what}: it is left out")
    if picture.format != row.name:
        if picture.encoding.get("extended"):
            notes.append("only JPEG holds extended XMP: it is left out")
        if names := [name for name in texts(picture.encoding.get("chunks", ())) if name != "Comment"]:
            notes.append(f"only PNG holds texts of its kind: they are left out ({', '.join(names)})")
