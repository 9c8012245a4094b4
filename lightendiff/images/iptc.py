"""IPTC records (captions, keywords, rights) and the wrappings in which formats keep them."""

from __future__ import annotations

import struct
import zlib

PHOTOSHOP = b"Photoshop 3.0\0"  # before the resources in a JPEG segment
_RESOURCE, _IPTC = b"8BIM", 0x0404


def in_resources(resources: bytes) -> bytes:
    """The records among Photoshop's image resources, or nothing."""
    at = 0
    while resources[at : at + 4] == _RESOURCE and at + 12 <= len(resources):
        (number,) = struct.unpack_from(">H", resources, at + 4)
        name = resources[at + 6] + 1
        at += 6 + name + name % 2
        if at + 4 > len(resources):
            break
        (size,) = struct.unpack_from(">I", resources, at)
        if number == _IPTC:
            return resources[at + 4 : at + 4 + size]
        at += 4 + size + size % 2
    return b""


def as_resources(records: bytes) -> bytes:
    """The records as one of Photoshop's image resources."""
    return _RESOURCE + struct.pack(">HHI", _IPTC, 0, len(records)) + records + bytes(len(records) % 2)


def from_raw_profile(text: str) -> bytes:
    """The content of a PNG text of ImageMagick's, in hexadecimal below a name and a length, else ValueError."""
    return bytes.fromhex("".join(text.split("\n")[3:]))


def as_raw_profile(kind: str, content: bytes) -> bytes:
    """The body of a zTXt chunk with that content."""
    digits = content.hex()
    lines = "\n".join(digits[i : i + 72] for i in range(0, len(digits), 72))
    text = f"\n{kind}\n{len(content):8}\n{lines}\n"
    return f"Raw profile type {kind}".encode() + b"\0\0" + zlib.compress(text.encode())
