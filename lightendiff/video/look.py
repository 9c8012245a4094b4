"""How the frames of a video are stored, and turning them into pixels and back into what is encoded."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from av.codec.codec import find_best_pix_fmt_of_list

from .frames import av
from .side_data import side_data

PIXEL_FORMATS = {  # for each encoder, those of them that players know
    "libx264": ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le"),
    "libvpx-vp9": ("yuv420p", "yuv422p", "yuv444p"),
}
_ALPHA = {"libvpx-vp9": "yuva420p"}  # for each encoder, the one with alpha
_LIMITED, _FULL = 1, 2  # FFmpeg's numbers of colour ranges, and below of matrices: the stream's -> the converter's
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_HD_MATRIX, _SD_MATRIX, _HD_HEIGHT = 1, 5, 720  # BT.709 and BT.601: what players take where nothing is said
_SCALING = 0x4 | 0x2000 | 0x4000 | 0x40000  # swscale: bicubic chroma at full resolution, rounded accurately


@dataclass(frozen=True)
class Look:
    """How a stream's frames are stored: what has to be the same in the restored ones.

    Attributes:
        size: width and height.
        pixel_format: in which they are encoded.
        deep: whether they have more than 8 bits.
        alpha: whether they may be transparent.
        matrix, range: with which YUV is converted; the stream's own, or else what players would take.
        tags: the stream's own: colour range, primaries, curve and matrix, each of which may say "unspecified".
        aspect: of a pixel.
        display: the 9 numbers of the matrix that turns the picture upright, or None.
        notes: what can't be kept.
    """

    size: tuple[int, int]
    pixel_format: str
    deep: bool
    alpha: bool
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
        alpha = own.has_palette or any(component.is_alpha for component in own.components)
        deep = max(component.bits for component in own.components) > 8
        stored = _stored(own, (width, height), deep, alpha, encoder)
        matrix = _matrix(frame)
        display = side_data(frame).get("DISPLAYMATRIX")
        return cls(
            size=(width, height),
            pixel_format=stored,
            deep=deep,
            alpha=alpha,
            matrix=matrix,
            range=_LIMITED if _is_rgb(own) else _range(frame),
            tags=(
                _LIMITED if _is_rgb(own) else frame.color_range,
                frame.color_primaries,
                frame.color_trc,
                matrix if _is_rgb(own) else frame.colorspace,
            ),
            aspect=Fraction(stream.sample_aspect_ratio) if stream.sample_aspect_ratio else None,
            display=None if display is None else tuple(np.frombuffer(display, np.int32).tolist()),
            notes=_notes(stored, (width, height), encoder, deep),
        )

    def canvas(self, frame: Any) -> Any:
        """A frame as one of R, G, B (and alpha, where it may be transparent), 8 or 16 bits, in the first one's size.

        It has the frame's time stamp and side data, which encoders pass on, and memory of its own.
        """
        kind = ("rgba64le" if self.alpha else "rgb48le") if self.deep else ("rgba" if self.alpha else "rgb24")
        own = {}
        if not _is_rgb(frame.format):
            own = {"src_colorspace": _matrix(frame), "src_color_range": _range(frame)}
        canvas = frame.reformat(*self.size, kind, interpolation=_SCALING, **own)
        if canvas is frame:  # decoders need what they have given out for the next frame
            canvas = frame.reformat(format="gbrap16le").reformat(format=kind)
        return canvas

    def encodable(self, canvas: Any, pixels: np.ndarray, pts: int, time_base: Fraction) -> Any:
        """The frame that is made of a canvas when its colours are replaced by pixels (h, w, 3) of its depth."""
        _rows(canvas)[..., :3] = pixels
        frame = canvas.reformat(
            format=self.pixel_format,
            dst_colorspace=self.matrix,
            dst_color_range=self.range,
            interpolation=_SCALING,
        )
        frame.color_range, frame.color_primaries, frame.color_trc, frame.colorspace = self.tags
        frame.pts, frame.time_base = pts, time_base
        frame.pict_type = 0  # the encoder decides where the key frames are
        return frame

    def tag(self, context: Any) -> None:
        """Set the colour tags of an encoder, or of a stream that is copied from one."""
        context.color_range, context.color_primaries, context.color_trc, context.colorspace = self.tags
        if self.aspect is not None:
            context.sample_aspect_ratio = self.aspect


def pixels_of(canvas: Any) -> np.ndarray:
    """The colours of a canvas: (h, w, 3), uint8 or uint16, a copy."""
    return np.ascontiguousarray(_rows(canvas)[..., :3])


def is_transparent(canvas: Any) -> bool:
    """Whether a canvas with alpha has pixels that aren't opaque."""
    alpha = _rows(canvas)[..., 3]
    return bool((alpha < np.iinfo(alpha.dtype).max).any())


def _rows(canvas: Any) -> np.ndarray:
    """The memory of a canvas: (h, w, 3 or 4)."""
    plane, channels = canvas.planes[0], len(canvas.format.components)
    dtype = np.dtype(np.uint16 if canvas.format.components[0].bits > 8 else np.uint8)
    rows = np.frombuffer(plane, dtype).reshape(canvas.height, plane.line_size // dtype.itemsize)
    return rows[:, : canvas.width * channels].reshape(canvas.height, canvas.width, channels)


def _is_rgb(own: Any) -> bool:
    return bool(own.is_rgb or own.has_palette)


def _matrix(frame: Any) -> int:
    return _MATRICES.get(frame.colorspace, _HD_MATRIX if frame.height >= _HD_HEIGHT else _SD_MATRIX)


def _range(frame: Any) -> int:
    full = frame.format.name.startswith(("gray", "yuvj", "mono"))
    return frame.color_range or (_FULL if full else _LIMITED)


def _stored(own: Any, size: tuple[int, int], deep: bool, alpha: bool, encoder: str) -> str:
    """The pixel format to encode in: as the source's, but 4:2:0 where that isn't YUV, since players want it."""
    if alpha and encoder in _ALPHA:
        return _ALPHA[encoder]
    odd = bool(size[0] % 2 or size[1] % 2) and encoder != "libvpx-vp9"
    known = [name for name in PIXEL_FORMATS[encoder] if not odd or "444" in name] or list(PIXEL_FORMATS[encoder])
    if _is_rgb(own):
        known = [name for name in known if odd or "420" in name]
        return next((name for name in known if deep == ("10" in name)), known[0])
    best, _ = find_best_pix_fmt_of_list(known, own.name)
    return best.name if best else known[0]


def _notes(stored: str, size: tuple[int, int], encoder: str, deep: bool) -> tuple[str, ...]:
    if deep and "10" not in stored:
        return ("stored in 8 bits, of more in the source",)
    if encoder != "libx264" or stored == "yuv420p":
        return ()
    sampling, bits = ":".join(stored[3:6]), ", 10 bits" if "10" in stored else ""
    odd = f", because {size[0]}×{size[1]} is odd" if size[0] % 2 or size[1] % 2 else ""
    return (f"stored in {sampling}{bits}{odd}: not every player shows that",)


__all__ = ["PIXEL_FORMATS", "Look", "av", "is_transparent", "pixels_of"]
