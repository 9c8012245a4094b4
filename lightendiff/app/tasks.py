"""What a job does for a tab: it restores a photo, several or a video, and reports how far it is and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..progress import Stopped
from .jobs import Cache, Limits, Look, check_kind, exposures, look, restore_batch, restore_photo
from .work import Job, duration

if TYPE_CHECKING:
    from ..batch.run import Restore
    from ..pipeline import BoundPipeline, LightenPipeline

EXPOSURES = (-1.0, -0.5, 0.0, 0.5, 1.0)  # stops, to choose from
PLAYABLE = (".mp4", ".m4v", ".mov", ".webm")  # by browsers
_LARGE = 2_000_000  # pixels of a photo that takes so long that its exposures are wanted first
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
    cache: Cache
    settings: Settings
    new: bool = False

    def __call__(self, job: Job) -> None:
        with self.cache.new() as folder:
            seen = None
            if self.new:
                seen = look(self.source, folder, self.limits)
                job.report(Seen(seen.before))
            with job.turn():
                clock = Clock(job)
                clock.tell(0, "Restoring")
                if seen is not None and seen.pixels > _LARGE:
                    self._choose(job, seen, folder)
                restore = _bound(self.pipe, self.settings, lambda share: clock.tell(share, f"Restoring, {share:.0%}"))
                job.report(restore_photo(self.source, folder, restore, self.limits))
                if seen is not None and seen.pixels <= _LARGE:
                    self._choose(job, seen, folder)

    def _choose(self, job: Job, seen: Look, folder: Path) -> None:
        def exposed(stops: float) -> Restore:
            return _bound(self.pipe, (1.0, stops, self.settings[2]), lambda share: job.check())

        if self.pipe.restorer.model.exposure_control:
            job.report(Choices(exposures(seen.small, folder, exposed, EXPOSURES)))


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
    cache: Cache
    settings: Settings
    problems: list[str] = field(default_factory=list)
    summary: str = ""

    def __call__(self, job: Job) -> None:
        total, tried = len(self.sources), 0
        with self.cache.new() as folder:
            clock, archive = Clock(job), folder / "restored.zip"

            def tell(share: float) -> None:
                clock.tell((tried + share) / total, f"{tried} of {total}")

            restore = _bound(self.pipe, self.settings, tell)
            results = restore_batch(self.sources, archive, restore, self.limits)
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
                if job.unwanted or tried == len(self.problems):
                    raise
                why = f"{stop} "
            results.close()  # and the zip file with it
            if tried == len(self.problems):
                raise ValueError("\n".join(self.problems))
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
    cache: Cache
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
        with self.cache.new() as folder:
            target = folder / f"{self.source.stem}-restored{kind}"
            clock, frames, known = Clock(job), 0, 0  # restored, in all where that is known

            def tell(share: float) -> None:
                if known:
                    clock.tell(min(1.0, (frames + share) / known), f"{frames} of {known} frames")
                else:
                    job.progress(Progress(0, f"{frames} frames"))

            def progress(done: int, total: int | None) -> None:
                nonlocal frames, known
                frames, known = done, total or 0
                tell(0)
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
                    frame_progress=tell,
                )
            self.playable = target if kind.lower() in PLAYABLE else None
            self.problems, self.summary = result.notes, str(result)
            job.report(target)


def _bound(pipe: LightenPipeline, settings: Settings, progress: Callable[[float], object]) -> BoundPipeline:
    strength, exposure, steps = settings
    return pipe.bind(strength=strength, exposure=exposure, num_inference_steps=int(steps), progress=progress)
