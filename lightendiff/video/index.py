"""The index of an MP4 or MOV file, held against the file before FFmpeg makes an entry in memory of each sample."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..limits import TooLarge

_MOST = 20_000_000  # samples of a track; 60 frames a second have 5 million in a day
_FOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf")  # boxes of boxes
_SIZES, _TIMES, _RUN = b"stsz", b"stts", b"trun"
_MARKS = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"pnot", b"styp")


def check_index(path: Path) -> None:
    """TooLarge if a track claims more samples than the file has room for, or than any film has."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        if file.read(8)[4:] not in _MARKS:
            return
        runs, in_chunks, claimed = 0, False, (0, 0)
        for name, at, length in _boxes(file, 0, size):
            file.seek(at)
            if name == b"trak":
                in_chunks, claimed = False, (0, 0)
            elif name == _TIMES and length >= 16:  # uncompressed sound, which FFmpeg keeps in chunks, has ticks of 1
                count, _, ticks = struct.unpack(">4xIII", file.read(16))
                in_chunks = (count, ticks) == (1, 1)
            elif name == _SIZES and length >= 12:
                claimed = struct.unpack(">4xII", file.read(12))
                claimed = claimed[0], claimed[1] if claimed[0] else min(claimed[1], length // 4)
            elif name == _RUN and length >= 8:
                runs += struct.unpack(">4xI", file.read(8))[0]
            each, count = claimed
            if not in_chunks and (count > _MOST or each * count > 100 * size + _MOST):
                raise TooLarge(f"damaged: its index counts {count:,} samples of {each:,} bytes in a file of {size:,}")
            if runs > _MOST:
                raise TooLarge(f"damaged: its fragments count more than {_MOST:,} samples")


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The name, content's place and content's length of the boxes, one after the other; those of folders follow."""
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        length, name, start = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1 and len(head) == 16:
            length, start = int.from_bytes(head[8:], "big"), 16
        if length == 0:
            length = end - at
        if length < start:
            return
        yield name, at + start, length - start
        if name in _FOLDERS:
            yield from _boxes(file, at + start, min(end, at + length))
        at += length
