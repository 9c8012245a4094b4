"""What an unfinished video is kept in: segments of restored frames in a folder, and where to go on."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..images import shown
from .mux import SegmentWriter, stamps

SEGMENT = 120  # frames; a run that is killed outright loses at most so many


class Parts:
    """Segments of restored frames in a folder, and what it takes to go on after the last of them.

    Attributes:
        folder: made when there is something to write.
        segments: file and first time stamp of each that is finished.
        frames: how many are in them.
        steady: `Deflicker.state` after the last of them.
        writer: of the segment that isn't finished, if there is one.
        notes: to tell the user.

    Raises:
        ValueError: there is something to resume, but it comes from another job.
    """

    def __init__(self, folder: Path, job: dict[str, Any], resume: bool) -> None:
        self.folder, self.job = folder, job
        self.segments: list[tuple[Path, int]] = []
        self.frames = 0
        self.steady: dict[str, np.ndarray] = {}
        self.writer: SegmentWriter | None = None
        self.notes: list[str] = []
        self._written: dict[str, np.ndarray] = {}  # the steadying's state after the last frame that was written
        if resume and self._state.exists():
            self._load()

    @property
    def _state(self) -> Path:
        return self.folder / "state.npz"

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06}.nut"

    def _load(self) -> None:
        try:
            with np.load(self._state) as stored:
                arrays = dict(stored)
            job, starts, frames = json.loads(str(arrays.pop("job"))), arrays.pop("starts"), int(arrays.pop("frames"))
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"{shown(self._state)}: cannot go on from it, start without resuming ({error})") from error
        if other := [name for name in self.job if job.get(name) != self.job[name]]:
            names = ", ".join(other)
            raise ValueError(f"{shown(self.folder)}: of another run ({names}); start without resuming to replace it")
        self.segments = [(self._path(i), int(start)) for i, start in enumerate(starts)]
        self.frames, self.steady = frames, arrays

    def begin(self, writer: Callable[[Path], SegmentWriter]) -> None:
        """Start the next segment."""
        if not self.segments:
            self.clear()
            self.folder.mkdir(parents=True, exist_ok=True)
        self.writer = writer(self._path(len(self.segments)))

    def add(self, canvas: Any, pixels: np.ndarray, pts: int, steady: dict[str, np.ndarray]) -> None:
        """Add a frame, as `SegmentWriter.write` does, to the segment, which is finished when it is long enough."""
        assert self.writer is not None
        self.writer.write(canvas, pixels, pts)
        self._written = steady
        if len(self.writer.stamps) == SEGMENT:
            self.finish()

    def finish(self) -> None:
        """Finish the segment that is being written, if there is one."""
        if self.writer is None:
            return
        writer, path = self.writer, self._path(len(self.segments))
        writer.close()
        start = writer.stamps[0] if writer.stamps else 0
        # An interrupt may have come between two steps of writing a frame: what counts is what is in the file.
        if not writer.stamps or [pts for pts, _ in stamps(path, start, writer.time_base)] != writer.stamps:
            raise RuntimeError(f"{shown(path)}: expected the {len(writer.stamps)} frames that were encoded, got others")
        segments, frames = [*self.segments, (path, start)], self.frames + len(writer.stamps)
        new = self._state.with_name("new.npz")
        starts = np.array([start for _, start in segments], np.int64)
        arrays = self._written | {"job": np.array(json.dumps(self.job)), "starts": starts, "frames": np.array(frames)}
        np.savez(new, **arrays)  # type: ignore[arg-type]  # taken for its option
        os.replace(new, self._state)
        self.segments, self.frames, self.steady, self.writer = segments, frames, self._written, None

    def rescue(self) -> None:
        """After an interrupt or an error: finish the segment if that is possible."""

        def finish() -> None:
            with suppress(Exception):
                self.finish()

        thread = threading.Thread(target=finish)  # which a second interrupt doesn't stop
        thread.start()
        thread.join()

    def clear(self) -> None:
        """Remove the folder and what was written to it, and nothing else."""
        for pattern in ("*.nut", "state.npz", "new.npz", "whole.*"):
            for path in self.folder.glob(pattern):
                path.unlink()
        with suppress(OSError):
            self.folder.rmdir()
