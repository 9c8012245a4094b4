"""EXIF blocks as bytes: a TIFF structure that is patched where it lies, since maker notes hold offsets into it."""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator
from typing import Any

from PIL import Image

_EMPTY = b"II*\0\x08\0\0\0\0\0\0\0\0\0"
_RESOLUTION = (282, 283, 296)  # horizontal and vertical, and the unit
_ORIENTATION, _EXIF, _SPACE, _WIDTH, _HEIGHT, _INTEROP = 274, 34665, 40961, 40962, 40963, 40965


def directory_entries(tiff: bytes | bytearray, order: str) -> Iterator[tuple[int, int]]:
    """(tag, position) of the entries in the first directory of a TIFF structure."""
    return _entries(tiff, order, struct.unpack_from(order + "I", tiff, 4)[0])


def _entries(tiff: bytes | bytearray, order: str, directory: int) -> Iterator[tuple[int, int]]:
    (count,) = struct.unpack_from(order + "H", tiff, directory)
    for position in range(directory + 2, directory + 2 + 12 * count, 12):
        yield struct.unpack_from(order + "H", tiff, position)[0], position


def reset_orientation(tiff: bytes, drop_thumbnail: bool = False) -> tuple[bytes, int]:
    """A TIFF structure with its orientation set to 1 and nothing else changed or moved, and the old orientation."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        raise ValueError("no TIFF structure")
    patched, orientation = bytearray(tiff), 1
    (end,) = struct.unpack_from(order + "I", tiff, 4)
    end += 2
    for tag, position in directory_entries(tiff, order):
        end = position + 12
        if tag == _ORIENTATION:
            (kind,) = struct.unpack_from(order + "H", tiff, position + 2)
            code = {1: "B", 4: "I"}.get(kind, "H")  # some programs write a BYTE or LONG where SHORT is prescribed
            (orientation,) = struct.unpack_from(order + code, tiff, position + 8)
            struct.pack_into(order + "HIHH", patched, position + 2, 3, 1, 1, 0)
    if drop_thumbnail and end + 4 <= len(patched):
        struct.pack_into(order + "I", patched, end, 0)  # the second directory is the thumbnail's
    return bytes(patched), orientation if 2 <= orientation <= 8 else 1


def exif_of(image: Image.Image, notes: list[str]) -> tuple[bytes, int]:
    """The EXIF block as an upright TIFF structure without its thumbnail (that is a dark one), and its orientation."""
    try:
        block = image.info.get("exif") or b""
        if profile := image.info.get("Raw profile type exif"):  # ImageMagick's way, in hexadecimal
            block = bytes.fromhex("".join(profile.split("\n")[3:]))
        block = re.sub(rb"\A(Exif\0\0)+", b"", block)
        return reset_orientation(block, drop_thumbnail=True) if block else (b"", 1)
    except (ValueError, struct.error, IndexError):
        notes.append("an unreadable EXIF block is left out")
        return b"", 1


def _inner(tiff: bytes, tag: int) -> tuple[str, dict[int, int]]:
    """The byte order, and tags and positions of the entries in the directory that a tag of the first one points to."""
    order = "<" if tiff[:2] == b"II" else ">"
    place = dict(directory_entries(tiff, order)).get(tag)
    if place is None:
        return order, {}
    return order, dict(_entries(tiff, order, struct.unpack_from(order + "I", tiff, place + 8)[0]))


def is_adobe_rgb(tiff: bytes) -> bool:
    """Whether an EXIF block says Adobe RGB, as cameras do (DCF 2.0, optional colour space)."""
    try:
        order, entries = _inner(tiff, _EXIF)
        place = entries.get(_INTEROP)
        if place is None:
            return False
        (at,) = struct.unpack_from(order + "I", tiff, place + 8)
        index = dict(_entries(tiff, order, at)).get(1)
        return index is not None and tiff[index + 8 : index + 11] == b"R03"
    except struct.error:
        return False


def fitted(tiff: bytes, width: int, height: int, srgb: bool) -> bytes:
    """An EXIF block with the size that it states, where it does, set to the picture's; and with the colour space.

    That is sRGB with `srgb`. Patched where it lies; what can't be read stays.
    """
    patched = bytearray(tiff)
    with contextlib.suppress(struct.error):
        order, entries = _inner(tiff, _EXIF)
        for tag, value in ((_WIDTH, width), (_HEIGHT, height)):
            if tag in entries:
                struct.pack_into(order + "HHII", patched, entries[tag], tag, 4, 1, value)
        if srgb and _SPACE in entries:
            struct.pack_into(order + "HHIHH", patched, entries[_SPACE], _SPACE, 3, 1, 1, 0)
    return bytes(patched)


def with_resolution(tiff: bytes, dpi: tuple[float, float]) -> bytes:
    """An EXIF block that says how many dots per inch, as it does already or by what is put behind all that is in it."""
    data = bytearray(tiff or _EMPTY)
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    entries = {tag: bytes(data[at : at + 12]) for tag, at in directory_entries(data, order)}
    if _RESOLUTION[0] in entries:
        return tiff
    following = data[start + 2 + 12 * len(entries) :][:4].ljust(4, b"\0")
    data += bytes(len(data) % 2)
    for tag, value in zip(_RESOLUTION[:2], dpi, strict=True):
        entries[tag] = struct.pack(order + "HHII", tag, 5, 1, len(data))
        data += struct.pack(order + "II", round(value * 1000), 1000)
    entries[_RESOLUTION[2]] = struct.pack(order + "HHIHH", _RESOLUTION[2], 3, 1, 2, 0)
    struct.pack_into(order + "I", data, 4, len(data))
    data += struct.pack(order + "H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + following
    return bytes(data)


def resolution_of(tiff: bytes) -> tuple[float, float] | None:
    """The dots per inch that an EXIF block says."""
    with contextlib.suppress(struct.error, ZeroDivisionError):
        order = "<" if tiff[:2] == b"II" else ">"
        entries = dict(directory_entries(tiff, order))
        places = [
            struct.unpack_from(order + "I", tiff, entries[tag] + 8)[0] for tag in _RESOLUTION[:2] if tag in entries
        ]
        values = [above / below for above, below in (struct.unpack_from(order + "II", tiff, at) for at in places)]
        unit = struct.unpack_from(order + "H", tiff, entries[_RESOLUTION[2]] + 8)[0] if _RESOLUTION[2] in entries else 2
        if len(values) == 2 and unit in (2, 3):
            return valid_dpi(values[0], values[1], 2.54 if unit == 3 else 1.0)
    return None


def valid_dpi(x: Any, y: Any, per_unit: float = 1.0) -> tuple[float, float] | None:
    """(x, y) as dots per inch; None where they are missing or make no sense."""
    with contextlib.suppress(TypeError, ValueError):  # no reason to refuse the picture
        dpi = float(x) * per_unit, float(y) * per_unit
        return dpi if all(0 < value < 1e6 for value in dpi) else None
    return None
