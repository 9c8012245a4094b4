"""TIFF files that end a little early: a directory for what is there of them."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from .exif import directory_entries
from .mending import NOTE, TOO_EARLY, enough
from .tiff_samples import redirected

_SIZES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4)  # bytes of a value, by the number of its kind
_CODES = {1: "B", 3: "H", 4: "I"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLES, _PLANAR = 256, 257, 258, 259, 277, 284
_STRIPS, _TILES = (273, 279, 278), (324, 325, 323)  # tags of offsets, sizes and rows
_TILE_WIDTH, _TILE = 322, 64
_NONE, _DEFLATE = (1,), (8, 32946)


def completed(data: bytes, end: int, notes: list[str]) -> tuple[bytes, int]:
    """The file with what is missing left out of its first directory, and how many rows of the picture are missing.

    Most files are whole, and come back as they are. end: where the pixels of a whole file would end at the latest.

    Raises:
        ValueError: too much is missing.
    """
    tags = _Tags(data)
    offsets_tag, sizes_tag, rows_tag = _TILES if _TILES[0] in tags.entries else _STRIPS
    offsets, sizes, height = tags.values(offsets_tag), tags.values(sizes_tag), tags.value(_HEIGHT, 0)
    if not tags.cut and all(a + b <= end for a, b in zip(offsets, sizes, strict=False)):
        return data, 0
    notes.append(NOTE)
    kept, changed, out = tags.entries.keys() - tags.cut, dict[int, tuple[int, ...]](), data
    if _BITS in tags.cut:
        changed[_BITS] = (tags.value(_BITS, 8),) * tags.value(_SAMPLES, 1)
    if not offsets or tags.value(_PLANAR, 1) != 1:
        return redirected(data, changed, kept), 0
    while 0 < len(offsets) < len(sizes):  # strips usually lie one behind the other
        offsets.append(offsets[-1] + sizes[len(offsets) - 1])
    following = sorted({*offsets, tags.at, end})
    sizes += [next((e for e in following if e > offset), end) - offset for offset in offsets[len(sizes) :]]
    rows = min(tags.value(rows_tag, height), height) or 1
    across = -(-tags.value(_WIDTH, 1) // tags.value(_TILE_WIDTH, 1)) if offsets_tag == _TILES[0] else 1
    whole = next((i for i, (a, b) in enumerate(zip(offsets, sizes, strict=False)) if a + b > end), len(offsets))
    whole -= whole % across
    there, kind = min(height, whole // across * rows), tags.value(_COMPRESSION, 1)
    if there < height and whole < len(offsets) and across == 1 and kind in (*_NONE, *_DEFLATE):
        row = (tags.value(_WIDTH, 0) * tags.value(_BITS, 1) * tags.value(_SAMPLES, 1) + 7) // 8
        part = data[offsets[whole] : end]
        part = zlib.decompressobj().decompress(part) if kind in _DEFLATE else part
        if row and (some := min(len(part) // row, height - there)):
            part = zlib.compress(part[: some * row], 1) if kind in _DEFLATE else part[: some * row]
            offsets[whole], sizes[whole], out = len(out), len(part), out + part
            rows, there, whole = rows if whole else some, there + some, whole + 1
    if not enough(there, height, _TILE if across > 1 else 0):
        raise ValueError(TOO_EARLY)
    changed |= {_HEIGHT: (there,), offsets_tag: tuple(offsets[:whole]), sizes_tag: tuple(sizes[:whole])}
    if across == 1:
        changed[rows_tag] = (min(rows, there),)
    return redirected(out, changed, kept), height - there


@dataclass
class _Tags:
    """The first directory. at: where it is. entries: where each is. cut: tags of which values are missing."""

    data: bytes

    def __post_init__(self) -> None:
        data, self._order = self.data, "<" if self.data[:2] == b"II" else ">"
        (self.at,) = struct.unpack_from(self._order + "I", data, 4)
        end = self.at + 2
        if end <= len(data):
            end += 12 * struct.unpack_from(self._order + "H", data, self.at)[0]
        if end > len(data):
            raise ValueError("truncated: the TIFF directory, which says where the pixels are, is missing at the end")
        self.entries = dict(directory_entries(data, self._order))
        self.cut = {tag for tag, entry in self.entries.items() if sum(self._extent(entry)) > len(data)}
        if end + 4 > len(data):  # where the next directory is
            self.cut.add(-1)

    def _extent(self, entry: int) -> tuple[int, int]:
        """Where the values of an entry are, and how many bytes they have."""
        kind, count = struct.unpack_from(self._order + "HI", self.data, entry + 2)
        size: int = count * (_SIZES[kind] if kind < len(_SIZES) else 1)
        return (entry + 8 if size <= 4 else struct.unpack_from(self._order + "I", self.data, entry + 8)[0]), size

    def values(self, tag: int) -> list[int]:
        """As many of them as are there."""
        if tag not in self.entries:
            return []
        kind, count = struct.unpack_from(self._order + "HI", self.data, self.entries[tag] + 2)
        place, code = self._extent(self.entries[tag])[0], _CODES.get(kind, "B")
        count = max(0, min(count, (len(self.data) - place) // struct.calcsize(code)))
        return list(struct.unpack_from(f"{self._order}{count}{code}", self.data, place))

    def value(self, tag: int, default: int) -> int:
        """The first of them."""
        return next(iter(self.values(tag)), default)
