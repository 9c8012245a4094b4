"""Frames of video files through PyAV (FFmpeg's libraries), and what has to be the same of them in the restored video.

A frame's time stamp is an integer of its stream's time base from its file to the new one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..images import shown

try:
    import av
    import av.error
    from av.codec.codec import find_best_pix_fmt_of_list
except ImportError as missing:
    raise ImportError("videos need PyAV: pip install 'lightendiff[video]' (Python 3.11 or newer)") from missing

PIXEL_FORMATS = {  # for each encoder, those of them that players know
    "libx264": ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le"),
    "libvpx-vp9": ("yuv420p", "yuv422p", "yuv444p"),
}
_LIMITED, _FULL = 1, 2  # FFmpeg's numbers of colour ranges, and below of matrices: the stream's -> the converter's
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_HD_MATRIX, _SD_MATRIX, _HD_HEIGHT = 1, 5, 720  # BT.709 and BT.601: what players take where nothing is said
_COVER = 1 << 10  # FFmpeg's AV_DISPOSITION_ATTACHED_PIC
_HDR_CURVES = {16: "PQ", 18: "HLG"}
_SCALING = 0x4 | 0x2000 | 0x4000 | 0x40000  # swscale: bicubic chroma at full resolution, rounded accurately


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


class Source:
    """A video file that is read; to be closed.

    Attributes:
        stream: the video stream that is restored.
        rate, time_base: its mean frame rate, and the unit of its time stamps in seconds.
        total: how many frames it has by what the file says; None where that isn't known.
        notes: what reading had to pass over.

    Raises:
        OSError: the file is missing or can't be read.
        ValueError: it is no video.
    """

    def __init__(self, path: Path) -> None:
        if os.path.isdir(path):
            raise IsADirectoryError(f"{shown(path)}: expected a video, got a folder")
        if not os.path.exists(path):
            raise FileNotFoundError(f"{shown(path)}: No such file or directory")
        self.path = path
        with in_one_line(path):  # absolute, because what is before a colon in a relative name is taken for a protocol
            self.container = av.open(os.path.abspath(path), metadata_errors="replace")
        try:
            self.stream = self._main_stream()
        except BaseException:
            self.close()
            raise
        self.stream.thread_type = "AUTO"
        self.time_base = Fraction(self.stream.time_base)
        self.rate = Fraction(self.stream.average_rate or self.stream.guessed_rate or 25)
        self.total = self.stream.frames or self._estimate()
        self.notes: list[str] = []

    def _main_stream(self) -> Any:
        """FFmpeg's choice, but never a cover picture."""
        films = [s for s in self.container.streams.video if not is_cover(s)]
        if not films or films[0].codec_context is None:
            raise ValueError(f"{shown(self.path)}: expected a video, got a file without one that can be decoded")
        best = self.container.streams.best("video")
        return next((s for s in films if best is not None and s.index == best.index), films[0])

    def _estimate(self) -> int | None:
        seconds = self.container.duration and self.container.duration / av.time_base
        return max(1, round(seconds * self.rate)) if seconds else None

    def frames(self) -> Iterator[Any]:
        """The frames in order; their time stamps increase, and what is damaged is left out."""
        step, last, moved, damaged = max(1, round(1 / (self.rate * self.time_base))), None, 0, 0
        packets = self.container.demux(self.stream)
        while True:
            with in_one_line(self.path):
                try:
                    packet = next(packets, None)
                    decoded = [] if packet is None else packet.decode()
                except av.error.InvalidDataError:
                    decoded, damaged = [], damaged + 1
                    continue
            for frame in decoded:
                pts = frame.dts if frame.pts is None else frame.pts
                if last is None:
                    pts = 0 if pts is None else pts
                elif pts is None or pts <= last:
                    pts, moved = last + step, moved + 1
                frame.pts = last = pts
                yield frame
            if packet is None:
                break
        if last is None:
            raise ValueError(f"{shown(self.path)}: expected a video, got one of which no frame can be decoded")
        if damaged:
            self.notes.append(f"{damaged} damaged packets were left out")
        if moved:
            self.notes.append(f"{moved} frames had no time stamp, or one that didn't increase: set by the frame rate")

    def close(self) -> None:
        self.container.close()


@dataclass(frozen=True)
class Look:
    """How a stream's frames are stored: what has to be the same in the restored ones.

    Attributes:
        size: width and height.
        pixel_format: in which they are encoded.
        deep: whether they have more than 8 bits.
        matrix, range: with which YUV is converted; the stream's own, or else what players would take.
        tags: the stream's own: colour range, primaries, curve and matrix, each of which may say "unspecified".
        aspect: of a pixel.
        display: the 9 numbers of the matrix that turns the picture upright, or None.
        notes: what can't be kept.
    """

    size: tuple[int, int]
    pixel_format: str
    deep: bool
    matrix: int
    range: int
    tags: tuple[int, int, int, int]
    aspect: Fraction | None
    display: tuple[int, ...] | None
    notes: tuple[str, ...]

    @classmethod
    def of(cls, frame: Any, stream: Any, encoder: str) -> Look:
        """The look of a stream whose first frame this is."""
        width, height, own = frame.width, frame.height, frame.format
        candidates = [name for name in PIXEL_FORMATS[encoder] if not (width % 2 or height % 2) or "444" in name]
        best, _ = find_best_pix_fmt_of_list(candidates, own.name)
        guess = _HD_MATRIX if height >= _HD_HEIGHT else _SD_MATRIX
        matrix = _MATRICES.get(frame.colorspace, guess)
        full = own.is_rgb or own.name.startswith(("gray", "yuvj"))
        side_data = frame.side_data.get("DISPLAYMATRIX")
        notes = []
        if any(component.is_alpha for component in own.components):
            notes.append("transparency isn't kept")
        if curve := _HDR_CURVES.get(frame.color_trc):
            notes.append(f"HDR ({curve}) was restored as if it were standard video")
        if frame.interlaced_frame:
            notes.append("interlaced frames were restored whole and stored as progressive ones")
        return cls(
            size=(width, height),
            pixel_format=best.name if best else candidates[0],
            deep=max(component.bits for component in own.components) > 8,
            matrix=matrix,
            range=_LIMITED if own.is_rgb else frame.color_range or (_FULL if full else _LIMITED),
            tags=(
                frame.color_range,
                frame.color_primaries,
                frame.color_trc,
                matrix if own.is_rgb else frame.colorspace,
            ),
            aspect=Fraction(stream.sample_aspect_ratio) if stream.sample_aspect_ratio else None,
            display=None if side_data is None else tuple(np.frombuffer(side_data, np.int32).tolist()),
            notes=tuple(notes),
        )

    def decoded(self, frame: Any) -> np.ndarray:
        """A frame as (h, w, 3) R, G, B, uint8 or, where it is deep, uint16."""
        width, height = self.size
        rgb = "rgb48le" if self.deep else "rgb24"
        own = {} if frame.format.is_rgb else {"src_colorspace": self.matrix, "src_color_range": self.range}
        return frame.reformat(width, height, rgb, interpolation=_SCALING, **own).to_ndarray()

    def encodable(self, pixels: np.ndarray, pts: int, time_base: Fraction) -> Any:
        """The frame that is made of such an array."""
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le" if self.deep else "rgb24")
        frame = frame.reformat(
            format=self.pixel_format,
            dst_colorspace=self.matrix,
            dst_color_range=self.range,
            interpolation=_SCALING,
        )
        frame.color_range, frame.color_primaries, frame.color_trc, frame.colorspace = self.tags
        frame.pts, frame.time_base = pts, time_base
        return frame

    def tag(self, context: Any) -> None:
        """Set the colour tags of an encoder, or of a stream that is copied from one."""
        context.color_range, context.color_primaries, context.color_trc, context.colorspace = self.tags
        if self.aspect is not None:
            context.sample_aspect_ratio = self.aspect
