"""Colour spaces that HEIC, AVIF and PNG files name by code points (ITU-T H.273), as ICC profiles, which all keep."""

from __future__ import annotations

import re
import struct

from .icc import ADOBE_GAMMA, ADOBE_PRIMARIES, D65, SRGB_PRIMARIES, Point, Points, colour_profile

_DCI = (0.314, 0.351)
_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
_PRIMARIES: dict[int, tuple[str, Points, Point]] = {  # code point: name, x and y of red, green and blue, and of white
    1: ("sRGB", SRGB_PRIMARIES, D65),
    5: ("BT.601 PAL", ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)), D65),
    6: ("BT.601 NTSC", ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07)), D65),
    9: ("BT.2020", ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), D65),
    11: ("DCI-P3", _P3, _DCI),
    12: ("Display P3", _P3, D65),
}
_LIKE_SRGB = (1, 2, 6, 13, 14, 15)  # transfer curves; those of television are shown with sRGB's, too
_POWERS = {4: 2.2, 5: 2.8, 8: 1.0}
_CURVES = {16: "PQ (HDR)", 18: "HLG (HDR)"}


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
    return named_profile(primaries, curve, notes)


def named_profile(primaries: int, curve: int, notes: list[str]) -> bytes:
    """The ICC profile of the code points of primaries and of a transfer curve, or nothing where it is sRGB."""
    if curve not in _LIKE_SRGB and curve not in _POWERS:
        notes.append(f"the brightness curve {_CURVES.get(curve, curve)} is read as sRGB's, which changes its look")
    name, colours, white = _PRIMARIES.get(primaries, _PRIMARIES[1])
    if (primaries not in _PRIMARIES or primaries == 1) and curve not in _POWERS:
        return b""
    gamma = _POWERS.get(curve)
    return colour_profile(name if gamma is None else f"{name}, gamma {gamma:g}", colours, white, gamma)


def adobe_profile() -> bytes:
    """Of Adobe RGB (1998)."""
    return colour_profile("compatible with Adobe RGB (1998)", ADOBE_PRIMARIES, D65, ADOBE_GAMMA)


def _properties(data: bytes) -> bytes:
    """The box of the properties of all pictures in a file (ISO/IEC 23008-12), or nothing."""
    at = data.find(b"ipco")
    return data[at : at - 4 + struct.unpack_from(">I", data, at - 4)[0]] if at >= 4 else b""
