"""XMP packets, changed only where they would claim what the restored file no longer has."""

from __future__ import annotations

import re

# None of these may go over a packet more than once, since a damaged or hostile one may be of any size.
_ITEM = rb"<rdf:li\b[^<]*(?:<(?!rdf:li\b|/rdf:li>)[^<]*)*</rdf:li>"
_SEMANTIC = rb"Semantic(?:\s*=\s*[\"']|>)(?!Primary)(\w+)"
_GAIN_ATTRIBUTE = rb"(?<!\s)\s+hdrgm:\w+\s*=\s*(?:\"[^\"]*\"|'[^']*')"
_GAIN_ELEMENT = rb"<(/?)hdrgm:(\w+)\b[^<>]*>"


def upright_xmp(xmp: bytes) -> bytes:
    """The XMP packet with its orientation, where it has one, set to 1."""
    return _with_property(xmp, rb"tiff:Orientation", rb"[2-8]", b"1")[0]


def plain_xmp(xmp: bytes, notes: list[str]) -> bytes:
    """The XMP packet without the claims that a video, a gain map or other pictures follow the photo; notes what did."""
    xmp, videos = _with_property(xmp, rb"Camera:(?:MotionPhoto|MicroVideo)", b"1", b"0")
    items: set[bytes] = set()

    def other(match: re.Match[bytes]) -> bytes:
        """An item, or nothing where it is of a picture or video that follows."""
        kind = re.search(_SEMANTIC, match[0])
        items.update([kind[1]] if kind else [])
        return b"" if kind else match[0]

    xmp = re.sub(_ITEM, other, xmp)
    xmp, attributes = re.subn(_GAIN_ATTRIBUTE, b"", xmp)
    xmp, elements = _without_gain_elements(xmp)
    if videos or b"MotionPhoto" in items:
        notes.append("a motion photo's video is left out")
    if attributes or elements or b"GainMap" in items:
        notes.append("the gain map for HDR screens is left out")
    if others := sorted(item.decode() for item in items - {b"MotionPhoto", b"GainMap"}):
        notes.append(f"what follows the photo in its file is left out ({', '.join(others)})")
    return xmp


def _without_gain_elements(xmp: bytes) -> tuple[bytes, bool]:
    """The XMP packet without the elements of a gain map, each to its end, and whether there were any."""
    kept, at, opened = [], 0, b""
    for tag in re.finditer(_GAIN_ELEMENT, xmp):
        if opened and not (tag[1] and tag[2] == opened):
            continue
        if not opened:
            if tag[1]:
                continue
            kept.append(xmp[at : tag.start()])
            at = tag.start()
        opened = b"" if opened or tag[0].endswith(b"/>") else tag[2]
        at = at if opened else tag.end()
    plain = b"".join([*kept, xmp[at:]])
    return plain, len(plain) < len(xmp)


def _with_property(xmp: bytes, name: bytes, old: bytes, new: bytes) -> tuple[bytes, int]:
    """The XMP packet with a property, attribute or element, set to `new`, and how often; the others are patterns."""
    return re.subn(rb"(" + name + rb"(?:\s*=\s*[\"']|>))" + old, rb"\g<1>" + new, xmp)
