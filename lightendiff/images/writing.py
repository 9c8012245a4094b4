"""Writing a picture file: the whole file or nothing, and what each format can hold of it."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from typing import Any

import numpy as np

from ..files.locations import RemotePath, located
from ..files.storage import write_whole
from .exif import upright_xmp
from .heic import make_known
from .picture import FORMATS, ImageError, Picture, reason, shown
from .pixels import saved
from .png import encode_png
from .tiff import encode_tiff

_LARGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
_JPEG_SEGMENT = 65_533  # bytes that fit into one JPEG marker segment
_DEFAULT_QUALITY = {"JPEG": 95, "WEBP": 95, "HEIF": 75, "AVIF": 90}  # these keep a photo about as well


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
    if format is not None and format.upper() not in _ENCODERS:
        raise ValueError(f"format: expected one of {', '.join(_ENCODERS)}, got {format!r}")
    if quality is not None and not 1 <= quality <= 100:
        raise ValueError(f"quality: expected 1 to 100, got {quality}")
    return (format or (picture.format if picture.format in _ENCODERS else "PNG")).upper()


def _encode(picture: Picture, kind: str, quality: int | None, notes: list[str]) -> bytes:
    height, width, channels = picture.pixels.shape
    if max(height, width) > _LARGEST_SIDE.get(kind, 2**31 - 1):
        raise ValueError(f"{kind} holds at most {_LARGEST_SIDE[kind]} pixels a side, this is {width}×{height}")
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
    return _ENCODERS[kind](array, picture, quality, notes)


def encode_jpeg(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    source = picture.encoding
    exif = b"Exif\0\0" + picture.exif if picture.exif else b""
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + picture.xmp if picture.xmp else b""
    for name, block in (("EXIF", exif), ("XMP", xmp)):
        if len(block) > _JPEG_SEGMENT:
            notes.append(f"JPEG holds at most 64 KB of {name}: it is left out")
    segments = [b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp] if 0 < len(xmp) <= _JPEG_SEGMENT else []
    segments += [b"\xff\xed" + struct.pack(">H", len(block) + 2) + block for block in source.get("segments", ())]
    options: dict[str, Any] = {"progressive": source.get("progressive", False)}
    if quality is None and source.get("qtables"):
        options |= {"qtables": source["qtables"]}
    else:
        options |= {"quality": quality or _DEFAULT_QUALITY["JPEG"]}
    if array.shape[2] == 3:
        options |= {"subsampling": source.get("subsampling", 2 if quality and quality < 90 else 0)}
    if len(exif) <= _JPEG_SEGMENT:
        options |= {"exif": exif}
    if picture.dpi:
        options |= {"dpi": picture.dpi}
    if source.get("comment"):
        options |= {"comment": source["comment"]}
    return saved(array, "JPEG", icc_profile=picture.icc_profile, extra=b"".join(segments), **options)


def encode_webp(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    options: dict[str, Any] = {"quality": quality or _DEFAULT_QUALITY["WEBP"]}
    if quality is None and picture.encoding.get("lossless"):
        options = {"lossless": True, "exact": True}
    return saved(_without_grey_alpha(array), "WEBP", **options, **_metadata(picture))


def encode_heic(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    make_known()
    options: dict[str, Any] = {
        "quality": quality or _DEFAULT_QUALITY["HEIF"],
        "chroma": picture.encoding.get("chroma", 444),
        "enc_params": {"preset": "ultrafast"},  # a seventh of the time, for files a sixth larger
    }
    picture = replace(picture, xmp=upright_xmp(picture.xmp))  # pillow-heif would turn the pixels by it
    return saved(_without_grey_alpha(array), "HEIF", **options, **_metadata(picture))


def encode_avif(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    colour = "4:2:0" if quality and quality < 80 else "4:4:4"
    options: dict[str, Any] = {"subsampling": "4:0:0" if array.shape[2] == 1 else colour}
    options |= {"quality": quality or _DEFAULT_QUALITY["AVIF"], "speed": 8}
    return saved(_without_grey_alpha(array), "AVIF", **options, **_metadata(picture))


def _metadata(picture: Picture) -> dict[str, bytes]:
    blocks = {"exif": picture.exif, "xmp": picture.xmp, "icc_profile": picture.icc_profile}
    return {name: block for name, block in blocks.items() if block}


def _without_grey_alpha(array: np.ndarray) -> np.ndarray:
    """Grey with alpha as colour with alpha."""
    return array[..., (0, 0, 0, 1)] if array.shape[2] == 2 else array


def encode_bmp(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    if picture.exif or picture.xmp or picture.icc_profile:
        notes.append("BMP holds no EXIF, XMP or colour profile: they are left out")
    if array.shape[2] != 4:
        return saved(array, "BMP", **({"dpi": picture.dpi} if picture.dpi else {}))
    # With alpha: a version 4 header with masks, since Pillow's header makes readers ignore the fourth channel.
    height, width = array.shape[:2]
    body = np.ascontiguousarray(array[::-1, :, (2, 1, 0, 3)]).tobytes()
    per_metre = [round(dpi / 0.0254) for dpi in picture.dpi or (96, 96)]
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(body), *per_metre, 0, 0)
    header += struct.pack("<4I4s", *masks, b"BGRs") + bytes(48)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(body), 0, 0, 14 + len(header)) + header + body


_ENCODERS = {
    "PNG": encode_png,
    "JPEG": encode_jpeg,
    "WEBP": encode_webp,
    "HEIF": encode_heic,
    "AVIF": encode_avif,
    "TIFF": encode_tiff,
    "BMP": encode_bmp,
}
