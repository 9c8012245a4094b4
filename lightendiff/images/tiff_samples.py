"""TIFF pixels of kinds that neither Pillow nor OpenCV reads, as samples.

Compression packs bytes, whatever they mean. So Pillow unpacks the picture as a grey one of 8 bits that is as wide as a
row has bytes, and what the bytes mean is left to us.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

import numpy as np
from PIL import TiffImagePlugin

from .exif import directory_entries
from .pixels import loaded

_WIDTH, _BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _PREDICTOR, _TILE, _FORMAT = 256, 258, 262, 277, 284, 317, 322, 339
_PLACES = (273, 279, 324, 325)  # of strips and tiles, and how many bytes each has
_KEPT = (257, 259, 278, 323, *_PLACES)
_COMPRESSION, _OF_BYTES = 259, (1, 5, 8, 32773, 32946, 34925, 50000)  # those that don't care for what bytes mean
_CODES = {1: "u", 2: "i", 3: "f"}


def samples(data: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2) -> np.ndarray:
    """The first page's pixels (h, w, samples), as they are stored. ValueError where they can't be read so."""
    bits, count = set(tags.get(_BITS, (1,))), tags.get(_SAMPLES, 1)
    code = _CODES.get(tags.get(_FORMAT, (1,))[0], "")
    (depth,) = bits if len(bits) == 1 else (0,)
    if depth not in (8, 16, 32, 64) or not code or (code, depth) == ("f", 8):
        raise ValueError(_unsupported(tags))
    if tags.get(_COMPRESSION, 1) not in _OF_BYTES:
        raise ValueError(_unsupported(tags))
    if count == 1 or tags.get(_PLANAR, 1) == 1:
        return _interleaved(data, tags, code, depth, count, {})
    planes = []
    for plane in range(count):  # each has its own strips or tiles, in order
        own = {tag: tags[tag][plane * len(tags[tag]) // count :] for tag in _PLACES if tag in tags}
        own = {tag: places[: len(tags[tag]) // count] for tag, places in own.items()}
        planes.append(_interleaved(data, tags, code, depth, 1, own))
    return np.concatenate(planes, axis=2)


def _interleaved(
    data: bytes,
    tags: TiffImagePlugin.ImageFileDirectory_v2,
    code: str,
    depth: int,
    count: int,
    changed: dict[int, tuple[int, ...]],
) -> np.ndarray:
    """Pixels (h, w, count) whose samples lie beside each other, with some tags changed."""
    step, width, tile = depth // 8 * count, int(tags[_WIDTH]), int(tags.get(_TILE, 0))
    changed = {_WIDTH: (width * step,), _BITS: (8,), _PHOTOMETRIC: (1,), _SAMPLES: (1,), **changed}
    if tile:
        changed[_TILE] = (tile * step,)
    with loaded(redirected(data, changed, _KEPT), 2**62, "TIFF") as image:
        plain = np.asarray(image)
    order = "<" if data[:2] == b"II" else ">"
    parts = [
        _without_predictor(plain[:, left * step : (left + (tile or width)) * step], tags, code, depth, count, order)
        for left in range(0, width, tile or width)
    ]
    return np.concatenate(parts, axis=1)


def redirected(data: bytes, changed: dict[int, tuple[int, ...]], kept: Collection[int] | None = None) -> bytes:
    """A TIFF file with another first directory at its end: of the entries those that are `kept`, and the changed ones.

    kept: None for all. changed: tag and numbers below 2³².
    """
    order, out = ("<" if data[:2] == b"II" else ">"), bytearray(data)
    out += bytes(len(out) % 2)
    entries = {tag: data[at : at + 12] for tag, at in directory_entries(data, order) if kept is None or tag in kept}
    for tag, values in changed.items():
        content = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            place = struct.pack(order + "I", len(out))
            out += content
            content = place
        entries[tag] = struct.pack(order + "HHI", tag, 4, len(values)) + content
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    struct.pack_into(order + "I", out, 4, len(out))
    return bytes(out + directory)


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
