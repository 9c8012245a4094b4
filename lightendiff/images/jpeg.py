"""JPEG, with the tables, comments and rights of the file that a picture came from."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

from .decoding import as_picture, first_notes
from .formats import BY_NAME
from .iptc import PHOTOSHOP, as_resources, in_resources
from .mending import mended_jpeg
from .picture import Picture
from .pixels import loaded, saved

_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1"
_JPEG_SEGMENT = 65_533  # bytes that fit into one JPEG marker segment


def read(data: bytes, max_pixels: int) -> tuple[Picture, int]:
    """The first picture of a JPEG file."""
    with loaded(data, max_pixels, "JPEG", "MPO", mend=mended_jpeg) as image:
        notes = first_notes(image)
        encoding = _encoding(image)
        resources = b"".join(block[len(PHOTOSHOP) :] for block in encoding["segments"] if block.startswith(PHOTOSHOP))
        if any(block.startswith(_GAIN_MAP) for _, block in image.applist) and b"hdrgm:" not in data:  # type: ignore[attr-defined]
            notes.append("the gain map for HDR screens is left out")
        comment = image.info.get("comment", b"")
        return as_picture(image, "JPEG", notes, iptc=in_resources(resources), comment=comment, encoding=encoding)


def _encoding(image: Image.Image) -> dict[str, Any]:
    assert isinstance(image, JpegImagePlugin.JpegImageFile)
    segments = [block for name, block in image.applist if name == "APP13"]  # IPTC: captions, keywords, rights
    kept = {"progressive": bool(image.info.get("progressive")), "segments": segments}
    kept["extended"] = [block for name, block in image.applist if name == "APP1" and block.startswith(_EXTENDED_XMP)]
    if image.mode != "CMYK":
        kept["qtables"] = [image.quantization[key] for key in sorted(image.quantization)]
        kept["subsampling"] = max(JpegImagePlugin.get_sampling(image), 0)
    return kept


def write(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    """A JPEG file of (h, w, 1 or 3) uint8."""
    source = picture.encoding
    exif = b"Exif\0\0" + picture.exif if picture.exif else b""
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + picture.xmp if picture.xmp else b""
    for name, block in (("EXIF", exif), ("XMP", xmp)):
        if len(block) > _JPEG_SEGMENT:
            notes.append(f"JPEG holds at most 64 KB of {name}: it is left out")
    segments = [b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp] if 0 < len(xmp) <= _JPEG_SEGMENT else []
    extended = source.get("extended", ()) if segments else ()
    segments += [b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block for block in extended]
    resources = source.get("segments", ())
    if picture.iptc and not resources:
        resources = [PHOTOSHOP + as_resources(picture.iptc)]
    for block in resources:
        if len(block) <= _JPEG_SEGMENT:
            segments.append(b"\xff\xed" + struct.pack(">H", len(block) + 2) + block)
        else:
            notes.append("JPEG holds at most 64 KB of IPTC: it is left out")
    options: dict[str, Any] = {"progressive": source.get("progressive", False)}
    if quality is None and source.get("qtables"):
        options |= {"qtables": source["qtables"]}
    else:
        options |= {"quality": quality or BY_NAME["JPEG"].quality}
    if array.shape[2] == 3:
        options |= {"subsampling": source.get("subsampling", 2 if quality and quality < 90 else 0)}
    if len(exif) <= _JPEG_SEGMENT:
        options |= {"exif": exif}
    if picture.dpi:
        options |= {"dpi": picture.dpi}
    if picture.comment:
        options |= {"comment": picture.comment[:_JPEG_SEGMENT]}
    return saved(array, "JPEG", icc_profile=picture.icc_profile, extra=b"".join(segments), **options)
