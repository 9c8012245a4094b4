"""Reading a picture file of any kind, by its content."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, JpegImagePlugin

from ..files.locations import RemotePath, located
from .cicp import profile_of
from .exif import exif_of, still_xmp, upright_xmp, valid_dpi
from .heif import is_heic, make_known
from .picture import MAX_PIXELS, RAW, ImageError, Picture, reason, shown
from .pixels import DECODERS, decode_deep, decoded, kept_profile, loaded, split_alpha, turned
from .png import kept_chunks
from .raw import develop
from .tiff import decode_tiff
from .webp import has_chunk


def read_picture(path: str | os.PathLike[str] | RemotePath, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a PNG, JPEG, WebP, HEIC, AVIF, TIFF, BMP or GIF file, recognised by its content; of several frames the
    first.

    Palettes, 1-bit, CMYK, Lab, 32-bit and floating-point pixels (in [0, 1]) become 8- or 16-bit grey or sRGB. RAW
    photos, recognised by their names' ends, are developed to 16 bit; that needs rawpy, and HEIC pillow-heif. The path
    may be an address of a remote file, as in `locations`.
    Raises ImageError when the file is missing, damaged, of another kind, or has more than max_pixels pixels.
    """
    try:
        return _decode(located(path).read_bytes(), max_pixels, str(path))
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise ImageError(f"{shown(path)}: {reason(error)}") from error


def decode_picture(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """As `read_picture`, from a file's content; the messages of errors call it `name`."""
    try:
        return _decode(data, max_pixels, name)
    except Exception as error:
        raise ImageError(f"{shown(name)}: {reason(error)}") from error


def _decode(data: bytes, max_pixels: int, name: str) -> Picture:
    if not data:
        raise ValueError("the file is empty")
    if Path(name).suffix.lower() in RAW:
        return develop(data, max_pixels)
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0"):
        picture, orientation = decode_tiff(data, max_pixels)
    else:
        picture, orientation = _decode_other(data, max_pixels)
    if orientation == 1:
        return picture
    alpha = None if picture.alpha is None else turned(picture.alpha, orientation)
    dpi = picture.dpi if orientation < 5 or picture.dpi is None else picture.dpi[::-1]
    return replace(
        picture, pixels=turned(picture.pixels, orientation), alpha=alpha, xmp=upright_xmp(picture.xmp), dpi=dpi
    )


def _decode_other(data: bytes, max_pixels: int) -> tuple[Picture, int]:
    decoders = DECODERS
    if is_heic(data):
        make_known()
        decoders = ("HEIF",)
    with loaded(data, max_pixels, decoders) as image:
        kind = {"MPO": "JPEG", "DIB": "BMP"}.get(image.format or "", image.format or "")
        notes = ["only the first frame is restored"] if getattr(image, "is_animated", False) else []
        if kind == "PNG" and data[24] == 16 and image.mode[0] != "I":
            array = decode_deep(data, notes)  # whole: Pillow has complained about damage, which OpenCV may pass over
            if data[25] == 4:  # OpenCV spreads grey with alpha over four channels
                array = array[..., (0, 3)]
        else:
            array = decoded(image, notes)
        exif, orientation = exif_of(image, notes)
        xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
        icc_profile = kept_profile(image)
        if kind in ("HEIF", "AVIF"):
            described = profile_of(data, notes)
            icc_profile = icc_profile or (described if image.mode in ("RGB", "RGBA") else b"")
        picture = Picture(
            *split_alpha(array),
            format=kind,
            exif=exif,
            icc_profile=icc_profile,
            xmp=still_xmp(xmp.encode() if isinstance(xmp, str) else bytes(xmp), notes),
            dpi=valid_dpi(*image.info.get("dpi", (None, None))),
            encoding=_encoding(kind, image, data),
            notes=tuple(notes),
        )
    return picture, orientation


def _encoding(kind: str, image: Image.Image, data: bytes) -> dict[str, Any]:
    if kind == "JPEG":
        assert isinstance(image, JpegImagePlugin.JpegImageFile)
        segments = [block for name, block in image.applist if name == "APP13"]  # IPTC: captions, keywords, rights
        kept = {"progressive": bool(image.info.get("progressive")), "segments": segments}
        kept["comment"] = image.info.get("comment", b"")
        if image.mode != "CMYK":
            kept["qtables"] = [image.quantization[key] for key in sorted(image.quantization)]
            kept["subsampling"] = max(JpegImagePlugin.get_sampling(image), 0)
        return kept
    if kind == "PNG":
        return {"chunks": kept_chunks(data)}
    if kind == "WEBP":
        return {"lossless": data[12:16] == b"VP8L" or (data[12:16] == b"VP8X" and has_chunk(data, b"VP8L"))}
    if kind == "HEIF":
        return {"chroma": image.info.get("chroma", 420)}  # grey has none
    return {}
