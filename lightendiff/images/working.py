"""What networks are given of a picture, sRGB code values of all that is seen of it, and the way back.

A profile of curves and primaries is followed in floating-point numbers. Of colours that sRGB can't hold, what is
missing is kept aside and put back in proportion to how much brighter the place has become. A profile of tables is
followed by LittleCMS, in 8 bit with linear interpolation between them.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from .icc import Described, described, light_to_xyz, model_of

_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of linear sRGB
_BAND = 2**19  # pixels that are converted at a time
_AROUND = 2  # pixels to each side that colours outside of sRGB are averaged over, so that noise isn't taken for them
_BLACK = 1e-4  # light that stands for none where brightness is compared
_LITTLE = 1e-4  # light outside of sRGB that rounding explains


@dataclass(frozen=True)
class Working:
    """given: sRGB code values (h, w, 1 or 3), uint8 or uint16. back: of what became of them, in the picture's space."""

    given: np.ndarray
    back: Callable[[np.ndarray], np.ndarray]


def working(pixels: np.ndarray, alpha: np.ndarray | None, profile: bytes) -> Working:
    """What is to be restored of pixels (h, w, 1 or 3), uint8 or uint16, with alpha (h, w) or None, and the way back.

    Where nothing is to be converted, `given` is `pixels`. In another space it has 16 bits. What is restored without any
    change comes back as it was.
    """
    seen = pixels if alpha is None else filled(pixels, alpha)
    space = space_of(profile, pixels.shape[2])
    if space is None:
        given, back = seen, None
    else:
        given, back = space.to_srgb(seen), space.from_srgb

    def restored(light: np.ndarray) -> np.ndarray:
        if np.array_equal(light[:1], given[:1]) and np.array_equal(light, given):  # seldom, so look at a row first
            return pixels
        return light if back is None else back(light, seen)

    return Working(given, restored)


def is_converted(profile: bytes, channels: int) -> bool:
    """Whether pixels with that profile are converted for networks."""
    return space_of(profile, channels) is not None


@lru_cache(maxsize=64)
def space_of(profile: bytes, channels: int) -> Space | Tables | None:
    """The space that a profile describes; None for sRGB, for no profile, and for one that can't be followed."""
    model = model_of(profile)
    if not model or (model, channels) == ("GRAY", 3):
        return None
    found = described(profile)
    if found is not None:
        space = Space(found, channels)
        return None if space.is_srgb() else space
    tables = Tables(profile, model, channels)
    return tables if tables.usable() else None


class Space:
    """A space of curves and, for colour, primaries."""

    def __init__(self, profile: Described, channels: int) -> None:
        curves = profile.curves if channels == 3 else (profile.curves[len(profile.curves) // 2],)
        self._curves = [curve.astype(np.float32) for curve in curves]
        self._matrix = np.eye(3)
        if channels == 3 and profile.matrix is not None:
            self._matrix = np.linalg.inv(light_to_xyz()) @ profile.matrix
        self._inverse = np.linalg.inv(self._matrix).astype(np.float32)
        roots = (np.arange(65536) / 65535.0) ** 2  # by the root of light, since curves are steep near black
        codes = np.arange(65536.0)
        self._codes = [np.interp(roots, np.maximum.accumulate(curve), codes).astype(np.float32) for curve in curves]

    def is_srgb(self) -> bool:
        """Whether no code value of 8 bits differs noticeably from sRGB's."""
        curves = [np.abs(_codes_of(curve[::257]) - np.arange(256) * 257.0).max() for curve in self._curves]
        return bool(max(curves) < 257 and np.abs(self._matrix - np.eye(3)).max() < 0.005)

    def to_srgb(self, pixels: np.ndarray) -> np.ndarray:
        """sRGB code values, uint16; colours outside of sRGB become the nearest ones channel by channel."""
        given = np.empty(pixels.shape, np.uint16)
        for rows in _bands(pixels.shape):
            given[rows] = np.rint(_codes_of(self._light(pixels[rows]).clip(0, 1)))
        return given

    def from_srgb(self, light: np.ndarray, dark: np.ndarray) -> np.ndarray:
        """Restored sRGB code values uint16 in this space, of the dtype of the dark picture in it."""
        result = np.empty(dark.shape, dark.dtype)
        scale = np.float32(np.iinfo(dark.dtype).max / 65535)
        for rows in _bands(dark.shape):
            bright = _light_table()[light[rows]]
            if bright.shape[2] == 3:
                bright = (bright + self._outside(dark, rows, bright)) @ self._inverse.T
            roots = np.rint(np.sqrt(bright.clip(0, 1)) * 65535).astype(np.uint16)
            for channel, codes in enumerate(self._codes):
                result[rows][..., channel] = np.rint(codes[roots[..., channel]] * scale)
        return result

    def _light(self, pixels: np.ndarray) -> np.ndarray:
        """Light in the primaries of sRGB, below 0 and above 1 where those can't hold it."""
        step = 257 if pixels.dtype == np.uint8 else 1
        light = np.stack([curve[::step][pixels[..., i]] for i, curve in enumerate(self._curves)], axis=2)
        return light @ self._matrix.T.astype(np.float32) if light.shape[2] == 3 else light

    def _outside(self, dark: np.ndarray, rows: slice, bright: np.ndarray) -> np.ndarray:
        """What of the dark picture's light lies outside of sRGB, as much brighter as the place has become."""
        top, bottom = max(0, rows.start - _AROUND), min(len(dark), rows.stop + _AROUND)
        light = self._light(dark[top:bottom])
        outside = light - light.clip(0, 1)
        if np.abs(outside).max() < _LITTLE:
            return np.zeros_like(bright)
        mean = _box_mean(light)
        lasting = mean - mean.clip(0, 1)
        outside = np.where(outside * lasting > 0, np.sign(outside) * np.minimum(abs(outside), abs(lasting)), 0)
        here = slice(rows.start - top, rows.stop - top)
        was = light[here].clip(0, 1) @ _LUMA
        gain = (bright @ _LUMA + _BLACK) / (was + _BLACK)
        return (outside[here] * gain[..., None]).astype(np.float32)


class Tables:
    """A space that a profile's tables describe, RGB or grey, as LittleCMS reads them."""

    def __init__(self, profile: bytes, model: str, channels: int) -> None:
        mode = {("RGB", 3): "RGB", ("GRAY", 1): "L"}.get((model, channels))
        self._mode = mode or ""
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            modes = ("RGB", "RGB") if mode == "RGB" else ("L", "RGB")
            self._there = ImageCms.buildTransform(own, srgb, *modes) if mode else None
            self._back = ImageCms.buildTransform(srgb, own, *modes[::-1]) if mode else None
        except (ImageCms.PyCMSError, OSError):
            self._there = self._back = None

    def usable(self) -> bool:
        return self._there is not None and self._back is not None

    def to_srgb(self, pixels: np.ndarray) -> np.ndarray:
        codes = _interpolated(lambda part: _transformed(part, self._mode, self._there), pixels)
        return codes if pixels.shape[2] == 3 else codes[..., 1:2]

    def from_srgb(self, light: np.ndarray, dark: np.ndarray) -> np.ndarray:
        light = light.repeat(3, axis=2) if light.shape[2] == 1 else light
        codes = _interpolated(lambda part: _transformed(part, "RGB", self._back), light)
        return codes if dark.dtype == np.uint16 else np.rint(codes / 257.0).astype(np.uint8)


def _transformed(array: np.ndarray, mode: str, transform: ImageCms.ImageCmsTransform | None) -> np.ndarray:
    assert transform is not None
    image = ImageCms.applyTransform(Image.fromarray(array[..., 0] if mode == "L" else array), transform)
    assert image is not None
    result = np.asarray(image)
    return result if result.ndim == 3 else result[..., None]


def _interpolated(transform: Callable[[np.ndarray], np.ndarray], codes: np.ndarray) -> np.ndarray:
    """What a transform of 8-bit code values makes of those of 8 or 16 bits, as uint16."""
    if codes.dtype == np.uint8:
        return transform(codes).astype(np.uint16) * np.uint16(257)
    low, share = (codes // 257).astype(np.uint8), (codes % 257) / np.float32(257)
    base = transform(low).astype(np.float32)
    result = base.copy()
    for channel in range(codes.shape[2]):
        next_one = low.copy()
        next_one[..., channel] = np.minimum(low[..., channel], 254) + 1
        result += share[..., channel, None] * (transform(next_one) - base)
    rounded: np.ndarray = np.rint(result.clip(0, 255) * 257).astype(np.uint16)
    return rounded


def _bands(shape: tuple[int, ...]) -> list[slice]:
    rows = max(1, _BAND // shape[1])
    return [slice(top, min(top + rows, shape[0])) for top in range(0, shape[0], rows)]


def _box_mean(array: np.ndarray) -> np.ndarray:
    """The mean of (h, w, c) over a square around each pixel; edges are continued."""
    for axis in (0, 1):
        pad = [(0, 0)] * 3
        pad[axis] = (_AROUND, _AROUND)
        wide, size = np.pad(array, pad, mode="edge"), array.shape[axis]
        array = np.mean([np.take(wide, range(k, k + size), axis) for k in range(2 * _AROUND + 1)], axis=0)
    return array


@lru_cache(maxsize=1)
def _light_table() -> np.ndarray:
    """The light (65536,) float32 of every 16-bit code value of sRGB (IEC 61966-2-1)."""
    v = np.arange(65536) / 65535.0
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4).astype(np.float32)


@lru_cache(maxsize=1)
def _code_table() -> np.ndarray:
    x = (np.arange(65536) / 65535.0) ** 2
    return (65535 * np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)).astype(np.float32)


def _codes_of(light: np.ndarray) -> np.ndarray:
    """16-bit code values of sRGB, float32, of light in [0, 1]."""
    codes: np.ndarray = _code_table()[np.rint(np.sqrt(light) * 65535).astype(np.uint16)]
    return codes


def filled(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The picture with what lies behind alpha 0 continued from what is seen around it, since that is anything.

    By means over ever larger blocks of what is seen, weighted with alpha (Gortler et al., The Lumigraph, 1996,
    section 3.3.1: pull and push). Where nothing is seen at all, the picture itself.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return pixels
    exact = alpha.dtype.kind == "u"
    weight = alpha.astype(np.float32)[..., None] / (np.iinfo(alpha.dtype).max if exact else 1)
    levels = [(pixels * weight, weight)]
    while max(levels[-1][1].shape[:2]) > 1:
        levels.append(tuple(_halved(part) for part in levels[-1]))  # type: ignore[arg-type]
    colour = levels[-1][0] / levels[-1][1]
    for total, weight in levels[-2::-1]:
        share = np.minimum(weight, 1)
        height, width = weight.shape[:2]
        coarse = colour.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
        mean = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
        colour = share * mean + (1 - share) * coarse
    return np.where(hidden[..., None], np.rint(colour) if exact else colour, pixels).astype(pixels.dtype)


def _halved(array: np.ndarray) -> np.ndarray:
    height, width = (size + size % 2 for size in array.shape[:2])
    even = np.pad(array, ((0, height - array.shape[0]), (0, width - array.shape[1]), (0, 0)))
    halved: np.ndarray = even.reshape(height // 2, 2, width // 2, 2, -1).sum(axis=(1, 3))
    return halved
