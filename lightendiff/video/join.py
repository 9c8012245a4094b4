"""Joining segments of restored video with what else was in the source, after a rehearsal.

The rehearsal writes all but the video to nowhere before a frame is restored, and a frame of it with the first packets
of the others to memory. What the format can't hold is found there, and never costs the work.
"""

from __future__ import annotations

import heapq
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from ..images import shown
from . import copies
from .frames import Source, av, opened
from .look import Look, pixels_of
from .mux import SegmentWriter, stamps
from .side_data import side_data, with_side_data, worth_keeping

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".ts": "mpegts", ".webm": "webm"}
Segments = Sequence[tuple[Path | BinaryIO, int]]  # file and first time stamp of each


class _Nowhere(io.RawIOBase):
    """Takes what is written, and keeps nothing but the place."""

    def __init__(self) -> None:
        self.place = self.size = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.place += len(data)
        self.size = max(self.size, self.place)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self.place = offset + (0, self.place, self.size)[whence]
        return self.place

    def tell(self) -> int:
        return self.place


@dataclass
class Joint:
    """How segments are joined with the rest of the source, in the format of the target's extension.

    Attributes:
        source: its path is read anew.
        look: of its frames.
        extension: of the target.
        side_data: of the first frame.
        left_out: indices of streams that the format can't hold after all.
        kept: names of side data that frames keep.
        notes: what isn't kept.
    """

    source: Source
    look: Look
    extension: str
    side_data: dict[str, bytes]
    left_out: set[int] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    @property
    def format(self) -> str:
        return _FORMATS[self.extension.lower()]

    def rehearse(self, frame: Any, encoder: str) -> None:
        """Find out, with the first frame, what the format can't hold.

        Raises:
            ValueError: it can't even hold the video.
        """
        segment = io.BytesIO()
        writer = SegmentWriter(segment, self.look, encoder, self.source, self.side_data)
        canvas = self.look.canvas(frame)
        writer.write(canvas, pixels_of(canvas), frame.pts)
        writer.close()
        taken = [(segment, frame.pts)]
        if error := self._refusal(taken):
            self._leave_out(taken, error)
        trial = io.BytesIO()
        self._write(taken, 0, trial, few=True)
        trial.seek(0)
        written: Any
        with av.open(trial, metadata_errors="replace") as written, opened(self.source.path) as given:
            self.notes += copies.lost_tags(given, written)
            self.notes += copies.lost_labels(given, written, self.left_out)
            first = next(written.decode(video=0))
            self.kept = worth_keeping(first) | ({"A53_CC"} if encoder == "libx264" else set())
            if self.look.aspect not in (None, 1, written.streams.video[0].sample_aspect_ratio):
                self.notes.append(f"the aspect of pixels, {self.look.aspect}, isn't kept: players show them square")
            if self.format == "mov" and "SPHERICAL" in self.kept:
                self.notes.append(
                    "the spherical projection is stored in Apple's form (vexu), which not every player knows"
                )
            if self.look.display is not None and "DISPLAYMATRIX" not in side_data(first):
                place = "MPEG-TS" if self.format == "mpegts" else self.format
                self.notes.append(f"the rotation isn't kept: {place} has no place for it")

    def _refusal(self, segments: Segments) -> Exception | None:
        segments[0][0].seek(0)  # type: ignore[union-attr]  # it is in memory
        try:
            self._write(segments, 0, _Nowhere())
        except (ValueError, av.error.FFmpegError) as error:
            return error
        return None

    def _leave_out(self, segments: Segments, error: Exception) -> None:
        """Find the streams that the format refuses, one by one; if it is none of them alone, leave out all."""
        with opened(self.source.path) as given:
            candidates = {stream.index for stream in copies.copied_streams(self.source, given, self.format, [])}
        refused = set()
        for index in candidates:
            self.left_out = candidates - {index}
            if self._refusal(segments) is not None:
                refused.add(index)
        self.left_out = refused
        if self._refusal(segments) is not None:
            self.left_out = candidates
            if self._refusal(segments) is not None:
                where = f"{shown(self.source.path)}: cannot be stored as {self.extension}"
                raise ValueError(f"{where}: {getattr(error, 'strerror', None) or error}") from error

    def write(self, segments: Segments, last_duration: int, target: Path) -> list[str]:
        """Write the segments as one stream, and all else that is in the source as it is.

        Args:
            segments: in order.
            last_duration: of the last frame, in the source's time base; 0 where that isn't known.
            target: written under this name directly.

        Returns:
            What the format couldn't hold.
        """
        try:
            notes = self._write(segments, last_duration, target)
        except (ValueError, av.error.FFmpegError) as error:
            if isinstance(error, OSError):
                raise
            with opened(self.source.path) as given:
                self.left_out = {stream.index for stream in given.streams}
            notes = self._write(segments, last_duration, target)
            notes.append(f"nothing but the video could be joined: {error}".splitlines()[0])
        return [*notes, *self.notes]

    def _write(
        self, segments: Segments, last_duration: int, target: Path | BinaryIO | _Nowhere, few: bool = False
    ) -> list[str]:
        notes: list[str] = []
        with ExitStack() as stack:
            given: Any = stack.enter_context(opened(self.source.path))
            name = os.path.abspath(target) if isinstance(target, Path) else target
            options = copies.muxer_options(given, self.format)
            out: Any = stack.enter_context(av.open(name, "w", format=self.format, container_options=options))
            video = self._restored_stream(out, given, segments[0][0])
            copied: dict[int, Any] = {}
            for stream in copies.copied_streams(self.source, given, self.format, notes):
                if stream.index in self.left_out:
                    notes.append(copies.not_copied(stream, self.format))
                    continue
                if copies.is_attached(stream, self.format):
                    out.add_attachment(*copies.attachment(self.source.path, stream))
                    continue
                copied[stream.index] = copy = out.add_stream_from_template(stream)
                copy.metadata.update(copies.tags(stream, self.format))
                copy.disposition = stream.disposition
            out.metadata.update(copies.file_tags(given))
            if chapters := copies.shifted_chapters(given):
                out.set_chapters(chapters)
            packets = [_restored_packets(segments, last_duration, self.source.time_base, video)]
            if copied:
                others: Iterable[Any] = copies.copied_packets(given, set(copied), self.format)
                packets.append(_into(_first(others, copied) if few else others, copied))
            for packet in heapq.merge(*packets, key=lambda packet: packet.dts * Fraction(packet.time_base)):
                out.mux(packet)
        return notes

    def _restored_stream(self, out: Any, given: Any, segment: Path | BinaryIO) -> Any:
        if not isinstance(segment, Path):
            segment.seek(0)
        own = given.streams[self.source.stream.index]
        with av.open(os.path.abspath(segment) if isinstance(segment, Path) else segment) as first:
            encoded = first.streams.video[0]
            video = out.add_stream_from_template(with_side_data(encoded, self.side_data))
            video.codec_context.extradata = encoded.codec_context.extradata  # MP4 has it in another form
        if not isinstance(segment, Path):
            segment.seek(0)
        video.time_base = self.source.time_base
        video.codec_context.framerate = self.source.rate
        self.look.tag(video.codec_context)
        video.disposition = own.disposition
        video.metadata.update(copies.tags(own, self.format))
        if (code := copies.timecode(given)) is not None:
            video.metadata["timecode"] = code
        if "yuva" in self.look.pixel_format:
            video.metadata["alpha_mode"] = "1"
        else:
            for key in [key for key in video.metadata if key.lower() == "alpha_mode"]:
                del video.metadata[key]
        if self.look.display is not None and self.format != "mpegts":
            video.set_display_matrix(self.look.display)
        return video


def _restored_packets(segments: Segments, last_duration: int, time_base: Fraction, video: Any) -> Iterator[Any]:
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


def _first(packets: Iterable[Any], streams: dict[int, Any]) -> Iterator[Any]:
    """The first packet of each stream; reading ends when all have had one, or none is left."""
    seen: set[int] = set()
    for packet in packets:
        if packet.stream.index not in seen:
            seen.add(packet.stream.index)
            yield packet
            if len(seen) == len(streams):
                return


def _into(packets: Iterable[Any], streams: dict[int, Any]) -> Iterator[Any]:
    for packet in packets:
        packet.stream = streams[packet.stream.index]
        yield packet
