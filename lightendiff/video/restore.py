"""Restoring videos: frame by frame, without flicker, with their sound, and so that an interrupted run can go on.

What is restored is kept in segments, in a folder beside the target, until all of it is there and is joined.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..files.locks import only_one
from ..images import shown
from ..limits import MAX_FRAME, check_memory
from ..pipeline import BoundPipeline, LightenPipeline
from ..progress import Progress as FrameProgress
from .deflicker import SMOOTHING, Deflicker
from .frames import Source, av, in_one_line
from .join import Joint
from .look import Look, pixels_of
from .mux import ENCODERS, SegmentWriter
from .segments import Parts
from .side_data import side_data
from .watch import Watch

_HELD = 20  # frames, of up to 3 bytes a pixel: those that others refer to, and those of its threads

Progress = Callable[[int, int | None], object]


@dataclass
class VideoSummary:
    """What was done.

    Attributes:
        frames: of the video that was written.
        resumed: how many of them an earlier run had restored.
        cuts: scene cuts that were found; 0 without smoothing.
        seconds: of this run.
        notes: what couldn't be kept or had to be passed over, a line each.
    """

    frames: int = 0
    resumed: int = 0
    cuts: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        restored = self.frames - self.resumed
        rate = f" ({restored / self.seconds:.2f} frames/s)" if restored and self.seconds else ""
        before = f", {self.resumed} by an earlier run" if self.resumed else ""
        return f"{restored} frames restored in {self.seconds:.1f} s{rate}{before}"


def restore_video(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    pipe: LightenPipeline,
    *,
    num_inference_steps: int | None = None,
    strength: float = 1.0,
    exposure: float = 0.0,
    seed: int = 0,
    smoothing: float = SMOOTHING,
    resume: bool = False,
    max_pixels: int = MAX_FRAME,
    progress: Progress | None = None,
    frame_progress: FrameProgress | None = None,
) -> VideoSummary:
    """Restore a video file.

    Time stamps, rotation, pixel aspect, colour tags, chapters and metadata are kept; sound, subtitles and other streams
    are copied as they are. All frames start from the same noise. The target is H.264, or VP9 in WebM, and appears only
    when whole; until then, what is restored lies in the folder `TARGET.parts`. That stays after an interrupt or an
    error, for `resume`, and is cleared by the next run without it.

    Args:
        source: any file that FFmpeg reads.
        target: file to write: .mp4, .m4v, .mov, .mkv, .webm or .ts. One that exists is replaced; the source never is.
        pipe: the pipeline.
        num_inference_steps, strength, exposure, seed: as in the pipeline's call.
        smoothing: time in seconds over which brightness and colour of what is added are evened out; 0 for every frame
            on its own. It starts anew at scene cuts. Not for the published architecture, which has no
            exposure control.
        resume: go on where an interrupted run of the same call ended; without one, restore it all.
        max_pixels: of a frame; videos with larger ones are refused before anything is decoded.
        progress: called as (frames done, frames in all, or None where that isn't known) after each frame; the second is
            what the file says, which may be an estimate.
        frame_progress: called with the share of the frame in work that is done, as `progress` of the pipeline's call.

    Raises:
        OSError: the source is missing or unreadable, or the target can't be written, by another run's being at it
            for example.
        ValueError: the source is no video; the target is the source, a folder, or of another kind; an option is out of
            its range; there is something to resume, but it comes from another call. The message is one line.
        KeyboardInterrupt: passed on, as is what `progress` or `frame_progress` raises, `lightendiff.Stopped` for
            example. Frames that are restored by then aren't lost.
    """
    start = time.perf_counter()
    source, target = Path(source), Path(target)
    _check_target(target)
    if not smoothing >= 0:
        raise ValueError(f"smoothing: expected seconds from 0 up, got {smoothing}")
    bound = pipe.bind(
        num_inference_steps=num_inference_steps,
        strength=strength,
        exposure=exposure,
        seed=seed,
        progress=frame_progress,
    )
    video = Source(source, max_pixels)
    try:
        _check_memory(video, bound)
        if target.exists() and target.samefile(source):
            raise ValueError(f"{shown(target)}: expected another file than the input, which is never overwritten")
        folder = target.with_name(target.name + ".parts")
        with _alone(target, folder):
            parts = Parts(folder, _job(source, bound, smoothing), resume)
            if smoothing and not pipe.restorer.model.exposure_control:
                smoothing = 0.0
                parts.notes.append("brightness isn't smoothed: this architecture has no exposure control")
            steady = Deflicker(pipe.restorer.model, smoothing) if smoothing else None
            resumed = parts.frames
            with in_one_line(target):
                joint, watch, last_duration = _restore(video, parts, bound, steady, target.suffix, progress)
                whole = parts.folder / f"whole{target.suffix}"
                notes = joint.write(parts.segments, last_duration, whole)
            os.replace(whole, target)
            parts.clear()
    finally:
        video.close()
    notes = [*watch.notes(), *video.notes, *parts.notes, *notes]
    cuts = steady.cuts if steady else 0
    return VideoSummary(parts.frames, resumed, cuts, time.perf_counter() - start, notes)


@contextmanager
def _alone(target: Path, folder: Path) -> Iterator[None]:
    """The folder of the parts is there, and no other run is at the target; without parts it is removed in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    interrupted = False
    try:
        with only_one(target, folder / "lock"):
            yield
    except KeyboardInterrupt:
        interrupted = True  # a second one, while the first part is still being finished
        raise
    finally:
        if not interrupted:
            with suppress(OSError):
                folder.rmdir()


def _check_memory(video: Source, bound: BoundPipeline) -> None:
    """ValueError if a frame takes more memory than is free; decoders hold up to _HELD of them."""
    context = video.stream.codec_context
    if not context.width * context.height:  # told by the first frame only
        return
    try:
        check_memory(context.width, context.height, _HELD * 3 * context.width * context.height)
        bound.check()(context.height, context.width)
    except ValueError as error:
        what = str(error).partition(";")[0]  # without the options that videos haven't
        raise ValueError(f"{shown(video.path)}: {what}") from error


def _check_target(target: Path) -> None:
    if target.is_dir():
        raise ValueError(f"{shown(target)}: expected a file to write, got a folder")
    if target.suffix.lower() not in ENCODERS:
        raise ValueError(f"{shown(target)}: expected a name that ends in {', '.join(ENCODERS)}, got {target.suffix!r}")


def _job(source: Path, bound: BoundPipeline, smoothing: float) -> dict[str, Any]:
    """All that decides what the segments look like."""
    pipe = bound.pipe
    weights = hashlib.sha256()
    for name, tensor in pipe.restorer.state_dict().items():
        weights.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    status = source.stat()
    return {
        "input": [status.st_size, status.st_mtime_ns],
        "weights": weights.hexdigest(),
        "config": json.dumps(pipe.restorer.config.to_dict(), sort_keys=True),  # steps and schedule, too
        "dtype": str(pipe.dtype),
        "smoothing": float(smoothing),
        "PyAV": av.__version__,
        "seed": bound.seed,
        **asdict(bound.sampling),
    }


def _restore(
    video: Source,
    parts: Parts,
    bound: BoundPipeline,
    steady: Deflicker | None,
    extension: str,
    progress: Progress | None,
) -> tuple[Joint, Watch, int]:
    """Restore what isn't in the parts yet. Returns how to join it, what isn't kept, and the last frame's duration."""
    joint: Joint | None = None
    watch: Watch | None = None
    encoder = ENCODERS[extension.lower()]
    done, duration = parts.frames, 0
    if steady is not None:
        steady.load_state(parts.steady)
    try:
        for i, frame in enumerate(video.frames()):
            if joint is None or watch is None:
                look, extra = Look.of(frame, video.stream, encoder), side_data(frame)
                joint = Joint(video, look, extension, extra)
                joint.rehearse(frame, encoder)
                watch = Watch(look, joint.kept)
            duration = frame.duration or 0
            canvas = joint.look.canvas(frame)
            watch.see(frame, canvas)
            if i < done:
                continue
            adjust = None if steady is None else steady.at(float(frame.pts * video.time_base))
            pixels = bound(pixels_of(canvas), adjust=adjust)
            if parts.writer is None:
                parts.begin(
                    partial(SegmentWriter, look=joint.look, encoder=encoder, source=video, side_data=joint.side_data)
                )
            parts.add(canvas, pixels, frame.pts, {} if steady is None else steady.state())
            if progress is not None:
                progress(i + 1, video.total)
        parts.finish()
    except BaseException:
        parts.rescue()
        raise
    assert joint is not None  # there was a frame, or `frames` would have raised
    assert watch is not None
    return joint, watch, duration
