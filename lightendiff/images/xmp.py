"""XMP packets, changed only where they would claim what the restored file no longer has."""

from __future__ import annotations

import re

_ITEM = rb"<rdf:li\b(?:(?!<rdf:li\b).)*?Semantic(?:\s*=\s*[\"']|>)(?!Primary)(\w+)(?:(?!<rdf:li\b).)*?</rdf:li>"
_GAIN_ATTRIBUTE = rb"\s+hdrgm:\w+\s*=\s*(?:\"[^\"]*\"|'[^']*')"
_GAIN_ELEMENT = rb"<hdrgm:(\w+)\b[^>]*(?:/>|(?<!/)>.*?</hdrgm:\1>)"


def upright_xmp(xmp: bytes) -> bytes:
    """The XMP packet with its orientation, where it has one, set to 1."""
    return _with_property(xmp, rb"tiff:Orientation", rb"[2-8]", b"1")[0]


def plain_xmp(xmp: bytes, notes: list[str]) -> bytes:
    """The XMP packet without the claims that a video, a gain map or other pictures follow the photo; notes what did."""
    xmp, videos = _with_property(xmp, rb"Camera:(?:MotionPhoto|MicroVideo)", b"1", b"0")
    items = {match[1] for match in re.finditer(_ITEM, xmp, re.DOTALL)}
    xmp = re.sub(_ITEM, b"", xmp, flags=re.DOTALL)
    xmp, attributes = re.subn(_GAIN_ATTRIBUTE, b"", xmp)
    xmp, elements = re.subn(_GAIN_ELEMENT, b"", xmp, flags=re.DOTALL)
    if videos or b"MotionPhoto" in items:
        notes.append("a motion photo's video is left out")
    if attributes or elements or b"GainMap" in items:
        notes.append("the gain map for HDR screens is left out")
    if others := sorted(item.decode() for item in items - {b"MotionPhoto", b"GainMap"}):
        notes.append(f"what follows the photo in its file is left out ({', '.join(others)})")
    return xmp


def _with_property(xmp: bytes, name: bytes, old: bytes, new: bytes) -> tuple[bytes, int]:
    """The XMP packet with a property, attribute or element, set to `new`, and how often; the others are patterns."""
    return re.subn(rb"(" + name + rb"(?:\s*=\s*[\"']|>))" + old, rb"\g<1>" + new, xmp)
