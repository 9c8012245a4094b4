"""ICC profiles: reading the curves and primaries of the simple kinds, and writing such profiles (ICC.1:2022)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Point = tuple[float, float]  # x and y of CIE 1931
Points = tuple[Point, ...]  # of red, green and blue
D50 = (0.9642, 1.0, 0.8249)  # white of the space that profiles lead to
SRGB_PRIMARIES: Points = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
ADOBE_PRIMARIES: Points = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
D65 = (0.3127, 0.3290)
ADOBE_GAMMA = 563 / 256
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_HEADER = 132  # bytes before the table of tags
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # of parametric type 3


@dataclass(frozen=True)
class Described:
    """What a profile of curves, and for colour of primaries, says.

    curves: for each channel the light (65536,) in [0, 1] of every 16-bit code value. matrix: (3, 3) from light in R, G
    and B to CIE XYZ relative to D50; None for grey.
    """

    curves: tuple[np.ndarray, ...]
    matrix: np.ndarray | None


def model_of(profile: bytes) -> str:
    """The colour model of the pixels that a profile describes, "RGB", "GRAY", "CMYK", "Lab"; "" if it is none."""
    if len(profile) < _HEADER or profile[36:40] != b"acsp":
        return ""
    return profile[16:20].decode("latin-1").strip()


@lru_cache(maxsize=64)
def described(profile: bytes) -> Described | None:
    """A profile's curves and primaries; None if it has tables instead, or is damaged."""
    model = model_of(profile)
    try:
        tags = _tags(profile)
        if model == "GRAY" and profile[20:24] == b"XYZ ":
            return Described((_curve(tags[b"kTRC"]),), None)
        if model != "RGB" or not {b"rXYZ", b"gXYZ", b"bXYZ"} <= tags.keys():
            return None
        columns = [np.array(struct.unpack_from(">3i", tags[name], 8)) / 65536 for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
        matrix = np.stack(columns, axis=1)
        if abs(np.linalg.det(matrix)) < 1e-6:
            return None
        return Described(tuple(_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")), matrix)
    except (KeyError, struct.error, ValueError, IndexError):
        return None


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    if count > 1000:
        raise ValueError("no table of tags")
    entries = (struct.unpack_from(">4sII", profile, _HEADER + 12 * i) for i in range(count))
    return {name: profile[at : at + size] for name, at, size in entries}


def _curve(tag: bytes) -> np.ndarray:
    """The light of every 16-bit code value by a `curv` or `para` tag."""
    x = np.arange(65536) / 65535.0
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return x
        if count == 1:
            gamma: float = struct.unpack_from(">H", tag, 12)[0] / 256
            return x**gamma
        table = np.frombuffer(tag, ">u2", count, 12) / 65535.0
        curve: np.ndarray = np.interp(x, np.linspace(0, 1, count), table)
        return curve
    if tag[:4] != b"para":
        raise ValueError("a curve of an unknown kind")
    (kind,) = struct.unpack_from(">H", tag, 8)
    count = (1, 3, 4, 5, 7)[kind]
    given: list[float] = (np.array(struct.unpack_from(f">{count}i", tag, 12)) / 65536).tolist()
    g, a, b, c, d, e, f = given + [0.0] * (7 - count)
    if kind == 0:
        return x**g
    power = np.maximum(a * x + b, 0.0) ** g
    if kind in (1, 2):
        return np.where(x >= -b / a, power + c, c).clip(0, 1)
    return np.where(x >= d, power + e, c * x + f).clip(0, 1)


def light_to_xyz(primaries: Points = SRGB_PRIMARIES, white: Point = D65) -> np.ndarray:
    """(3, 3) from light in these primaries (x and y each) to CIE XYZ relative to D50, adapted as Bradford says."""
    *colours, whole = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in [*primaries, white])
    matrix = np.stack(colours, axis=1)
    result: np.ndarray = _adaptation(white) @ matrix * np.linalg.solve(matrix, whole)
    return result


def _adaptation(white: Point) -> np.ndarray:
    x, y = white
    cone = _BRADFORD @ np.array(D50) / (_BRADFORD @ np.array([x / y, 1, (1 - x - y) / y]))
    result: np.ndarray = np.linalg.inv(_BRADFORD) @ np.diag(cone) @ _BRADFORD
    return result


def colour_profile(
    name: str,
    primaries: Points = SRGB_PRIMARIES,
    white: Point = D65,
    gamma: float | None = None,
    curve: bytes | None = None,
) -> bytes:
    """A profile of RGB with these primaries and, of the curves, a power, a tag, or else sRGB's."""
    curve = _curve_tag(gamma) if curve is None else curve
    columns = light_to_xyz(primaries, white).T
    tags = {key: _xyz(column) for key, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)}
    tags[b"chad"] = b"sf32" + bytes(4) + _fixed(_adaptation(white).ravel())
    return _profile(name, b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def grey_profile(name: str, gamma: float | None = None) -> bytes:
    """A profile of grey with a power as its curve, or sRGB's."""
    return _profile(name, b"GRAY", {b"kTRC": _curve_tag(gamma)})


def as_colour(grey: bytes) -> bytes:
    """The profile of a grey picture for the same one of three equal channels."""
    return colour_profile("grey as colour", curve=_tags(grey)[b"kTRC"])


def _profile(name: str, model: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": _text(name), b"cprt": _text("No copyright"), b"wtpt": _xyz(D50)} | tags
    start, table, body = _HEADER + 12 * len(tags), b"", b""
    places: dict[bytes, int] = {}
    for key, value in tags.items():
        if value not in places:
            places[value] = start + len(body)
            body += value + bytes(-len(value) % 4)
        table += struct.pack(">4sII", key, places[value], len(value))
    head = struct.pack(">I4xI4s4s4s", start + len(body), 0x04300000, b"mntr", model, b"XYZ ")
    head += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _fixed(D50) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


def _fixed(values: tuple[float, ...] | np.ndarray) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(float(value) * 65536) for value in values))


def _xyz(values: tuple[float, ...] | np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">4xII2s2sII", 1, 12, b"en", b"US", len(encoded), 28) + encoded


def _curve_tag(gamma: float | None) -> bytes:
    kind, values = (3, _SRGB_CURVE) if gamma is None else (0, (gamma,))
    return b"para" + struct.pack(">4xHH", kind, 0) + _fixed(values)
