"""Encoding restored frames into segments, and reading their packets back.

Video is encoded without B-frames, so that packets are stored in the order in which they are shown, and segments can be
put in a row.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, cast, get_args

import numpy as np
from av.packet import PacketSideData, PktSideDataT

from .frames import Source, av
from .look import Look
from .side_data import encoder_options

# What can be written: the encoder for each extension. AVI isn't among them: it has no time stamps.
ENCODERS = {
    ".mp4": "libx264", ".m4v": "libx264", ".mov": "libx264", ".mkv": "libx264", ".ts": "libx264",
    ".webm": "libvpx-vp9",
}  # fmt: skip
_OPTIONS = {
    "libx264": {"crf": "18", "preset": "medium", "bf": "0"},
    "libvpx-vp9": {"crf": "24", "b": "0", "cpu-used": "2", "row-mt": "1"},
}
# NUT keeps what comes with a packet, here the alpha of VP9, only in its next version, which has to be asked for.
_NUT = {"strict": "experimental", "syncpoints": "timestamped"}
_ALPHA: PktSideDataT = "matroska_block_additional"


class SegmentWriter:
    """Encodes frames into a file of their own, which counts time from its first frame; to be closed."""

    def __init__(
        self, file: Path | BinaryIO, look: Look, encoder: str, source: Source, side_data: dict[str, bytes]
    ) -> None:
        self.look, self.time_base = look, source.time_base
        self.stamps: list[int] = []  # of the frames that were written
        name = os.path.abspath(file) if isinstance(file, Path) else file
        alpha = "yuva" in look.pixel_format
        self.container: Any = av.open(name, "w", format="nut", container_options=_NUT if alpha else {})
        options = dict(_OPTIONS[encoder])
        if encoder == "libx264" and (more := encoder_options(side_data)):
            options["x264-params"] = more
        stream = self.container.add_stream(encoder, rate=source.rate, options=options, time_base=source.time_base)
        self.stream = cast(Any, stream)
        self.stream.width, self.stream.height = look.size
        self.stream.pix_fmt = look.pixel_format
        self.stream.codec_context.time_base = source.time_base
        look.tag(self.stream.codec_context)

    def write(self, canvas: Any, pixels: np.ndarray, pts: int) -> None:
        """Add a frame: its canvas, the pixels (h, w, 3) that replace those there, and its time stamp in the source."""
        start = self.stamps[0] if self.stamps else pts
        frame = self.look.encodable(canvas, pixels, pts - start, self.time_base)
        self.container.mux(self.stream.encode(frame))
        self.stamps.append(pts)

    def close(self) -> None:
        try:
            self.container.mux(self.stream.encode(None))
        finally:
            self.container.close()


def _mend_alpha(packet: Any) -> None:
    """FFmpeg's NUT stores the number in front of a packet's alpha twice: take it out once."""
    if packet.has_sidedata(_ALPHA):
        stored = bytes(packet.get_sidedata(_ALPHA))
        if stored[:8] == stored[8:16]:
            single: Any = PacketSideData(get_args(PktSideDataT).index(_ALPHA), len(stored) - 8)  # type: ignore[call-arg]
            single.update(stored[8:])
            packet.set_sidedata(single)


def stamps(file: Path | BinaryIO, start: int, time_base: Fraction) -> Iterator[tuple[int, Any]]:
    """The time stamps, as of the source, and the packets of a segment that started at `start`."""
    container: Any
    with av.open(os.path.abspath(file) if isinstance(file, Path) else file) as container:
        for packet in container.demux(video=0):
            if packet.size:
                _mend_alpha(packet)
                yield start + round(packet.pts * Fraction(packet.time_base) / time_base), packet
