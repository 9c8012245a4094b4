"""PNG: the chunks that Pillow doesn't keep, and 16 bit."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from .decoding import as_picture, frames_note
from .picture import Picture
from .pixels import decode_deep, encoded_png, loaded, saved

_KEPT = (b"cHRM", b"gAMA", b"sRGB", b"cICP", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"tIME")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_AFTER_HEADER = len(_SIGNATURE) + 25  # position of the chunk that follows IHDR


def read(data: bytes, max_pixels: int) -> tuple[Picture, int]:
    """A PNG file's picture; of an animation, the first frame."""
    with loaded(data, max_pixels, "PNG") as image:
        notes, array = frames_note(image), None
        if data[24] == 16 and image.mode[0] != "I":
            array = decode_deep(data, notes)  # whole: Pillow has complained about damage, which OpenCV may pass over
            if data[25] == 4:  # OpenCV spreads grey with alpha over four channels
                array = array[..., (0, 3)]
        return as_picture(image, "PNG", notes, array=array, encoding={"chunks": kept_chunks(data)})


def write(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    """A PNG file of (h, w, 1 to 4) uint8 or uint16; the metadata becomes chunks. No note is ever needed."""
    plain = _grey_with_alpha(array) if array.shape[2] == 2 else encoded_png(array)
    kept: list[tuple[bytes, bytes]] = list(picture.encoding.get("chunks", ()))
    if picture.icc_profile:
        kept.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(picture.icc_profile)))
    if picture.exif:
        kept.append((b"eXIf", picture.exif))
    if picture.xmp:
        kept.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + picture.xmp))
    if picture.dpi and not any(name == b"pHYs" for name, _ in kept):
        kept.append((b"pHYs", struct.pack(">IIB", *(round(dpi / 0.0254) for dpi in picture.dpi), 1)))
    return plain[:_AFTER_HEADER] + b"".join(_chunk(*chunk) for chunk in kept) + plain[_AFTER_HEADER:]


def kept_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """(name, body) of the chunks of a PNG file that go into the restored one as they are."""
    elsewhere = (b"XML:com.adobe.xmp\0", b"Raw profile type ")  # XMP and EXIF, which Picture has fields for
    return [(name, body) for name, body in _chunks(data) if name in _KEPT and not body.startswith(elsewhere)]


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(_SIGNATURE)
    while position + 12 <= len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        yield name, data[position + 8 : position + 8 + size]
        position += 12 + size


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _grey_with_alpha(array: np.ndarray) -> bytes:
    """A PNG of (h, w, 2)."""
    if array.dtype == np.uint8:
        return saved(array, "PNG", compress_level=4)
    # No library writes 16 bit of it. Its pixels have four bytes, like those of 8-bit RGBA, and PNG filters and packs
    # bytes, whatever they mean: such a file differs in the header's depth (16) and colour type (4) only.
    plain = encoded_png(np.ascontiguousarray(array.astype(">u2")).view(np.uint8))
    return plain[:8] + _chunk(b"IHDR", plain[16:24] + b"\x10\x04" + plain[26:29]) + plain[_AFTER_HEADER:]
