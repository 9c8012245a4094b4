"""PNG: the chunks that Pillow doesn't keep, and 16 bit."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from .cicp import named_profile
from .decoding import as_picture, first_notes
from .icc import D65, SRGB_PRIMARIES, colour_profile, grey_profile
from .iptc import as_raw_profile, as_resources, from_raw_profile, in_resources
from .mending import NOTE, mended_png, whole_png
from .picture import Picture
from .pixels import encoded_png, kept_profile, loaded, opened, saved

_KEPT = (b"cHRM", b"gAMA", b"sRGB", b"cICP", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"tIME")
_COLOUR = (b"cHRM", b"gAMA", b"sRGB", b"cICP")
_SRGB_GAMMA = 45_455  # what gAMA says of sRGB
_RAW_PROFILE = "Raw profile type "
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_AFTER_HEADER = len(_SIGNATURE) + 25  # position of the chunk that follows IHDR


def read(data: bytes, max_pixels: int) -> tuple[Picture, int]:
    """A PNG file's picture; of an animation, the first frame."""
    with loaded(data, max_pixels, "PNG", mend=mended_png) as image:
        notes, array = first_notes(image), None
        if image.info.get("mended"):
            data = whole_png(data) or data
        elif b"IEND" not in (name for name, _ in _chunks(data)):
            notes.append(NOTE)
        if data[24] == 16 and image.mode[0] != "I":
            array = _deep(data, image)
        grey = image.mode[0] in "1LI"
        profile = kept_profile(image)
        described = b"" if profile and b"cICP" not in dict(_chunks(data)) else _described(data, grey, notes)
        encoding = {"chunks": kept_chunks(data), "described": described}
        xmp, iptc = _raw_profiles(image, notes)
        comment = str(image.info.get("Comment", "")).encode()
        return as_picture(
            image,
            "PNG",
            notes,
            array=array,
            icc_profile=described or profile,
            xmp=xmp,
            iptc=iptc,
            comment=comment,
            encoding=encoding,
        )


def _deep(data: bytes, image: Image.Image) -> np.ndarray:
    """16 bit of a file of which Pillow keeps the higher bytes only: (h, w, 2 to 4), uint16."""
    if data[25] == 4:  # grey with alpha; PNG filters and packs bytes, whatever they mean: read as RGBA of 8 bits
        header = _chunk(b"IHDR", data[16:24] + b"\x08\x06" + data[26:29])
        pairs = np.asarray(opened(data[:8] + header + data[_AFTER_HEADER:], ("PNG",), image.width * image.height))
        return np.ascontiguousarray(pairs).view(">u2").astype(np.uint16)
    with Image.open(io.BytesIO(data), formats=("PNG",)) as again:
        again.tile = [tile._replace(args=f"{image.mode};16L") for tile in again.tile]  # as if they were the higher ones
        array: np.ndarray = (np.asarray(image).astype(np.uint16) << 8) | np.asarray(again)
    if "transparency" not in image.info:
        return array
    seen = (array != np.array(image.info["transparency"], np.uint16)).any(axis=2, keepdims=True)
    return np.concatenate([array, seen * np.uint16(65535)], axis=2)


def _raw_profiles(image: Image.Image, notes: list[str]) -> tuple[bytes, bytes]:
    """XMP and IPTC as ImageMagick stores them."""

    def found(kind: str) -> bytes:
        try:
            return from_raw_profile(str(image.info.get(_RAW_PROFILE + kind, "")))
        except ValueError:
            notes.append(f"unreadable {kind.upper()} data is left out")
            return b""

    xmp, iptc = found("xmp"), found("iptc")
    return xmp, in_resources(iptc) if iptc.startswith(b"8BIM") else iptc


def _described(data: bytes, grey: bool, notes: list[str]) -> bytes:
    """The profile of what the chunks other than iCCP say of colours (PNG, third edition, 4.3), or nothing for sRGB."""
    chunks = {name: body for name, body in _chunks(data) if name in _COLOUR}
    if len(chunks.get(b"cICP", b"")) == 4:
        profile = named_profile(chunks[b"cICP"][0], chunks[b"cICP"][1], notes)
        return b"" if grey else profile
    if b"sRGB" in chunks:
        return b""
    gamma, primaries, white = None, SRGB_PRIMARIES, D65
    if len(chunks.get(b"gAMA", b"")) == 4 and (given := struct.unpack(">I", chunks[b"gAMA"])[0]):
        gamma = None if abs(given - _SRGB_GAMMA) < 1000 else 100_000 / given
    if len(chunks.get(b"cHRM", b"")) == 32:
        values = [value / 100_000 for value in struct.unpack(">8I", chunks[b"cHRM"])]
        (white, *colours) = [(x, y) for x, y in zip(values[::2], values[1::2], strict=True)]
        if all(0 < x < 1 and 0 < y <= 1 for x, y in [white, *colours]):
            primaries = tuple(colours)
        else:
            white = D65
    if gamma is None and (grey or np.allclose([*primaries, white], [*SRGB_PRIMARIES, D65], atol=0.002)):
        return b""
    name = "sRGB's curve" if gamma is None else f"gamma {gamma:.3g}"
    return grey_profile(name, gamma) if grey else colour_profile(f"PNG's primaries, {name}", primaries, white, gamma)


def write(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    """A PNG file of (h, w, 1 to 4) uint8 or uint16; the metadata becomes chunks."""
    plain = _grey_with_alpha(array) if array.shape[2] == 2 else encoded_png(array)
    kept: list[tuple[bytes, bytes]] = list(picture.encoding.get("chunks", ()))
    if picture.icc_profile and picture.icc_profile != picture.encoding.get("described"):
        kept = [chunk for chunk in kept if chunk[0] not in _COLOUR]
        kept.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(picture.icc_profile)))
    if picture.exif:
        kept.append((b"eXIf", picture.exif))
    if picture.xmp:
        kept.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + picture.xmp))
    if picture.iptc:
        if picture.format != "PNG":
            notes.append("PNG has no place of its own for IPTC data: it is kept as a text that few programs read")
        kept.append((b"zTXt", as_raw_profile("iptc", as_resources(picture.iptc))))
    if picture.comment and "chunks" not in picture.encoding:
        kept.append((b"iTXt", b"Comment\0\0\0\0\0" + _utf8(picture.comment)))
    if picture.dpi and not any(name == b"pHYs" for name, _ in kept):
        kept.append((b"pHYs", struct.pack(">IIB", *(round(dpi / 0.0254) for dpi in picture.dpi), 1)))
    return plain[:_AFTER_HEADER] + b"".join(_chunk(*chunk) for chunk in kept) + plain[_AFTER_HEADER:]


def _utf8(text: bytes) -> bytes:
    try:
        return text.decode().encode()
    except UnicodeDecodeError:
        return text.decode("latin-1").encode()


def texts(chunks: Sequence[tuple[bytes, bytes]]) -> list[str]:
    """The keywords of the texts among chunks."""
    return [body.split(b"\0")[0].decode("latin-1") for name, body in chunks if name in (b"tEXt", b"zTXt", b"iTXt")]


def kept_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """(name, body) of the chunks of a PNG file that go into the restored one as they are."""
    # XMP, EXIF and IPTC, which Picture has fields for
    elsewhere = (b"XML:com.adobe.xmp\0", *((_RAW_PROFILE + kind).encode() + b"\0" for kind in ("exif", "xmp", "iptc")))
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
