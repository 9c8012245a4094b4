"""CIE L*a*b* of TIFF files as sRGB (IEC 61966-2-1), in the precision that it is stored in."""

from __future__ import annotations

import numpy as np

from .icc import D50, light_to_xyz

_LINEAR = 6 / 29  # of the cube root of light, below which its curve is a line


def from_lab(array: np.ndarray, signed: bool) -> np.ndarray:
    """sRGB code values of L*, a* and b* (h, w, 3), uint8 or uint16; colours outside of sRGB are clipped.

    signed: whether a* and b* are two's complements (TIFF 6.0, section 23), or else count from the middle, as in ICC's.
    """
    size, white = array.itemsize, float(np.iinfo(array.dtype).max)
    full = white if signed or size == 1 else 65280.0  # 100 in ICC's 16 bits is 0xFF00
    chroma = (
        array[..., 1:].view(f"i{size}").astype(np.float32)
        if signed
        else array[..., 1:] - np.float32(128 * 256 ** (size - 1))
    )
    lightness = (array[..., :1] * np.float32(100 / full) + 16) / 116
    a, b = np.split(chroma / np.float32(256 ** (size - 1)), 2, axis=2)
    roots = np.concatenate([lightness + a / 500, lightness, lightness - b / 200], axis=2)
    xyz = np.where(roots > _LINEAR, roots**3, 3 * _LINEAR**2 * (roots - 4 / 29)) * np.array(D50, np.float32)
    light = (xyz @ np.linalg.inv(light_to_xyz()).T.astype(np.float32)).clip(0, 1)
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    result: np.ndarray = np.rint(code * white).astype(array.dtype)
    return result
