"""RAW photos: what cameras' sensors have seen, developed by LibRaw to what our networks know."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image

from ..limits import check_pixels
from .picture import Picture

# What of a RAW photo's EXIF data is true of the developed one, too: camera, date, author, and the two blocks of the
# exposure and of the place. The other tags describe the sensor's data.
_KEPT = (270, 271, 272, 306, 315, 33432, 34665, 34853)
_EXIF = 34665
_DROPPED = (37500, 40962, 40963, 40965)  # the maker note, the sensor's size, the colour space by another tag
_TIFF = (b"II*\0", b"MM\0*")


def read(data: bytes, max_pixels: int) -> tuple[Picture, int]:
    """A RAW photo as a picture of 16 bit, to be written as TIFF; upright.

    Developed with the white balance that the camera chose and without any brightening: the sensor's white is 65535. The
    colours are linear in the primaries of sRGB until its transfer curve is applied, as the networks were trained on
    such code values. The orientation is applied.

    Raises:
        ImportError: rawpy isn't installed.
        ValueError: the file isn't a RAW photo that LibRaw can read, or has more than `max_pixels`.
    """
    try:
        import rawpy
    except ImportError as error:
        raise ImportError("RAW photos need rawpy: pip install 'lightendiff[raw]'") from error
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            check_pixels(raw.sizes.width, raw.sizes.height, max_pixels)
            linear = raw.postprocess(
                use_camera_wb=True,
                no_auto_bright=True,
                output_bps=16,
                output_color=rawpy.ColorSpace.sRGB,
                gamma=(1, 1),
            )
    except rawpy.LibRawError as error:
        raise ValueError("not a RAW photo that LibRaw can read") from error
    notes: list[str] = []
    return Picture(_srgb_curve()[linear], format="TIFF", exif=_exif(data, notes), srgb=True, notes=tuple(notes)), 1


@lru_cache(maxsize=1)
def _srgb_curve() -> np.ndarray:
    """The code value (65536,) uint16 of every linear one, by the transfer curve of sRGB (IEC 61966-2-1)."""
    x = np.arange(65536) / 65535.0
    curve = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return np.rint(65535.0 * curve).astype(np.uint16)


def _exif(data: bytes, notes: list[str]) -> bytes:
    """The EXIF data of a RAW photo that is a TIFF structure, as DNG, NEF, CR2 and ARW are.

    Without the maker note: what that points to lies elsewhere in the file.
    """
    try:
        if data[:4] not in _TIFF:
            raise ValueError("another structure")
        source, kept = Image.Exif(), Image.Exif()
        source.load_from_fp(io.BytesIO(data))
        for tag in _KEPT:
            if tag in source:
                kept[tag] = source.get_ifd(tag) if tag in (34665, 34853) else source[tag]
        if _EXIF in kept:
            for tag in _DROPPED:
                kept[_EXIF].pop(tag, None)
        return kept.tobytes()[6:] if len(kept) else b""
    except Exception:  # Pillow checks few of the values that it packs
        notes.append("EXIF data of this kind of RAW photo is left out")
        return b""
