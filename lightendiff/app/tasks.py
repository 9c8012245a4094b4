"""What a job does for a tab: it restores a photo, several or a video, and reports how far it is and what came of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..images import ImageError, Picture
from .jobs import Limits, check_kind, exposures, look, new_folder, restore_batch, restore_photo
from .work import Job, Stopped, duration

if TYPE_CHECKING:
    from ..batch.run import Restore
    from ..pipeline import BoundPipeline, LightenPipeline

EXPOSURES = (-1.0, -0.5, 0.0, 0.5, 1.0)  # stops, to choose from
PLAYABLE = (".mp4", ".m4v", ".mov", ".webm")  # by browsers
_SOON = 2.0  # seconds that nobody wants to be told of

Settings = tuple[float, float, float]  # strength, exposure, steps


@dataclass(frozen=True)
class Seen:
    """A photo is read: a preview of it."""

    before: Path


@dataclass(frozen=True)
class Choices:
    """The photo, small, at each of `EXPOSURES`."""

    files: list[Path]


@dataclass(frozen=True)
class Progress:
    """How much is done, from 0 to 1, of what, and how many seconds it will still take, where that is known."""

    share: float
    what: str
    seconds: float | None = None

    def __str__(self) -> str:
        if self.seconds is None or self.seconds < _SOON:
            return self.what
        return f"{self.what}, about {duration(self.seconds)} left"


class Clock:
    """Tells a job's page how far it is."""

    def __init__(self, job: Job) -> None:
        self._job, self._start = job, time.monotonic()

    def tell(self, share: float, what: str) -> None:
        """What is going on, and that a share of it is done."""
        passed = time.monotonic() - self._start
        left = passed * (1 - share) / share if passed > 0.5 and share > 0 else None
        self._job.progress(Progress(share, what, left))


@dataclass
class Photo:
    """Restore a photo. Reports Seen and Choices where it is new, Progress, and a Comparison in the end."""

    pipe: LightenPipeline
    limits: Limits
    source: Path
    cache: Path
    settings: Settings
    new: bool = False

    def __call__(self, job: Job) -> None:
        with new_folder(self.cache) as folder:
            if self.new:
                job.report(Seen(look(self.source, folder, self.limits)))
            with job.turn():
                clock = Clock(job)
                clock.tell(0, "Restoring")

                def restore(dark: np.ndarray) -> np.ndarray:
                    bound = _bound(self.pipe, self.settings)
                    return bound(dark, progress=lambda share: clock.tell(share, f"Restoring, {share:.0%}"))

                def seen(before: Path, dark: Picture) -> None:
                    if self.new and self.pipe.restorer.model.exposure_control:
                        job.report(Choices(exposures(dark, folder, self._at, EXPOSURES)))

                result = restore_photo(self.source, folder, restore, self.limits, seen=seen)
            job.report(result)

    def _at(self, stops: float) -> Restore:
        return _bound(self.pipe, (1.0, stops, self.settings[2]))


@dataclass
class Batch:
    """Restore photos into a zip file. Reports Progress, (source, Comparison) of each, and the zip file in the end.

    Attributes:
        problems: a line for each photo that wasn't restored.
        summary: what was done.
    """

    pipe: LightenPipeline
    limits: Limits
    sources: Sequence[Path]
    cache: Path
    settings: Settings
    problems: list[str] = field(default_factory=list)
    summary: str = ""

    def __call__(self, job: Job) -> None:
        total, tried = len(self.sources), 0
        with new_folder(self.cache) as folder:
            clock, bound, archive = Clock(job), _bound(self.pipe, self.settings), folder / "restored.zip"

            def tell(share: float) -> None:
                clock.tell((tried + share) / total, f"{tried} of {total}")

            results = restore_batch(self.sources, archive, lambda dark: bound(dark, progress=tell), self.limits)
            why = ""
            try:
                for source in self.sources:
                    with job.turn():
                        tell(0)
                        result = next(results)
                    if isinstance(result, str):
                        self.problems.append(result)
                    else:
                        job.report((source, result))
                    tried += 1
            except Stopped as stop:
                if job.replaced or tried == len(self.problems):
                    raise
                why = f"{stop} "
            results.close()  # and the zip file with it
            if tried == len(self.problems):
                raise ImageError("\n".join(self.problems))
            self.summary = f"{why}{tried - len(self.problems)} of {total} restored."
            job.report(archive)


@dataclass
class Video:
    """Restore a video. Reports Progress, and the restored file in the end.

    Attributes:
        playable: a file that browsers play; None where there is none.
        problems: notes on what couldn't be kept.
        summary: what was done.
    """

    pipe: LightenPipeline
    limits: Limits
    source: Path
    cache: Path
    settings: Settings
    playable: Path | None = None
    problems: list[str] = field(default_factory=list)
    summary: str = ""

    def __call__(self, job: Job) -> None:
        check_kind(self.source, video=True)
        from ..video.mux import ENCODERS
        from ..video.restore import restore_video

        self.limits.check_file(self.source)
        kind = self.source.suffix if self.source.suffix.lower() in ENCODERS else ".mkv"
        strength, exposure, steps = self.settings
        with new_folder(self.cache) as folder:
            target = folder / f"{self.source.stem}-restored{kind}"
            clock = Clock(job)

            def progress(done: int, total: int | None) -> None:
                if total:
                    clock.tell(min(1.0, done / total), f"{done} of {total} frames")
                else:
                    job.progress(Progress(0, f"{done} frames"))
                job.pass_on()

            with job.turn():
                job.progress(Progress(0, "Restoring"))
                result = restore_video(
                    self.source,
                    target,
                    self.pipe,
                    strength=strength,
                    exposure=exposure,
                    num_inference_steps=int(steps),
                    progress=progress,
                )
            self.playable = target if kind.lower() in PLAYABLE else None
            self.problems, self.summary = result.notes, str(result)
            job.report(target)


def _bound(pipe: LightenPipeline, settings: Settings) -> BoundPipeline:
    strength, exposure, steps = settings
    return pipe.bind(strength=strength, exposure=exposure, num_inference_steps=int(steps))
