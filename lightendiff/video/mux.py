"""Writing restored video: segments of it, and all of them joined with what else was in the source.

Video is encoded without B-frames, so that packets are stored in the order in which they are shown, and segments can be
put in a row. What else there is (sound, subtitles, chapters, …) is copied, never encoded anew.
"""

from __future__ import annotations

import heapq
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np

from .frames import Look, Source, av, is_cover

# What can be written: the encoder for each extension. AVI isn't among them: it has no time stamps.
ENCODERS = {
    ".mp4": "libx264", ".m4v": "libx264", ".mov": "libx264", ".mkv": "libx264", ".ts": "libx264",
    ".webm": "libvpx-vp9",
}  # fmt: skip
_OPTIONS = {
    "libx264": {"crf": "18", "preset": "medium", "bf": "0"},
    "libvpx-vp9": {"crf": "24", "b": "0", "cpu-used": "2", "row-mt": "1"},
}
_STALE = ("encoder", "bps", "number_of_bytes", "number_of_frames", "duration", "rotate", "_statistics")  # tags
_BRANDS = ("encoder", "major_brand", "minor_version", "compatible_brands")


class SegmentWriter:
    """Encodes frames into a file of their own, which counts time from its first frame; to be closed."""

    def __init__(self, path: Path, look: Look, encoder: str, source: Source) -> None:
        self.look, self.time_base = look, source.time_base
        self.stamps: list[int] = []  # of the frames that were written
        self.container: Any = av.open(os.path.abspath(path), "w", format="nut")
        options = _OPTIONS[encoder]
        stream = self.container.add_stream(encoder, rate=source.rate, options=options, time_base=source.time_base)
        self.stream = cast(Any, stream)
        self.stream.width, self.stream.height = look.size
        self.stream.pix_fmt = look.pixel_format
        self.stream.codec_context.time_base = source.time_base
        look.tag(self.stream.codec_context)

    def write(self, pixels: np.ndarray, pts: int) -> None:
        """Add a frame: (h, w, 3), as `Look.decoded` returns them; the time stamp as of the source."""
        start = self.stamps[0] if self.stamps else pts
        self.container.mux(self.stream.encode(self.look.encodable(pixels, pts - start, self.time_base)))
        self.stamps.append(pts)

    def close(self) -> None:
        try:
            self.container.mux(self.stream.encode(None))
        finally:
            self.container.close()


def stamps(path: Path, start: int, time_base: Fraction) -> Iterator[tuple[int, Any]]:
    """The time stamps, as of the source, and the packets of a segment that started at `start`."""
    container: Any
    with av.open(os.path.abspath(path)) as container:
        for packet in container.demux(video=0):
            if packet.size:
                yield start + round(packet.pts * Fraction(packet.time_base) / time_base), packet


def join(
    source: Source, look: Look, segments: Sequence[tuple[Path, int]], last_duration: int, target: Path
) -> list[str]:
    """Write the segments (file, first time stamp) as one stream, and all else that is in the source as it is.

    Args:
        source: its path is read anew.
        look: of its frames.
        segments: in order.
        last_duration: of the last frame, in the source's time base; 0 where that isn't known.
        target: written under this name directly; its extension says the format.

    Returns:
        What the format couldn't hold.
    """
    notes: list[str] = []
    with ExitStack() as stack:
        given: Any = stack.enter_context(av.open(os.path.abspath(source.path), metadata_errors="replace"))
        out: Any = stack.enter_context(av.open(os.path.abspath(target), "w"))
        copies: dict[int, Any] = {}
        video = None
        for stream in given.streams:
            if stream.index == source.stream.index:
                video = _restored_stream(out, stream, segments[0][0], source, look, notes)
            elif _holds(out.format.name, stream):
                copies[stream.index] = copy = out.add_stream_from_template(stream)
                copy.metadata.update(_tags(stream))
                copy.disposition = stream.disposition
                if stream.type == "video" and not is_cover(stream):
                    notes.append(f"{_named(stream)} is copied, not restored")
            else:
                notes.append(f"{_named(stream)} isn't copied: {out.format.name} can't hold it")
        out.metadata.update({k: v for k, v in given.metadata.items() if k.lower() not in _BRANDS})
        if chapters := given.chapters():
            out.set_chapters(chapters)
        packets = [_restored_packets(segments, last_duration, source.time_base, video)]
        if copies:
            packets.append(_copied_packets(given, copies))
        for packet in heapq.merge(*packets, key=lambda packet: packet.dts * Fraction(packet.time_base)):
            out.mux(packet)
    return notes


def _restored_stream(out: Any, stream: Any, segment: Path, source: Source, look: Look, notes: list[str]) -> Any:
    with av.open(os.path.abspath(segment)) as first:
        video = out.add_stream_from_template(first.streams.video[0])
    video.time_base = source.time_base
    video.codec_context.framerate = source.rate
    look.tag(video.codec_context)
    video.disposition = stream.disposition
    video.metadata.update(_tags(stream))
    if look.display is not None:
        if out.format.name == "mpegts":
            notes.append("the rotation isn't kept: MPEG-TS has no place for it")
        else:
            video.set_display_matrix(look.display)
    return video


def _restored_packets(
    segments: Sequence[tuple[Path, int]], last_duration: int, time_base: Fraction, video: Any
) -> Iterator[Any]:
    before: Any = None
    for path, start in segments:
        for pts, packet in stamps(path, start, time_base):
            if before is not None:
                before.duration = pts - before.pts
                yield before
            packet.pts = packet.dts = pts
            packet.time_base, packet.stream = time_base, video
            before = packet
    if last_duration:
        before.duration = last_duration
    yield before


def _copied_packets(given: Any, copies: dict[int, Any]) -> Iterator[Any]:
    for packet in given.demux([given.streams[index] for index in copies]):
        if packet.size:
            if packet.dts is None:  # a cover has no time
                packet.dts = packet.pts = packet.pts or 0
            packet.stream = copies[packet.stream.index]
            yield packet


def _tags(stream: Any) -> dict[str, str]:
    return {key: value for key, value in stream.metadata.items() if not key.lower().startswith(_STALE)}


def _holds(format: str, stream: Any) -> bool:
    """Whether a container can hold a stream as it is, which only a trial can tell."""
    with suppress(ValueError, av.error.FFmpegError), av.open(io.BytesIO(), "w", format=format) as trial:
        trial.add_stream_from_template(stream)
        trial.start_encoding()
        return True
    return False


def _named(stream: Any) -> str:
    codec = stream.codec_context.name if stream.codec_context is not None else "of an unknown kind"
    return f"{stream.type} stream {stream.index} ({codec})"
