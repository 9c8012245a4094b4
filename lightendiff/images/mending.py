"""Files that end a little early, as after a download that broke off: completed so that decoders take them."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image

Decode = Callable[[bytes], Image.Image]
NOTE = "the file ends early: what is missing at the end is made up"
TOO_EARLY = "truncated: too much is missing at the end of the file"
_FEWEST = 16  # rows that may be missing of any picture, the height of a JPEG's blocks
_BLOCK = 64  # of HEIC and AVIF, likewise
_SHARE = 10  # else a tenth
_LESS = (
    0,
    8,
    16,
    32,
    64,
    128,
    256,
    1024,
    4096,
)  # bytes of the end that are doubted, too: decoders may fail over some places to end


def enough(whole: int, height: int, fewest: int = _FEWEST) -> bool:
    """Whether a picture of which so many rows are whole is worth restoring."""
    return whole > 0 and height - whole <= max(fewest, height // _SHARE)


def mended_jpeg(data: bytes, decode: Decode) -> Image.Image | None:
    """The image of a JPEG file without its end, where all but its last rows are there; None if it isn't that.

    Those are rows that come out differently when other data follows.
    """
    try:
        one, other = (np.asarray(decode(data + tail + b"\xff\xd9")) for tail in (b"", bytes(4096)))
    except OSError:
        return None
    whole = _equal(one, other)
    if not enough(len(one) if whole.all() else int(np.argmin(whole)), len(one)):
        raise ValueError(TOO_EARLY)
    return decode(data + b"\xff\xd9")


def mended_png(data: bytes, decode: Decode) -> Image.Image | None:
    """The image of a PNG file without its end, the last row repeated, where all but the last are there; else None."""
    whole = whole_png(data)
    return None if whole is None else decode(whole)


def whole_png(data: bytes) -> bytes | None:
    """As `mended_png`, the file."""
    width, height, bits, kind, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    at, head, packed = 8, list[bytes](), list[bytes]()
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        if name == b"IDAT":
            packed.append(body)
        elif name != b"IEND" and not packed and len(body) == size:
            head.append(_chunk(name, body))
        at += 12 + size
    row = 1 + (width * bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(kind, 1) + 7) // 8
    limit = row * height
    try:
        plain = zlib.decompressobj().decompress(b"".join(packed), limit)
    except zlib.error:
        return None
    whole = len(plain) // row
    if interlaced or not enough(whole, height):
        return None
    plain = plain[: whole * row] + (b"\2" + bytes(row - 1)) * (height - whole)
    return data[:8] + b"".join(head) + _chunk(b"IDAT", zlib.compress(plain, 1)) + _chunk(b"IEND", b"")


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _mended(
    complete: Callable[[bytes], bytes | None], data: bytes, decode: Decode, upwards: bool = False, fewest: int = _FEWEST
) -> Image.Image | None:
    """The image of a file that `complete` makes whole, with zeros for example; None if it is so already.

    Rows that change when a little more is missing aren't whole, nor are those after them: they repeat the last whole
    one. upwards: whether the file has the lowest row first. fewest: rows that may be missing of any picture.
    """
    if complete(data) is None:
        return None
    images: list[Image.Image] = []
    for less in _LESS:
        with contextlib.suppress(Exception):  # decoders raise nearly anything
            images.append(decode(complete(data[: len(data) - less]) or b""))
        if len(images) == 2:
            same = _equal(*(np.asarray(image) for image in images))
            whole = np.logical_and.accumulate(same[::-1])[::-1] if upwards else np.logical_and.accumulate(same)
            if enough(int(whole.sum()), len(whole), fewest):
                return _repeated(images[0], whole)
            break
    raise ValueError(TOO_EARLY)


def _equal(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """For each row whether it's the same."""
    same: np.ndarray = (one == other).reshape(len(one), -1).all(axis=1)
    return same


def _repeated(image: Image.Image, whole: np.ndarray) -> Image.Image:
    """The image with the nearest whole row in place of each that isn't."""
    first, last = np.flatnonzero(whole)[[0, -1]].tolist()
    for row in np.flatnonzero(~whole).tolist():
        nearest = min(max(row, first), last)
        image.paste(image.crop((0, nearest, image.width, nearest + 1)), (0, row))
    return image


def _whole_webp(data: bytes) -> bytes | None:
    return _padded(data, 8 + struct.unpack_from("<I", data, 4)[0])


def _whole_boxes(data: bytes) -> bytes | None:
    """A HEIC or AVIF file whose last box, that of the compressed pictures, ends early."""
    at = 0
    while at + 16 <= len(data):
        size, _, long = struct.unpack_from(">I4sQ", data, at)
        size = long if size == 1 else size
        if size < 8:
            return None
        at += size
    return _padded(data, at)


def _whole_bmp(data: bytes) -> bytes | None:
    """Only for pixels that aren't compressed."""
    start, width, height, bits, compression = struct.unpack_from("<I4xii2xHI", data, 10)
    return None if compression in (1, 2) else _padded(data, start + (width * bits + 31) // 32 * 4 * abs(height))


def mended_bmp(data: bytes, decode: Decode) -> Image.Image | None:
    """As the others."""
    return _mended(_whole_bmp, data, decode, upwards=struct.unpack_from("<i", data, 22)[0] > 0)


def _padded(data: bytes, size: int) -> bytes | None:
    """With zeros up to that size; ValueError if more is missing than there is."""
    if size > 2 * len(data):
        raise ValueError(TOO_EARLY)
    return data + bytes(size - len(data)) if len(data) < size else None


def _whole_gif(data: bytes) -> bytes | None:
    """The first frame's codes go on with zeros, each a pixel of the first colour, for as many rows as may miss."""
    at = 13 + _palette(data[10])
    while data[at] != 0x2C:  # an image
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
    width, height, flags = struct.unpack_from("<HHB", data, at + 5)
    at += 10 + _palette(flags) + 1
    while at < len(data) and data[at]:
        if at + 1 + data[at] > len(data):
            break
        at += 1 + data[at]
    if at < len(data) and data[at] == 0:
        return None
    rest = data[at + 1 :]
    last = bytes([len(rest)]) + rest if rest else b""
    missing: int = 2 * width * (2 * _FEWEST + height // _SHARE)  # bytes: a code has at most 12 bits
    return data[:at] + last + (b"\xff" + bytes(255)) * (missing // 255 + 1) + b"\0;"


def _palette(flags: int) -> int:
    return 3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0


mended_webp = partial(_mended, _whole_webp)
mended_boxes = partial(_mended, _whole_boxes, fewest=_BLOCK)
mended_gif = partial(_mended, _whole_gif)
