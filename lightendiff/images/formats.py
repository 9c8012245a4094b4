"""The picture formats, a row each: names, what a file looks like, what it holds, the module that reads and writes it.

A row's module lies in this folder. It has `read(data, max_pixels)`, which returns the picture as it is stored and the
EXIF orientation (1–8) that is still to be applied, and, where the row says that the format is written,
`write(array, picture, quality, notes)`, which returns the file of an array (h, w, 1 to 4) of what the row holds. To add
a format, write such a module and a row. Nothing heavy is imported here: modules are when a file needs them, so that the
command line knows the formats before it imports anything.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from types import ModuleType


@dataclass(frozen=True)
class Format:
    """What is to be known of a picture format.

    name: as in `Picture.format`. title: as users know it.
    suffixes: of files' names; the first is given to new files. A format is read and written by its `module`.
    recognised: whether a file's content begins as this format's does; None where only the name's suffix tells.
    written_as: name of the format that its pictures are written in; another one where this one is only read.
    options: what the command line calls it as a format to write.
    bits: most bits a sample. alpha: transparency of colour pictures, and with grey_bits that of grey ones up to so many
    bits. holds: which of "exif", "xmp", "profile", "iptc", "comment" and "dpi" it has a place for.
    quality: the default, from 1 to 100, where there is a choice. largest_side: in pixels.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    module: str
    recognised: Callable[[bytes], bool] | None
    written_as: str
    options: tuple[str, ...] = ()
    bits: int = 8
    alpha: bool = True
    grey_bits: int = 0
    holds: frozenset[str] = frozenset()
    quality: int | None = None
    largest_side: int = 2**31 - 1

    @property
    def written(self) -> bool:
        """Whether files of it are written, too."""
        return self.written_as == self.name

    def codec(self) -> ModuleType:
        """The module that reads and writes it."""
        return importlib.import_module(f".{self.module}", __package__)


def _begins(*marks: bytes) -> Callable[[bytes], bool]:
    return partial(_begins_with, marks)


def _begins_with(marks: tuple[bytes, ...], data: bytes) -> bool:
    return data.startswith(marks)


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def _brands(data: bytes) -> set[bytes]:
    """The brands of a file in the container of HEIC and AVIF (ISO/IEC 14496-12), or none."""
    if len(data) < 16 or data[4:8] != b"ftyp":
        return set()
    (end,) = struct.unpack_from(">I", data)
    return {data[start : start + 4] for start in (8, *range(16, min(end, 256), 4))}


def _is_heic(data: bytes) -> bool:
    """Whether HEVC has compressed its pictures (ISO/IEC 23008-12)."""
    return bool(_brands(data) & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})


def _is_avif(data: bytes) -> bool:
    return bool(_brands(data) & {b"avif", b"avis"}) and not _is_heic(data)


_EVERYTHING = frozenset({"exif", "xmp", "profile", "iptc", "comment", "dpi"})
_BLOCKS = frozenset({"exif", "xmp", "profile"})
TABLE = (  # default qualities keep a photo about as well in each format
    Format("PNG", "PNG", (".png", ".apng"), "png", _begins(b"\x89PNG\r\n\x1a\n"), "PNG",
           ("png",), bits=16, grey_bits=16, holds=_EVERYTHING),
    Format("JPEG", "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), "jpeg", _begins(b"\xff\xd8\xff"), "JPEG",
           ("jpg", "jpeg"), alpha=False, holds=_EVERYTHING, quality=95, largest_side=65_500),
    Format("WEBP", "WebP", (".webp",), "webp", _is_webp, "WEBP",
           ("webp",), holds=_BLOCKS, quality=95, largest_side=16_383),
    Format("HEIF", "HEIC", (".heic", ".heif", ".hif"), "heif", _is_heic, "HEIF",
           ("heic",), holds=_BLOCKS, quality=75),
    Format("AVIF", "AVIF", (".avif",), "avif", _is_avif, "AVIF",
           ("avif",), holds=_BLOCKS, quality=90),
    Format("TIFF", "TIFF", (".tif", ".tiff"), "tiff", _begins(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF",
           ("tif", "tiff"), bits=16, grey_bits=8, holds=_EVERYTHING - {"comment"}),
    Format("BMP", "BMP", (".bmp", ".dib"), "bmp", _begins(b"BM"), "BMP",
           ("bmp",), holds=frozenset({"dpi"})),
    Format("GIF", "GIF", (".gif",), "gif", _begins(b"GIF87a", b"GIF89a"), "PNG"),
    # Cameras' own formats look like others', TIFF for example: their names' suffixes tell.
    Format("RAW", "RAW", (".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2"), "raw", None, "TIFF"),
)  # fmt: skip
BY_NAME = {row.name: row for row in TABLE}
BY_SUFFIX = {suffix: row for row in TABLE for suffix in row.suffixes}
FORMATS = {suffix: row.name for suffix, row in BY_SUFFIX.items() if row.written}  # those that can be written
RAW = BY_NAME["RAW"].suffixes
READABLE = tuple(BY_SUFFIX)
OPTIONS = tuple(option for row in TABLE for option in row.options)


def titles() -> str:
    """All formats that are recognised by their content, in words."""
    *names, last = [row.title for row in TABLE if row.recognised]
    return f"{', '.join(names)} or {last}"


def format_of(data: bytes, name: str = "") -> Format | None:
    """The format of a file's content; where only names tell, of its `name`. None for none of them."""
    named = BY_SUFFIX.get(PurePath(name).suffix.lower())
    if named is not None and named.recognised is None:
        return named
    return next((row for row in TABLE if row.recognised and row.recognised(data)), None)


def written_as(format: str) -> Format:
    """The format that a picture read from a file of format `format` is written in, unless another is asked for."""
    return BY_NAME[BY_NAME[format].written_as]
