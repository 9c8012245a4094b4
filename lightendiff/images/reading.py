"""Reading a picture file of any kind, by its content, when its header shows that it's no more than may be taken."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ..files.locations import RemotePath, located, shown
from ..limits import MAX_BYTES, MAX_PIXELS, MAX_UNKNOWN, check_bytes, check_memory, check_pixels, most_bytes
from .formats import Format, format_of, titles
from .headers import check_rest, header_of
from .picture import ImageError, Picture, reason
from .pixels import turned
from .quiet import silence_libtiff
from .xmp import upright_xmp

Check = Callable[[int, int], object]  # (height, width), which raises ValueError where the picture is too large
_BEGINNING = 4096  # bytes by which a format is recognised


@dataclass(frozen=True)
class _Limits:
    max_pixels: int
    max_bytes: int | None
    check: Check

    def hold(self, row: Format, file: BinaryIO, size: int) -> None:
        """ValueError if a file is more than may be taken, by its header."""
        header = header_of(row, file, size)
        if header is None:
            has_none = row.recognised is None  # that we know of; its decoder reads it
            check_bytes(size, self.max_bytes or (MAX_BYTES if has_none else MAX_UNKNOWN))
            return
        check_pixels(header.width, header.height, self.max_pixels)
        header.check()
        check_bytes(size, self.max_bytes or most_bytes(header.width * header.height))
        self.check(header.height, header.width)
        check_memory(header.width, header.height, header.memory)
        check_rest(row, header, file, size)


def read_picture(
    path: str | os.PathLike[str] | RemotePath,
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int | None = None,
    check: Check = lambda height, width: None,
) -> Picture:
    """Read a file of one of the formats in `formats`, recognised by its content; of several frames the first.

    Palettes, 1-bit, CMYK, Lab, 32-bit and floating-point pixels (in [0, 1]) become 8- or 16-bit grey or sRGB. RAW
    photos, recognised by their names' ends, are developed to 16 bit; that needs rawpy, and HEIC pillow-heif. The path
    may be an address of a remote file, as in `locations`.

    A file that is too large is refused by its header, before the rest is read: by pixels; by bytes, where None is a
    500 MB, or 8 bytes a pixel if that's more; by the memory that decoding takes, if less is free; and by
    check(height, width), as stored, which raises a ValueError.
    Raises ImageError when the file is missing, damaged, of another kind, or too large.
    """
    try:
        location, limits = located(path), _Limits(max_pixels, max_bytes, check)
        if isinstance(location, RemotePath):
            check_bytes(location.size(), max_bytes or most_bytes(max_pixels))
            return _held(location.read_bytes(), str(path), limits)
        return _decode(_content(location, limits), str(path), max_pixels)
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise ImageError(f"{shown(path)}: {reason(error)}") from error


def decode_picture(
    data: bytes,
    name: str,
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int | None = None,
    check: Check = lambda height, width: None,
) -> Picture:
    """As `read_picture`, from a file's content; the messages of errors call it `name`."""
    try:
        return _held(data, name, _Limits(max_pixels, max_bytes, check))
    except Exception as error:
        raise ImageError(f"{shown(name)}: {reason(error)}") from error


def _content(path: Path, limits: _Limits) -> bytes:
    """All of a file, once its beginning has been held against the limits."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):  # a pipe would be waited for
        raise ValueError("expected a file, got a pipe or device")
    with open(path, "rb") as file:
        beginning = file.read(_BEGINNING)
        if beginning:  # an empty one is told by `_decode`
            limits.hold(_recognised(beginning, str(path)), file, status.st_size)
        file.seek(0)
        return file.read(status.st_size)


def _recognised(beginning: bytes, name: str) -> Format:
    row = format_of(beginning, name)
    if row is None:
        raise ValueError(f"not a {titles()} image")
    return row


def _held(data: bytes, name: str, limits: _Limits) -> Picture:
    if data:
        limits.hold(_recognised(data[:_BEGINNING], name), io.BytesIO(data), len(data))
    return _decode(data, name, limits.max_pixels)


def _decode(data: bytes, name: str, max_pixels: int) -> Picture:
    if not data:
        raise ValueError("the file is empty")
    row = _recognised(data[:_BEGINNING], name)
    if row.name == "TIFF":
        silence_libtiff()
    picture: Picture
    orientation: int
    picture, orientation = row.codec().read(data, max_pixels)
    if orientation == 1:
        return picture
    alpha = None if picture.alpha is None else turned(picture.alpha, orientation)
    dpi = picture.dpi if orientation < 5 or picture.dpi is None else picture.dpi[::-1]
    return replace(
        picture, pixels=turned(picture.pixels, orientation), alpha=alpha, xmp=upright_xmp(picture.xmp), dpi=dpi
    )
