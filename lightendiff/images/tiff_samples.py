"""TIFF pixels of kinds that neither Pillow nor OpenCV reads, as samples.

Compression packs bytes, whatever they mean. So Pillow unpacks the picture as a grey one of 8 bits that is as wide as a
row has bytes, and what the bytes mean is left to us.
"""

from __future__ import annotations

import struct

import numpy as np
from PIL import TiffImagePlugin

from .exif import directory_entries
from .pixels import loaded

_WIDTH, _BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _PREDICTOR, _TILE, _FORMAT = 256, 258, 262, 277, 284, 317, 322, 339
_KEPT = (257, 259, 273, 278, 279, 323, 324, 325)
_CODES = {1: "u", 2: "i", 3: "f"}


def samples(data: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2) -> np.ndarray:
    """The first page's pixels (h, w, samples), as they are stored. ValueError where they can't be read so."""
    bits, count = set(tags.get(_BITS, (1,))), tags.get(_SAMPLES, 1)
    code = _CODES.get(tags.get(_FORMAT, (1,))[0], "")
    (depth,) = bits if len(bits) == 1 else (0,)
    if data[2:3] == b"+" or data[3:4] == b"+" or depth not in (8, 16, 32, 64) or not code or (code, depth) == ("f", 8):
        raise ValueError(_unsupported(tags))
    if count > 1 and tags.get(_PLANAR, 1) != 1:
        raise ValueError(_unsupported(tags))
    order, step = ("<" if data[:2] == b"II" else ">"), depth // 8 * count
    entries = {tag: data[at : at + 12] for tag, at in directory_entries(data, order) if tag in _KEPT}

    def add(tag: int, value: int) -> None:
        entries[tag] = struct.pack(order + "HHII", tag, 4, 1, value)

    def add_short(tag: int, value: int) -> None:
        entries[tag] = struct.pack(order + "HHIHH", tag, 3, 1, value, 0)

    width, tile = int(tags[_WIDTH]), int(tags.get(_TILE, 0))
    add(_WIDTH, width * step)
    for tag, value in ((_BITS, 8), (_PHOTOMETRIC, 1), (_SAMPLES, 1)):
        add_short(tag, value)
    if tile:
        add(_TILE, tile * step)
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    padded = data + bytes(len(data) % 2)
    with loaded(padded[:4] + struct.pack(order + "I", len(padded)) + padded[8:] + directory, 2**62, "TIFF") as image:
        plain = np.asarray(image)
    parts = [
        _without_predictor(plain[:, left * step : (left + (tile or width)) * step], tags, code, depth, count, order)
        for left in range(0, width, tile or width)
    ]
    return np.concatenate(parts, axis=1)


def _without_predictor(
    plain: np.ndarray, tags: TiffImagePlugin.ImageFileDirectory_v2, code: str, depth: int, count: int, order: str
) -> np.ndarray:
    """Rows of bytes as samples (h, w, count), by the differences that were stored in their place."""
    height, size = len(plain), depth // 8
    predictor = tags.get(_PREDICTOR, 1)
    if predictor == 3:  # bytes of equal weight together, the weightiest first, and their differences
        summed = np.cumsum(plain.reshape(height, -1, count), axis=1, dtype=np.uint8)
        planes = summed.reshape(height, size, -1).swapaxes(1, 2)
        return np.ascontiguousarray(planes).view(f">{code}{size}").reshape(height, -1, count).astype(f"{code}{size}")
    kind = "u" if predictor == 2 else code
    array = np.ascontiguousarray(plain).view(f"{order}{kind}{size}").reshape(height, -1, count).astype(f"{kind}{size}")
    if predictor == 2:
        array = np.cumsum(array, axis=1, dtype=array.dtype).view(f"{code}{size}")
    return array


def _unsupported(tags: TiffImagePlugin.ImageFileDirectory_v2) -> str:
    bits = "/".join(str(value) for value in tags.get(_BITS, (1,)))
    kind = f"{tags.get(_SAMPLES, 1)} channels of {bits} bits, photometric interpretation {tags.get(_PHOTOMETRIC)}"
    return f"a TIFF of a kind that is not supported ({kind}): save it as 8 or 16 bit grey or RGB"
