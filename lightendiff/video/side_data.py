"""What comes with frames besides pixels: captions, spherical video, what a display needs to know.

Most of it is encoded with a frame that has it. What belongs to the stream is written into a header of MP4, which
FFmpeg reads, so that any format gets it as far as it can hold it.
"""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from typing import Any

from .frames import av

_NAMES = {  # what is said where it can't be kept
    "PANSCAN": "pan and scan",
    "A53_CC": "closed captions",
    "STEREO3D": "the stereo layout",
    "AFD": "the active format description",
    "MASTERING_DISPLAY_METADATA": "the mastering display's data",
    "SPHERICAL": "the spherical projection",
    "CONTENT_LIGHT_LEVEL": "content light levels",
    "ICC_PROFILE": "the colour profile",
    "S12M_TIMECODE": "timecodes in the frames",
    "DYNAMIC_HDR_PLUS": "HDR10+ data",
    "SEI_UNREGISTERED": "user data in the frames",
    "FILM_GRAIN_PARAMS": "film grain",
    "DOVI_METADATA": "Dolby Vision data",
    "DOVI_RPU_BUFFER": "Dolby Vision data",
    "DYNAMIC_HDR_VIVID": "HDR Vivid data",
    "AMBIENT_VIEWING_ENVIRONMENT": "the viewing environment's data",
}
_ENCODERS = ("dc45e9bde6d948b7962cd820d923eeef", "2ca2de09b51747dbbb55a4fe7fc2fc4e")  # x264's and x265's own user data
_ANCESTORS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_SPHERES = {0: "equi", 1: "cbmp", 2: "equi"}  # FFmpeg's projections -> MP4's
_STEREO = {0: 0, 2: 1, 1: 2}  # FFmpeg's layouts (flat, side by side, above each other) -> MP4's


def side_data(frame: Any) -> dict[str, bytes]:
    """A frame's side data by FFmpeg's names; none where it has some that PyAV has no name for."""
    with suppress(ValueError):
        return {each.type.name: bytes(each) for each in frame.side_data}
    return {}


def worth_keeping(frame: Any) -> set[str]:
    """The names of a frame's side data that a user would miss."""
    found = side_data(frame)
    if found.get("SEI_UNREGISTERED", b"")[:16].hex() in _ENCODERS:
        del found["SEI_UNREGISTERED"]
    if not any(found.get("PANSCAN", b"")[12:]):  # every MPEG-2 frame has one that pans nowhere
        found.pop("PANSCAN", None)
    return found.keys() & _NAMES.keys()


def described(names: set[str]) -> list[str]:
    """A line for each that isn't kept."""
    return [f"{text} isn't kept" if not text.endswith("s") else f"{text} aren't kept" for text in sorted(
        {_NAMES[name] for name in names}
    )]  # fmt: skip


def encoder_options(data: dict[str, bytes]) -> str:
    """The options of x264 for what displays need to know; empty without."""
    options = []
    if display := _display(data):
        primaries, (low, high) = display[:8], display[8:]
        (r, g, b, white) = (f"({primaries[i]},{primaries[i + 1]})" for i in range(0, 8, 2))
        options.append(f"mastering-display=G{g}B{b}R{r}WP{white}L({high},{low})")
    if light := data.get("CONTENT_LIGHT_LEVEL"):
        options.append("cll={},{}".format(*struct.unpack_from("2I", light)))
    return ":".join(options)


def with_side_data(stream: Any, data: dict[str, bytes]) -> Any:
    """A stream like this one that has the side data, too; the same one if there is none or its codec isn't for MP4."""
    boxes = _boxes(data)
    if not boxes:
        return stream
    header = io.BytesIO()
    with suppress(ValueError, av.error.FFmpegError):
        with av.open(header, "w", format="mp4", container_options={"movflags": "empty_moov"}) as out:
            out.add_stream_from_template(stream)
            out.start_encoding()
        return av.open(io.BytesIO(_inserted(header.getvalue(), boxes))).streams.video[0]
    return stream


def _inserted(header: bytes, boxes: bytes) -> bytes:
    """An MP4 header with boxes at the end of its only sample entry, which all the boxes around it grow by."""
    data, at, end = bytearray(header), 0, len(header)
    for kind in (*_ANCESTORS, None):
        while kind is not None and data[at + 4 : at + 8] != kind:
            at += int.from_bytes(data[at : at + 4], "big")
        size = int.from_bytes(data[at : at + 4], "big")
        data[at : at + 4] = (size + len(boxes)).to_bytes(4, "big")
        end = at + size
        at += 16 if kind == b"stsd" else 8
    data[end:end] = boxes
    return bytes(data)


def _box(kind: str, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind.encode()) + body


def _boxes(data: dict[str, bytes]) -> bytes:
    boxes = b""
    if display := _display(data):
        r, g, b, white = (display[i : i + 2] for i in range(0, 8, 2))
        boxes += _box("mdcv", struct.pack(">8H2I", *g, *b, *r, *white, display[9], display[8]))
    if light := data.get("CONTENT_LIGHT_LEVEL"):
        most, mean = struct.unpack_from("2I", light)
        boxes += _box("clli", struct.pack(">2H", min(most, 65535), min(mean, 65535)))
    if stereo := data.get("STEREO3D"):
        (layout,) = struct.unpack_from("I", stereo)
        if layout in _STEREO:
            boxes += _box("st3d", struct.pack(">IB", 0, _STEREO[layout]))
    if sphere := data.get("SPHERICAL"):
        projection, yaw, pitch, roll, left, top, right, bottom, padding = struct.unpack_from("I3i5I", sphere)
        if kind := _SPHERES.get(projection):
            bounds = (top, bottom, left, right) if kind == "equi" else (0, padding)
            pose = _box("prhd", struct.pack(">I3i", 0, yaw, pitch, roll))
            shape = _box(kind, struct.pack(f">{1 + len(bounds)}I", 0, *bounds))
            boxes += _box("sv3d", _box("svhd", bytes(5)), _box("proj", pose, shape))
    return boxes


def _display(data: dict[str, bytes]) -> list[int]:
    """The mastering display's primaries R, G, B and white in 1/50000, least and most light in 1/10000 cd/m²."""
    raw = data.get("MASTERING_DISPLAY_METADATA")
    if raw is None:
        return []
    *parts, primaries, light = struct.unpack_from("22i", raw)
    if not (primaries and light):
        return []
    units = [50000] * 8 + [10000] * 2
    pairs = zip(parts[::2], parts[1::2], units, strict=True)
    return [round(number * unit / (divisor or 1)) for number, divisor, unit in pairs]
