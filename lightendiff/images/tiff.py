"""TIFF: reading what its tags say, writing a file around an EXIF block.

The writer is ours because no library keeps it all: Pillow holds no colour of 16 bits, tifffile refuses to write the
EXIF and GPS directories, OpenCV writes no metadata into TIFF, and each would move the EXIF block that it rebuilds.
"""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from ..limits import check_pixels
from .decoding import fitting_profile
from .exif import directory_entries, reset_orientation, valid_dpi
from .lab import from_lab
from .picture import Picture
from .pixels import CONVERTED, decoded, loaded, split_alpha, supported
from .tiff_big import classic, is_big
from .tiff_cut import completed
from .tiff_samples import samples
from .xmp import plain_xmp

_XMP, _ICC, _RESOLUTION_X, _RESOLUTION_Y, _RESOLUTION_UNIT = 700, 34675, 282, 283, 296
_IPTC = 33723
_SUBFILE, _SUB_DIRECTORIES, _DNG_VERSION = 254, 330, 50706
_CR2 = b"II*\0\x10\0\0\0CR\2"
_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _EXTRA, _FORMAT = 258, 262, 277, 284, 338, 339
_LAB = (8, 9)  # photometric interpretations, signed and unsigned
_COLOURS = (2, *_LAB)  # RGB, too
# TIFF tags that describe how the pixels are stored (and Photoshop's layers): meaningless around other pixels.
_STRUCTURE = frozenset(
    {*range(254, 267), 273, *range(277, 282), 284, *range(288, 294), 301, 317, *range(320, 326), 330, *range(332, 343)}
    | {347, *range(512, 533), 559, _XMP, _ICC, _IPTC, 37724}
)


def read(data: bytes, max_pixels: int) -> tuple[Picture, int]:
    """The first page of a TIFF file as it is stored, and the orientation (1–8) that is still to be applied."""
    end = len(data)
    if is_big(data):
        data = classic(data)
    # Decoders turn TIFF pictures by themselves, each in its own way: none may see the orientation.
    notes: list[str] = []
    data, missing = completed(data, end, notes)
    data, orientation = reset_orientation(data)
    tags = _directory(data)
    if tags.get(_SUBFILE, 0) & 1 and not _is_raw(data, tags) and (page := _full_page(data, tags)):
        data, orientation = reset_orientation(data[:4] + struct.pack(_order(data) + "I", page) + data[8:])
        tags = _directory(data)
    given = data
    if tags.tagtype.get(_XMP, 1) not in (1, 2, 7):
        data = _with_bytes(data, _XMP)
    if _is_raw(data, tags):  # its first page is a thumbnail
        raise ValueError("a RAW photo: those are known by the extension of their file's name, such as .dng or .nef")
    check_pixels(int(tags[256]), int(tags[257]), max_pixels)
    notes += ["only the first page is restored"] if tags.next else []
    array, icc_profile, srgb = _pixels(data, tags, max_pixels, notes)
    if missing:
        array = np.concatenate([array, array[-1:].repeat(missing, axis=0)])
    per_unit = 2.54 if tags.get(_RESOLUTION_UNIT, 2) == 3 else 1.0
    dpi = valid_dpi(tags.get(_RESOLUTION_X), tags.get(_RESOLUTION_Y), per_unit)
    pixels, alpha = split_alpha(array)
    picture = Picture(
        pixels,
        alpha,
        format="TIFF",
        exif=_exif_of(data, notes),
        icc_profile=fitting_profile(icc_profile, pixels.shape[2], notes),
        xmp=plain_xmp(_tag_bytes(given, _XMP, notes), notes),
        iptc=_tag_bytes(data, _IPTC, notes),
        srgb=srgb,
        dpi=dpi,
        notes=tuple(notes),
    )
    return picture, orientation


def _order(data: bytes) -> str:
    return "<" if data[:2] == b"II" else ">"


def _directory(data: bytes, at: int | None = None) -> TiffImagePlugin.ImageFileDirectory_v2:
    """The first directory, or the one that lies there; its `next` is the one after it."""
    tags = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
    stream = io.BytesIO(data)
    stream.seek(tags.next if at is None else at)
    tags.load(stream)
    return tags


def _with_bytes(data: bytes, tag: int) -> bytes:
    """The file with a tag that holds a number holding that number's bytes, since Pillow fails over a number."""
    order, patched = _order(data), bytearray(data)
    struct.pack_into(order + "HI", patched, dict(directory_entries(data, order))[tag] + 2, 7, 4)
    return bytes(patched)


def _full_page(data: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2) -> int:
    """Where the first page lies that isn't a smaller copy of another one, or 0."""
    at: int
    at, seen = tags.next, set[int]()
    while at and at not in seen and at < len(data):
        seen.add(at)
        tags = _directory(data, at)
        if 256 in tags and not tags.get(_SUBFILE, 0) & 1:
            return at
        at = tags.next
    return 0


def _pixels(
    data: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2, max_pixels: int, notes: list[str]
) -> tuple[np.ndarray, bytes, bool]:
    """The pixels (h, w) or (h, w, 1 to 4); their profile; whether the colours were converted to sRGB."""
    bits, kind, count = max(tags.get(_BITS, (1,))), tags.get(_PHOTOMETRIC), tags.get(_SAMPLES, 1)
    # Of deep colour Pillow keeps the higher bytes only, and it mistakes some planes and floating-point numbers.
    deep, planes = bits > 8 and kind in _COLOURS, kind in (0, 1) and count > 1 and tags.get(_PLANAR, 1) == 2
    if not (deep or planes or tags.get(_FORMAT, (1,))[0] == 3):
        with contextlib.suppress(UnidentifiedImageError), loaded(data, max_pixels, "TIFF") as image:
            array, converted = decoded(image, notes), image.mode in CONVERTED
            if array.dtype == np.uint16 and bits < 16:
                array = ((array.astype(np.uint32) * 65535 + (2**bits - 1) // 2) // (2**bits - 1)).astype(np.uint16)
            if array.dtype == np.uint16 and kind == 0:
                array = 65535 - array  # white is zero; Pillow turns only 8-bit pictures round
            return array, b"" if converted else _tag_bytes(data, _ICC, notes), converted
    colours = 1 if kind in (0, 1) else 3
    array = samples(data, tags)
    if kind not in (0, 1, *_COLOURS) or count < colours or (colours == 1 and count > 2):
        raise ValueError(
            f"a TIFF of a kind that is not supported ({count} channels, photometric interpretation {kind})"
        )
    array = array if array.dtype == np.uint8 else supported(array, notes)
    array = _straight_alpha(array, colours, tags.get(_EXTRA, (2,) if kind == 2 else (0,)), notes)
    if kind in _LAB:
        notes.append("LAB colours are converted to sRGB")
        return from_lab(array, signed=kind == 8), b"", True
    if kind == 0:
        array[..., 0] = np.iinfo(array.dtype).max - array[..., 0]
    return array, _tag_bytes(data, _ICC, notes), False


def _is_raw(data: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    """Whether it is a DNG or CR2 by its mark, or, as NEF and ARW, has the photo in a directory below a small one's."""
    return _DNG_VERSION in tags or data[:11] == _CR2 or (tags.get(_SUBFILE) == 1 and _SUB_DIRECTORIES in tags)


def _straight_alpha(array: np.ndarray, colours: int, kinds: tuple[int, ...], notes: list[str]) -> np.ndarray:
    """The colours, and alpha if there is some. `kinds`: of the other channels, 1 multiplied alpha, 2 plain, 0 none."""
    extra = array.shape[2] - colours
    place = next((i for i, kind in enumerate(kinds[:extra]) if kind in (1, 2)), None)
    left = extra - (place is not None)
    if left == 1:
        ordinal = {2: "second", 3: "third", 4: "fourth"}.get(array.shape[2], "last")
        notes.append(f"a {ordinal} channel that is not alpha is left out")
    elif left:
        notes.append(f"{left} channels that are not alpha are left out")
    if place is None:
        return array[..., :colours]
    array = array[..., [*range(colours), colours + place]]
    if kinds[place] == 2:
        return array
    alpha, white = array[..., -1:].astype(np.float64), np.iinfo(array.dtype).max
    colour = np.divide(array[..., :-1] * float(white), alpha, out=np.zeros(array[..., :-1].shape), where=alpha > 0)
    return np.concatenate([np.rint(colour.clip(0, white)).astype(array.dtype), array[..., -1:]], axis=2)


def _tag_bytes(data: bytes, tag: int, notes: list[str]) -> bytes:
    """What a tag of the first directory holds, as it is in the file: of a known number Pillow would keep the first."""
    order = _order(data)
    entry = dict(directory_entries(data, order)).get(tag)
    if entry is None:
        return b""
    kind, count, place = struct.unpack_from(order + "HII", data, entry + 2)
    size = count * {1: 1, 2: 1, 7: 1}.get(kind, 4 if kind == 4 and tag == _IPTC else 0)  # IPTC is often called numbers
    if not size:
        notes.append(f"the TIFF tag {tag} holds numbers where bytes belong: it is left out")
    return data[entry + 8 : entry + 8 + size] if size <= 4 else data[place : place + size]


def _exif_of(data: bytes, notes: list[str]) -> bytes:
    exif = Image.Exif()
    try:
        exif.load_from_fp(io.BytesIO(data))
        for tag in list(exif):
            if tag in _STRUCTURE:
                del exif[tag]
        return exif.tobytes()[6:] if len(exif) else b""
    except Exception:  # Pillow checks few of the values that it packs
        notes.append("unreadable TIFF tags are left out")
        return b""


def write(array: np.ndarray, picture: Picture, quality: int | None, notes: list[str]) -> bytes:
    """A TIFF file around the EXIF block: its own bytes come first, so that every offset in it stays valid.

    Strips are deflated with horizontal differencing (TIFF 6.0, section 14, and Adobe's supplement 2).
    """
    data = bytearray(picture.exif or b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    order = "<" if data[:2] == b"II" else ">"
    entries = {tag: bytes(data[at : at + 12]) for tag, at in directory_entries(data, order) if tag not in _STRUCTURE}

    def append(block: bytes) -> int:
        data.extend(bytes(len(data) % 2))
        data.extend(block)
        return len(data) - len(block)

    def add(tag: int, code: str, *values: int) -> None:
        add_block(tag, {"H": 3, "I": 4}[code], len(values), struct.pack(order + code * len(values), *values))

    def add_block(tag: int, kind: int, count: int, block: bytes) -> None:
        place = block.ljust(4, b"\0") if len(block) <= 4 else struct.pack(order + "I", append(block))
        entries[tag] = struct.pack(order + "HHI", tag, kind, count) + place

    height, width, channels = array.shape
    rows = max(1, 2**20 // array[0].nbytes)
    strips = [_deflated(array[top : top + rows], order) for top in range(0, height, rows)]
    add(256, "I", width)
    add(257, "I", height)
    add(258, "H", *(array.dtype.itemsize * 8,) * channels)
    add(259, "H", 8)  # deflate
    add(262, "H", 2 if channels >= 3 else 1)
    add(273, "I", *(append(strip) for strip in strips))
    add(277, "H", channels)
    add(278, "I", rows)
    add(279, "I", *(len(strip) for strip in strips))
    add(284, "H", 1)
    add(317, "H", 2)
    if channels in (2, 4):
        add(338, "H", 2)  # alpha, not multiplied in
    for tag, kind, block in ((_XMP, 1, picture.xmp), (_ICC, 7, picture.icc_profile), (_IPTC, 7, picture.iptc)):
        if block:
            add_block(tag, kind, len(block), block)
    if picture.dpi and _RESOLUTION_X not in entries:
        for tag, dpi in zip((_RESOLUTION_X, _RESOLUTION_Y), picture.dpi, strict=True):
            add_block(tag, 5, 1, struct.pack(order + "II", round(dpi * 1000), 1000))
        add(_RESOLUTION_UNIT, "H", 2)
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    struct.pack_into(order + "I", data, 4, append(directory))
    return bytes(data)


def _deflated(rows: np.ndarray, order: str) -> bytes:
    difference = rows.copy()
    difference[:, 1:] -= rows[:, :-1]
    return zlib.compress(difference.astype(f"{order}u{rows.itemsize}").tobytes())
