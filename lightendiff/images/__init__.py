"""Reading and writing pictures without losing what they carry: bit depth, alpha, orientation, colour profile, metadata.

Pillow decodes and encodes 8-bit pictures, with pillow-heif's help HEIC, too; OpenCV the colour of 16 bits that Pillow
can't hold, and PNG, which it writes faster; LibRaw develops RAW photos. EXIF blocks are patched in place rather than
rebuilt, so that maker notes survive.
"""

from __future__ import annotations

from .picture import FORMATS, MAX_PIXELS, RAW, READABLE, ImageError, Picture, shown
from .reading import decode_picture, read_picture
from .writing import encode_picture, write_picture

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "RAW",
    "READABLE",
    "ImageError",
    "Picture",
    "decode_picture",
    "encode_picture",
    "read_picture",
    "shown",
    "write_picture",
]
