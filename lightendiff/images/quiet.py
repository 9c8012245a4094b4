"""Native libraries that print what is wrong with a file, without its name: silent, since the error tells it."""

from __future__ import annotations

import contextlib
import ctypes
from functools import cache


@cache
def silence_libtiff() -> None:
    """Have Pillow's libtiff print nothing, where it can be reached; a decoder's error is raised nevertheless."""
    from PIL import _imaging

    with contextlib.suppress(OSError, AttributeError):  # it may be linked in a way that hides it
        library = ctypes.CDLL(_imaging.__file__)  # of which libtiff is a part, or a library that it is linked with
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            handler = getattr(library, name)
            handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            handler(None)
