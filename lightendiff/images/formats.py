"""The formats that pictures are written in: the encoder and the largest side of each."""

from __future__ import annotations

from .bmp import encode_bmp
from .heif import encode_avif, encode_heic
from .jpeg import encode_jpeg
from .png import encode_png
from .tiff import encode_tiff
from .webp import encode_webp

LARGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
ENCODERS = {
    "PNG": encode_png,
    "JPEG": encode_jpeg,
    "WEBP": encode_webp,
    "HEIF": encode_heic,
    "AVIF": encode_avif,
    "TIFF": encode_tiff,
    "BMP": encode_bmp,
}
