"""Colour spaces that HEIC and AVIF files name by code points (ITU-T H.273), as ICC profiles, which all formats keep."""

from __future__ import annotations

import re
import struct

import numpy as np
from PIL import ImageCms

_PRIMARIES = {  # code point: name, and x and y of red, green and blue; white is D65, as sRGB's
    9: ("BT.2020", [[0.708, 0.292], [0.170, 0.797], [0.131, 0.046]]),
    12: ("Display P3", [[0.680, 0.320], [0.265, 0.690], [0.150, 0.060]]),
}
_WHITE = 0.3127, 0.3290
_LIKE_SRGB = (1, 2, 6, 13, 14, 15)  # transfer curves; those of television are shown with sRGB's, too
_CURVES = {16: "PQ (HDR)", 18: "HLG (HDR)"}
_NAME = "sRGB built-in"  # in LittleCMS' profile


def profile_of(data: bytes, notes: list[str]) -> bytes:
    """The ICC profile of a HEIC or AVIF file that has none, or nothing where it is sRGB; notes what can't be kept."""
    properties = _properties(data)
    depths = [box[1][0] for box in re.finditer(rb"pixi.{5}(.)", properties, re.DOTALL)]  # of each box's first channel
    if max(depths, default=8) > 8:
        notes.append(f"{max(depths)} bit is rounded to 8")
    at = properties.find(b"colrnclx")
    if at < 0 or b"colrprof" in properties or b"colrrICC" in properties:
        return b""
    primaries, curve = struct.unpack_from(">HH", properties, at + 8)
    if curve not in _LIKE_SRGB:
        notes.append(f"the brightness curve {_CURVES.get(curve, curve)} is read as sRGB's, which changes its look")
    return icc_profile(*_PRIMARIES[primaries]) if primaries in _PRIMARIES else b""


def icc_profile(name: str, primaries: list[list[float]]) -> bytes:
    """A profile of these primaries, x and y each, with sRGB's white and curve: LittleCMS' profile of sRGB, changed."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {tag: at for tag, at, _ in struct.iter_unpack(">4sII", profile[132 : 132 + 12 * count])}
    to_d50 = np.array(struct.unpack_from(">9i", profile, tags[b"chad"] + 8)).reshape(3, 3) / 65536
    *colours, white = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in [*primaries, _WHITE])
    matrix = np.stack(colours, axis=1)
    matrix = to_d50 @ (matrix * np.linalg.solve(matrix, white))
    for tag, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix.T, strict=True):
        struct.pack_into(">3i", profile, tags[tag] + 8, *np.rint(column * 65536).astype(int))
    struct.pack_into(">6I", profile, tags[b"chrm"] + 12, *np.rint(np.array(primaries).ravel() * 65536).astype(int))
    return bytes(profile).replace(_NAME.encode("utf-16-be"), name.ljust(len(_NAME)).encode("utf-16-be"))


def _properties(data: bytes) -> bytes:
    """The box of the properties of all pictures in a file (ISO/IEC 23008-12), or nothing."""
    at = data.find(b"ipco")
    return data[at : at - 4 + struct.unpack_from(">I", data, at - 4)[0]] if at >= 4 else b""
