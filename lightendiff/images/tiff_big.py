"""BigTIFF as plain TIFF, so that one reader does for both."""

from __future__ import annotations

import struct

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_LONG = {16: 4, 17: 9, 18: 13}  # kinds of 8 bytes -> those of 4
_INNER = (34665, 34853, 40965)  # tags that point to directories: EXIF, GPS, interoperability
_MOST = 1000  # directories, more than which only a damaged file has


def is_big(data: bytes) -> bool:
    return data[:4] in (b"II+\0", b"MM\0+")


def classic(data: bytes) -> bytes:
    """The file with its directories written anew behind all else, which stays where it is.

    Raises:
        ValueError: something lies beyond 4 GB, where plain TIFF reaches no more, or the directories are damaged.
    """
    if len(data) >= 2**32 - 2**24:
        raise ValueError("a BigTIFF of 4 GB or more is not supported")
    order, out, seen = "<" if data[:2] == b"II" else ">", bytearray(data), set[int]()
    out += bytes(len(out) % 2)

    def appended(block: bytes) -> int:
        out.extend(block + bytes(len(block) % 2))
        return len(out) - len(block) - len(block) % 2

    def entry(at: int) -> bytes:
        tag, kind, count = struct.unpack_from(order + "HHQ", data, at)
        size = count * _SIZES.get(kind, 1)
        (place,) = (at + 12,) if size <= 8 else struct.unpack_from(order + "Q", data, at + 12)
        if place + size > len(data):
            raise ValueError(f"the file ends early: the value of TIFF tag {tag} is missing")
        if tag in _INNER and kind in (4, 13, 16, 18) and count == 1:
            (inner,) = struct.unpack_from(order + ("I" if kind in (4, 13) else "Q"), data, place)
            return struct.pack(order + "HHII", tag, 4, 1, chain(inner, single=True))
        if kind in _LONG:
            code = "q" if kind == 17 else "Q"
            values = struct.unpack_from(f"{order}{count}{code}", data, place)
            content = struct.pack(f"{order}{count}{'i' if kind == 17 else 'I'}", *values)
            kind = _LONG[kind]
        elif size > 8:
            return struct.pack(order + "HHII", tag, kind, count, place)
        else:
            content = data[place : place + size]
        if len(content) > 4:
            content = struct.pack(order + "I", appended(content))
        return struct.pack(order + "HHI", tag, kind, count) + content.ljust(4, b"\0")

    def chain(at: int, single: bool = False) -> int:
        """Write the directory there, and those after it; where the first one is now."""
        first = last = 0
        while at and at not in seen and len(seen) < _MOST:
            seen.add(at)
            (count,) = struct.unpack_from(order + "Q", data, at)
            if at + 8 + 20 * count > len(data):
                raise ValueError("the file ends early: its TIFF directory is missing")
            entries = b"".join(entry(at + 8 + 20 * i) for i in range(count))
            here = appended(struct.pack(order + "H", count) + entries + bytes(4))
            if last:
                struct.pack_into(order + "I", out, last, here)
            first, last = first or here, here + 2 + 12 * count
            at = 0 if single else struct.unpack_from(order + "Q", data, at + 8 + 20 * count)[0]
        return first

    (place,) = struct.unpack_from(order + "Q", data, 8)
    try:
        struct.pack_into(order + "HI", out, 2, 42, chain(place))
    except struct.error as error:
        raise ValueError("damaged, or a BigTIFF that reaches beyond 4 GB") from error
    return bytes(out)
