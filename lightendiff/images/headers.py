"""What the headers of picture files say, read without the rest of the file, and held against the file's length.

A header that claims what its file can't hold is an error here, before a decoder believes it. Whatever else is damaged
is left to the decoders.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from .formats import Format

_DEFLATE = 1032  # times that it shrinks a run of equal bytes, at most
_JPEG_BITS = 64  # pixels that a bit of a JPEG's stands for, at most: one of a block's, in its first scan
_FEWEST, _MISSING = 64, 10  # rows, or else this part of a picture, that may be missing; see `mending`
_MOST_CHUNKS = 500_000  # of a PNG
_MOST_SEGMENTS = 10_000  # of a JPEG, before its pixels
_MOST_SCANS = 3_000_000_000  # pixels that a progressive JPEG's scans go over: 10 times 300 megapixels
_FEW_SCANS, _SCAN = 30, 10  # those that no picture is refused for, and the bytes that one has at least
_MOST_VALUES = 2**20  # of a TIFF's tag that holds numbers
_MOST_PAGES = 1000  # that are looked through for one of full size
_CROPPED = 64  # pixels, of the blocks that HEIC and AVIF are compressed in
_PROLOGUE = 2_000_000  # bytes of comments before a GIF's picture
_MOST_RUNS = 10_000_000  # bytes of a BMP's, which Pillow decodes in Python
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TIFF_RATIOS = {1: 1, 5: 4096, 8: _DEFLATE, 32773: 128, 32946: _DEFLATE}  # by compression
_BLOCKS_OF_BYTES = (1, 2, 7)
_SUB_DIRECTORIES = (34665, 34853, 40965)  # EXIF, GPS, interoperability


@dataclass(frozen=True)
class Header:
    """width, height: in pixels. pixel_bytes: that a pixel takes when it is decoded. held: bytes of the file that may
    hold pixels. least: that they take at the least."""

    width: int
    height: int
    pixel_bytes: int = 4
    held: int = 0
    least: float = 0

    @property
    def memory(self) -> int:
        """Bytes that decoding takes: the decoder's pixels, ours, and a copy on the way."""
        return (8 + 3 * self.pixel_bytes) * self.width * self.height

    def check(self) -> None:
        """ValueError if the file can't hold such a picture."""
        if self.held < self.least:
            size = f"{self.width}×{self.height}"
            raise ValueError(f"truncated, or damaged: {self.held:,} bytes can't hold {size} pixels")


def header_of(row: Format, file: BinaryIO, size: int) -> Header | None:
    """The header of a file of `size` bytes in a format; None where only its decoder finds one.

    Raises:
        ValueError: it claims more than the file can hold, or hides its picture behind too much else.
    """
    read = _READERS.get(row.name)
    if read is None:
        return None
    try:
        file.seek(0)
        return read(file, size)
    except (struct.error, EOFError, IndexError):  # cut off, which decoders say in their own words
        return None


def check_rest(row: Format, header: Header, file: BinaryIO, size: int) -> None:
    """ValueError if a JPEG has so many scans, each of which goes over all pixels, however short it is."""
    most = max(_FEW_SCANS, _MOST_SCANS // max(1, header.width * header.height))
    if row.name != "JPEG" or size < most * _SCAN:
        return
    count, kept = 0, b""
    file.seek(0)
    while count <= most:
        block = file.read(2**20)
        if not block:
            return
        count += (kept + block).count(b"\xff\xda")
        kept = block[-1:]
    raise ValueError(f"a JPEG of {header.width}×{header.height} pixels in more than {most:,} scans")


def _rows(height: int) -> int:
    """Those of a picture that must be there, or the rest isn't made up."""
    return max(0, height - max(_FEWEST, height // _MISSING))


def _take(file: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _go(file: BinaryIO, at: int, size: int) -> None:
    if at > size:
        raise EOFError
    file.seek(at)


def _png(file: BinaryIO, size: int) -> Header:
    file.seek(8)
    _, name, width, height, bits, kind = _take(file, ">I4sIIBB")
    if name != b"IHDR":
        raise struct.error
    row = 1 + (width * bits * {2: 3, 4: 2, 6: 4}.get(kind, 1) + 7) // 8
    packed, at = 0, 33
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        if at + 8 > size:
            break
        length, name = _take(file, ">I4s")
        is_pixels = name == b"IDAT"
        # One that ends early may be mended; what it claims to hold must be possible nevertheless.
        if length > size - at - 8 and not (is_pixels and length <= row * height * 1.01 + 65536):
            raise ValueError(f"damaged: a chunk of {length:,} bytes in a file of {size:,}")
        packed += length if is_pixels else 0
        at += 12 + length
        if name == b"IEND":
            break
    else:
        raise ValueError(f"damaged: more than {_MOST_CHUNKS:,} chunks")
    return Header(width, height, 8 if bits == 16 else 4, packed, row * _rows(height) / _DEFLATE - 65536)


def _jpeg(file: BinaryIO, size: int) -> Header:
    file.seek(2)
    for _ in range(_MOST_SEGMENTS):
        mark, code = _take(file, "BB")
        if mark != 0xFF:  # not a marker: decoders pass over zeros
            if mark or code not in (0, 0xFF):
                raise struct.error
            file.seek(-1, io.SEEK_CUR)
            continue
        while code == 0xFF:
            (code,) = _take(file, "B")
        if code == 0xD8 or 0xD0 <= code <= 0xD7 or code == 0x01:
            continue
        (length,) = _take(file, ">H")
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            _, height, width = _take(file, ">BHH")
            return Header(width, height, 4, size, width * _rows(height) / _JPEG_BITS / 8)
        if code in (0xD9, 0xDA):
            raise struct.error
        file.seek(length - 2, io.SEEK_CUR)
    raise ValueError(f"damaged: more than {_MOST_SEGMENTS:,} segments before the pixels")


def _webp(file: BinaryIO, size: int) -> Header:
    file.seek(12)
    (name,) = _take(file, "4s4x")
    data = file.read(10)
    if name == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (4, 7))
    elif name == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", data, 6))
    return Header(width, height)


def _gif(file: BinaryIO, size: int) -> Header:
    file.seek(6)
    width, height, flags = _take(file, "<HHB2x")
    file.seek(13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0))
    head, at = file.read(_PROLOGUE), 0
    while at < len(head) and head[at] != 0x2C:  # an image
        at += 1
        if head[at - 1] != 0x21:  # neither an extension, a comment for example
            continue
        at += 1
        while at < len(head) and head[at]:  # sub-blocks
            at += 1 + head[at]
        at += 1
    if at >= _PROLOGUE:
        raise ValueError(f"damaged: more than {_PROLOGUE:,} bytes before the picture")
    return Header(width, height)


def _bmp(file: BinaryIO, size: int) -> Header:
    file.seek(14)
    (header,) = _take(file, "<I")
    width, height = _take(file, "<HH" if header == 12 else "<ii")
    if header > 12 and size > _MOST_RUNS and _take(file, "4xI")[0] in (1, 2):
        raise ValueError(f"a BMP of more than {_MOST_RUNS // 10**6} MB in run-length encoding: save it as PNG")
    return Header(abs(width), abs(height))


def _container(file: BinaryIO, size: int) -> Header | None:
    """The largest picture of a HEIC or AVIF file (ISO/IEC 23008-12: the property ispe), without what may be cropped."""
    found = re.finditer(rb"ispe.{4}(.{4})(.{4})", file.read(2**20), re.DOTALL)
    sizes = [(int.from_bytes(box[1], "big"), int.from_bytes(box[2], "big")) for box in found]
    width, height = max(sizes, key=lambda each: each[0] * each[1], default=(0, 0))
    return Header(max(1, width - _CROPPED), max(1, height - _CROPPED)) if sizes else None


def _tiff(file: BinaryIO, size: int) -> Header | None:
    mark = file.read(4)
    order, big = "<" if mark[:2] == b"II" else ">", b"+" in mark[2:]
    if big:
        file.seek(8)
    (at,) = _take(file, order + ("Q" if big else "I"))
    seen = set[int]()
    header: Header | None = None
    while at and at not in seen:
        seen.add(at)
        if len(seen) > _MOST_PAGES:
            raise ValueError(f"damaged: more than {_MOST_PAGES:,} pages before one of full size")
        tags, following = _directory(file, at, order, big, size)
        for place in (tags[tag] for tag in _SUB_DIRECTORIES if tag in tags):
            with contextlib.suppress(struct.error, EOFError):  # whether it's needed is for the reader to say
                _directory(file, place, order, big, size)
        width, height, samples = tags.get(256, 0), tags.get(257, 0), max(1, tags.get(277, 1))
        bits = tags.get(258, 1)
        # Decoders take whole tiles, however little of them the picture has.
        across, down = (-(-side // max(1, tile)) * tile for side, tile in
                        ((width, tags.get(322, 1)), (height, tags.get(323, 1))))  # fmt: skip
        ratio = _TIFF_RATIOS.get(tags.get(259, 1), math.inf)
        least = width * _rows(height) * samples * bits / 8 / ratio
        header = Header(across, down, -(-samples * max(8, bits) // 8), size, least)
        if not tags.get(254, 0) & 1:
            break
        at = following
    return header


def _directory(file: BinaryIO, at: int, order: str, big: bool, size: int) -> tuple[dict[int, int], int]:
    """The first number of each tag of a TIFF's directory, and where the next directory lies.

    Tags don't share their values' bytes, or a small file could hold any number of large ones.
    """
    _go(file, at, size)
    (count,) = _take(file, order + ("Q" if big else "H"))
    if count > 65535:
        raise ValueError(f"damaged: a TIFF directory of {count:,} tags")
    place, form = (8, order + "HHQ") if big else (4, order + "HHI")
    entry = struct.calcsize(form) + place
    block, held, tags = file.read(count * entry), 0, dict[int, int]()
    end = file.tell()
    for start in range(0, len(block) - entry + 1, entry):
        tag, kind, number = struct.unpack_from(form, block, start)
        length = number * _TIFF_SIZES.get(kind, 0)
        held += length if length > place else 0
        if kind not in _BLOCKS_OF_BYTES and number > _MOST_VALUES:
            raise ValueError(f"damaged: {number:,} numbers in the TIFF tag {tag}")
        value = block[start + entry - place : start + entry]
        code = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}.get(kind)
        if code is None or not number:
            continue
        if length > place:
            (far,) = struct.unpack(order + ("Q" if big else "I"), value)
            if far > size:
                continue
            file.seek(far)
            value = file.read(struct.calcsize(code))
        if len(value) >= struct.calcsize(code):
            tags[tag] = struct.unpack_from(order + code, value)[0]
    if held > size + _MOST_VALUES:
        raise ValueError(f"damaged: TIFF tags of {held:,} bytes in a file of {size:,}")
    _go(file, end, size)
    following = file.read(place)
    return tags, int.from_bytes(following, "little" if order == "<" else "big")


_READERS: dict[str, Callable[[BinaryIO, int], Header | None]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "WEBP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
    "HEIF": _container,
    "AVIF": _container,
    "TIFF": _tiff,
}
