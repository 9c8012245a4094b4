"""Frames of video files through PyAV (FFmpeg's libraries), in the order and at the times in which they are shown.

A frame's time stamp is an integer of its stream's time base from its file to the new one.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..images import shown
from ..limits import MAX_FRAME, TooLarge, check_pixels
from .index import check_index

try:
    import av as av
    import av.error
except ImportError as missing:
    raise ImportError("videos need PyAV: pip install 'lightendiff[video]' (Python 3.11 or newer)") from missing

from .clock import PATIENCE, Clock, packets

_COVER = 1 << 10  # FFmpeg's AV_DISPOSITION_ATTACHED_PIC
_DECLARING = ("matroska,webm", "flv", "asf")  # formats whose header says how long they are
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own leave alpha out


@contextmanager
def in_one_line(path: Path) -> Iterator[None]:
    """FFmpeg's errors as OSError or ValueError, in a line that names the file."""
    try:
        yield
    except av.error.FFmpegError as error:
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(f"{shown(path)}: {error.strerror or error}") from error


def is_cover(stream: Any) -> bool:
    """Whether a video stream is the picture on the cover of a file."""
    return bool(stream.disposition & _COVER)


def opened(path: Path) -> Any:
    """A video file, opened for reading.

    Raises:
        OSError: it can't be read.
        ValueError: FFmpeg doesn't know it, or it was cut off before its index was written.
    """
    try:
        with in_one_line(path):  # absolute, because what is before a colon in a relative name is taken for a protocol
            return av.open(os.path.abspath(path), metadata_errors="replace", timeout=PATIENCE)
    except ValueError as error:
        if _lacks_index(path):
            raise ValueError(f"{error}: its index (moov) is missing, as where a recording broke off") from error
        raise


def _lacks_index(path: Path) -> bool:
    """Whether an MP4 or MOV has no index, without which nothing in it can be found."""
    with open(path, "rb") as file:
        size, at, kinds = os.path.getsize(path), 0, []
        while at + 8 <= size:
            file.seek(at)
            header = file.read(16)
            kinds.append(header[4:8])
            length = int.from_bytes(header[:4], "big")
            length = int.from_bytes(header[8:], "big") if length == 1 else length
            if length < 8 or kinds[0] != b"ftyp":
                break
            at += length
    return kinds[:1] == [b"ftyp"] and b"moov" not in kinds


class Source:
    """A video file that is read; to be closed.

    Attributes:
        stream: the video stream that is restored.
        rate, time_base: its mean frame rate, and the unit of its time stamps in seconds.
        total: how many frames it has by what the file says; None where that isn't known.
        notes: what reading had to pass over.

    Args:
        max_pixels: of a frame.

    Raises:
        OSError: the file is missing or can't be read.
        ValueError: it is no video, or claims more than it can hold, or has larger frames.
    """

    def __init__(self, path: Path, max_pixels: int = MAX_FRAME) -> None:
        if os.path.isdir(path):
            raise IsADirectoryError(f"{shown(path)}: expected a video, got a folder")
        if not os.path.exists(path):
            raise FileNotFoundError(f"{shown(path)}: No such file or directory")
        if not os.path.isfile(path):  # a pipe would be waited for, and is read more than once
            raise ValueError(f"{shown(path)}: expected a file, got a pipe or device")
        self.path = path
        try:
            check_index(path)
        except TooLarge as error:
            raise ValueError(f"{shown(path)}: {error}") from error
        self.container = opened(path)
        try:
            self.stream = self._main_stream()
            self._limit(max_pixels)
        except BaseException:
            self.close()
            raise
        self.stream.thread_type = "AUTO"
        self.time_base = Fraction(self.stream.time_base)
        self.rate = Fraction(self.stream.average_rate or self.stream.guessed_rate or 25)
        self.notes: list[str] = []
        self._packets = sum(not entry.is_discard for entry in self.stream.index_entries)
        self.total = (self._packets if self._indexed else 0) or self.stream.frames or self._estimate()
        self._decoder = self._alpha_decoder()

    def _limit(self, max_pixels: int) -> None:
        """See that frames have no more pixels, by what the file says; FFmpeg sees to it that none has later."""
        context = self.stream.codec_context
        try:
            check_pixels(context.width, context.height, max_pixels)
        except TooLarge as error:
            raise ValueError(f"{shown(self.path)}: {error}") from error
        context.options = {**context.options, "max_pixels": str(max_pixels)}

    def _main_stream(self) -> Any:
        """FFmpeg's choice, but never a cover picture."""
        films = [s for s in self.container.streams.video if not is_cover(s)]
        if not films or films[0].codec_context is None:
            raise ValueError(f"{shown(self.path)}: expected a video, got a file without one that can be decoded")
        best = self.container.streams.best("video")
        return next((s for s in films if best is not None and s.index == best.index), films[0])

    @property
    def _indexed(self) -> bool:
        indexed: bool = self.container.format.name.startswith("mov,")
        return indexed

    @property
    def _step(self) -> int:
        """From one frame to the next where their rate is constant."""
        return max(1, round(1 / (self.rate * self.time_base)))

    def _estimate(self) -> int | None:
        seconds = self.container.duration and self.container.duration / av.time_base
        return max(1, round(seconds * self.rate)) if seconds else None

    def _alpha_decoder(self) -> Any:
        """The decoder that the stream needs for its alpha; None for FFmpeg's choice."""
        codec = self.stream.codec_context.name
        tags = {key.lower(): value for key, value in self.stream.metadata.items()}
        if tags.get("alpha_mode") != "1" or codec not in _ALPHA_DECODERS:
            return None
        decoder: Any = av.CodecContext.create(_ALPHA_DECODERS[codec], "r")
        decoder.extradata = self.stream.codec_context.extradata
        return decoder

    def frames(self) -> Iterator[Any]:
        """The frames in order; their time stamps count from the file's start and increase, and what is damaged is left
        out."""
        last, moved = None, 0
        for frame in self._decoded():
            pts = frame.pts
            if last is None:
                pts = 0 if pts is None else pts
            elif pts is None or pts <= last:
                pts, moved = last + self._step, moved + 1
            frame.pts, frame.time_base, last = pts, self.time_base, pts
            yield frame
        if last is None:
            raise ValueError(f"{shown(self.path)}: expected a video, got one of which no frame can be decoded")
        if moved:
            self.notes.append(f"{moved} frames had no time stamp, or one that didn't increase: set by the frame rate")

    def _decoded(self) -> Iterator[Any]:
        """The frames as they are decoded. What was cut away by an edit list isn't among them."""
        damaged: list[str] = []
        clock = Clock(self.container)
        # Where a file has no presentation times (AVI has none), frames take those of decoding, in their order.
        in_order = self.container.format.name == "avi"
        waiting: deque[int] = deque()
        read, end, count, lasting = 0, Fraction(0), 0, False
        reader = packets(self.container, clock, damaged)
        while True:
            with in_one_line(self.path):
                packet = next(reader, None)
            if packet is None:
                break
            stamp = packet.dts if packet.pts is None else packet.pts
            if packet.size and stamp is not None:
                end = max(end, (stamp + (packet.duration or 0)) * Fraction(packet.time_base))
            if packet.stream.index != self.stream.index or not (packet.size or packet.dts is None):
                continue
            read += bool(packet.size) and not packet.is_discard
            lasting = lasting or bool(packet.duration)
            ordered = packet.size and (in_order or packet.pts is None)
            if ordered and packet.dts is not None:
                waiting.append(packet.dts)
            try:
                with in_one_line(self.path):
                    decoded = self._decode(packet)
            except ValueError as error:
                damaged.append(str(error))
                if ordered and waiting:
                    waiting.pop()
                continue
            for frame in decoded:
                if in_order or frame.pts is None:
                    frame.pts = waiting.popleft() if waiting else None
                if not lasting:  # then what decoders say is a guess
                    frame.duration = self._step
                count += 1
                yield frame
        if damaged:
            self.notes.append(f"{len(damaged)} damaged packets were left out")
        if clock.gave_up:
            self.notes.append(f"the file wasn't read to its end: nothing more was found in {PATIENCE} seconds")
        if clock.jumps:
            self.notes.append("the file's clock jumps: the parts were put together without a gap")
        self._check_end(read, clock.start, end, count)

    def _decode(self, packet: Any) -> list[Any]:
        if self._decoder is None:
            frames: list[Any] = packet.decode()
            return frames
        frames = self._decoder.decode(packet if packet.size else None)
        return frames

    def _check_end(self, read: int, start: Fraction, end: Fraction, count: int) -> None:
        """Note a file that ends before it should by what it says: a download or a recording that broke off."""
        if self._indexed:
            if read < self._packets:
                self.notes.append(f"the file ends early: {count} of {self._packets} frames could be read")
            return
        declared = Fraction(0)
        if self.container.format.name == "avi":
            declared = self.stream.frames * self.time_base
        elif self.container.format.name in _DECLARING:
            declared = Fraction(self.container.duration or 0, av.time_base)
        if declared - end - start > max(Fraction(1, 2), 3 / self.rate):
            self.notes.append(
                f"the file ends early: {float(end):.1f} of {float(declared):.1f} s ({count} frames) could be read"
            )

    def close(self) -> None:
        self.container.close()
