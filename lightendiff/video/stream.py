"""Frames as they come, from a camera for example: restored one by one, without flicker and without delay."""

from __future__ import annotations

import time as clock
import warnings
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from ..pipeline import LightenPipeline
from ..runtime.conversion import swapped
from .deflicker import SMOOTHING, Deflicker

FrameT = TypeVar("FrameT")


class Stream:
    """Restores successive frames, as `restore_video` does those of a file.

    What comes out is the frame that went in: none waits for a later one. Brightness and colour of what is added follow
    those of the frames before, over `smoothing` seconds, and start anew at scene cuts. The size may change.

    Args:
        pipe: the pipeline.
        smoothing: in seconds; 0 for every frame on its own. Not for the published architecture, which has no exposure
            control: it gets a RuntimeWarning.
        bgr: the frames are arrays with blue first, (h, w, 3) or (h, w, 4), as OpenCV's are, or grey. Else red comes
            first, as everywhere.
        options: of `LightenPipeline.bind`: `strength`, `exposure`, `num_inference_steps`, `tile`, `progress`, …

    Raises:
        TypeError, ValueError: as `LightenPipeline.bind`; or `smoothing` is below 0.

    Example:
        >>> stream = Stream(LightenPipeline.from_pretrained())
        >>> frame = np.full((48, 64, 3), 12, np.uint8)
        >>> stream.feed(frame).shape
        (48, 64, 3)
    """

    def __init__(
        self, pipe: LightenPipeline, *, smoothing: float = SMOOTHING, bgr: bool = False, **options: Any
    ) -> None:
        if not smoothing >= 0:
            raise ValueError(f"smoothing: expected seconds from 0 up, got {smoothing}")
        if smoothing and not pipe.restorer.model.exposure_control:
            warnings.warn("brightness isn't smoothed: this architecture has no exposure control", RuntimeWarning, 2)
            smoothing = 0.0
        self._restore, self._smoothing, self._bgr = pipe.bind(**options), smoothing, bgr
        self.reset()

    def feed(self, frame: FrameT, time: float | None = None) -> FrameT:
        """The frame restored, of the same type, size and dtype, as the pipeline's call does it.

        Args:
            frame: one picture of any type that the pipeline takes, or with `bgr` an array. No list, no batch.
            time: when it was taken, in seconds from any moment on, not falling; None for now.

        Raises:
            TypeError, ValueError, RuntimeError: as the pipeline's call. The stream goes on with the next frame.
        """
        self._check(frame)
        now = clock.monotonic() if time is None else float(time)
        adjust = None if self._steady is None else self._steady.at(now)
        if not self._bgr:
            return self._restore(frame, adjust=adjust)
        return swapped(self._restore(swapped(frame), adjust=adjust))  # type: ignore[arg-type, return-value]

    @property
    def cuts(self) -> int:
        """Scene cuts up to now, at which the smoothing began anew; 0 without smoothing."""
        return 0 if self._steady is None else self._steady.cuts

    def reset(self) -> None:
        """Forget the frames before, as at the beginning of another video."""
        model = self._restore.pipe.restorer.model
        self._steady = Deflicker(model, self._smoothing) if self._smoothing else None

    def _check(self, frame: object) -> None:
        if isinstance(frame, (list, tuple)):
            raise TypeError(f"frame: expected one picture, got a {type(frame).__name__}; feed one after another")
        if isinstance(frame, Tensor) and frame.ndim == 4 and len(frame) != 1:
            raise ValueError(f"frame: expected one picture, got a batch {tuple(frame.shape)}; feed one after another")
        if not self._bgr:
            return
        if not isinstance(frame, np.ndarray):
            kind = "None, which VideoCapture.read returns at the end" if frame is None else type(frame).__name__
            raise TypeError(f"frame: expected a NumPy array with blue first, got {kind}")
        if frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] not in (3, 4)):
            raise ValueError(f"frame: expected (h, w), (h, w, 3) or (h, w, 4), got {frame.shape}")
