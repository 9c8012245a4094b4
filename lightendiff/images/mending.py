"""Files that end a little early, as after a download that broke off: completed so that decoders take them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

NOTE = "the file ends early: what is missing at the end is made up"
_FEWEST = 16  # rows that may be missing of any picture, the height of a JPEG's blocks
_SHARE = 10  # else a tenth


def mended_jpeg(data: bytes, decode: Callable[[bytes], Image.Image]) -> Image.Image | None:
    """The image of a JPEG file without its end, where all but its last rows are there; else None.

    Those are rows that come out differently when other data follows.
    """
    one, other = (np.asarray(decode(data + tail + b"\xff\xd9")) for tail in (b"", bytes(4096)))
    same = (one == other).reshape(len(one), -1).all(axis=1)
    whole = len(one) if same.all() else int(np.argmin(same))
    return decode(data + b"\xff\xd9") if _enough(whole, len(one)) else None


def mended_png(data: bytes, decode: Callable[[bytes], Image.Image]) -> Image.Image | None:
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
    if interlaced or not _enough(whole, height):
        return None
    plain = plain[: whole * row] + (b"\2" + bytes(row - 1)) * (height - whole)
    return data[:8] + b"".join(head) + _chunk(b"IDAT", zlib.compress(plain, 1)) + _chunk(b"IEND", b"")


def _enough(whole: int, height: int) -> bool:
    return whole > 0 and height - whole <= max(_FEWEST, height // _SHARE)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
