"""Reading and writing pictures without losing what they carry: bit depth, alpha, orientation, colour profile, metadata.

Pillow decodes and encodes 8-bit pictures, with pillow-heif's help HEIC, too; OpenCV the colour of 16 bits that Pillow
can't hold, and PNG, which it writes faster; LibRaw develops RAW photos. EXIF blocks are patched in place rather than
rebuilt, so that maker notes survive.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..limits import MAX_PIXELS
from .formats import FORMATS, RAW, READABLE

if TYPE_CHECKING:
    from ..files.locations import shown
    from .picture import ImageError, Picture
    from .reading import decode_picture, read_picture
    from .writing import encode_picture, write_picture

_PUBLIC = {
    "ImageError": "picture",
    "Picture": "picture",
    "decode_picture": "reading",
    "encode_picture": "writing",
    "read_picture": "reading",
    "shown": ".files.locations",
    "write_picture": "writing",
}

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


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that the command line knows the formats before NumPy and Pillow are imported.
    if name in _PUBLIC:
        return getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
