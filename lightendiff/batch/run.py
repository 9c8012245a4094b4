"""Restoring files: running a restorer over the pictures of a plan, reading ahead and writing behind meanwhile."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Barrier
from typing import Any

import numpy as np

from ..files import storage
from ..files.locations import Location, why
from ..images import FORMATS, MAX_PIXELS, ImageError, Picture, read_picture, shown, write_picture
from ..images.reading import Check
from ..images.working import Working, working
from ..progress import Stopped
from .plan import Job
from .read_ahead import AHEAD, Read, Reader, read_ahead
from .threads import Readers

Restore = Callable[[np.ndarray], np.ndarray]  # (h, w) or (h, w, 3), uint8 or uint16 -> the same shape and dtype
Make = Callable[[Picture, Any], Picture]  # of a picture that was read and what restores it
RestoreMany = Callable[[list[np.ndarray]], list[np.ndarray]]  # as many of one shape and dtype


@dataclass
class Summary:
    """What was done. notes: what was changed in a picture on the way -> the sources."""

    restored: int = 0
    skipped: int = 0
    failed: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    notes: dict[str, list[Location]] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = f"{self.restored} restored, {self.skipped} skipped, {self.failed} failed in {self.seconds:.1f} s"
        rate = f" ({self.restored / self.seconds:.2f} images/s)" if self.restored and self.seconds else ""
        return ("interrupted: " if self.interrupted else "") + counts + rate


def restore_files(
    jobs: Sequence[Job],
    restore: Restore,
    *,
    many: RestoreMany | None = None,
    format: str | None = None,
    quality: int | None = None,
    make: Make | None = None,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int | None = None,
    check: Check = lambda height, width: None,
    failed: Callable[[str], object] = print,
    done: Callable[[], object] = lambda: None,
) -> Summary:
    """Read every picture, and write what `make(picture, restore)` makes of it, by default `restored`.

    Where `many` is given, it gets the pictures of equal size that were read ahead, up to 16 of together 4 megapixels;
    what it can't restore is then given to `restore`, one by one.

    max_pixels, max_bytes and check are for `read_picture`, which refuses what is larger by its header.

    failed(line) is called for every picture that can't be read, restored or written, and the rest go on; done() after
    every picture, failed or not. On KeyboardInterrupt, and on Stopped from the restorer, the file being written is
    finished and the summary returned.
    """
    summary, start, make = Summary(), time.perf_counter(), make or restored
    read_one = partial(read_picture, max_pixels=max_pixels, max_bytes=max_bytes, check=check)
    threads = 1 if many is None else max(1, min(8, (os.cpu_count() or 2) // 2))  # of two cores, the model needs both
    readers, writer = Readers(threads), ThreadPoolExecutor(threads, "writer")
    behind: deque[tuple[Job, Future[None]]] = deque()
    whole: list[tuple[Job, tuple[str, ...]]] = []  # kept by the writers: an interrupt may lose their futures

    def write_it(job: Job, picture: Picture) -> None:
        whole.append((job, write(job.target, picture, format, quality)))

    def settle() -> None:
        if not behind[0][1].cancelled():  # for such a one, which no thread takes up any more, `wait` would never end
            wait([behind[0][1]])  # it leaves the queue only then, so that an interrupt meanwhile doesn't lose it
        job, written = behind.popleft()
        if written.cancelled():
            return
        if error := written.exception():
            fail(f"{shown(job.source)}: cannot write {error}")
            return
        done()

    def fail(line: str) -> None:
        summary.failed += 1
        failed(line)
        done()

    try:
        _start_threads(writer, threads)  # a thread whose start is interrupted isn't waited for, and may have a picture
        for batch in read_ahead(jobs, Reader(readers, read_one), many is not None):
            for (job, read), restore_it in zip(batch, _restorers(batch, restore, many), strict=True):
                try:
                    picture = make(read.result(), restore_it)
                except Stopped:
                    raise
                except ImageError as error:
                    fail(str(error))
                    continue
                except Exception as error:  # whatever the restorer raises for this picture, the others go on
                    fail(f"{shown(job.source)}: {type(error).__name__}: {error}".splitlines()[0])
                    continue
                behind.append((job, writer.submit(write_it, job, picture)))
                while len(behind) > max(AHEAD, len(batch)) or (behind and behind[0][1].done()):
                    settle()
        while behind:
            settle()
    except (KeyboardInterrupt, Stopped):
        summary.interrupted = True
    finally:
        readers.stop()
        writer.shutdown(wait=True, cancel_futures=True)
    while behind:  # what was being written when the interrupt came
        settle()
    summary.restored = len(whole)
    for job, notes in whole:
        for note in notes:
            summary.notes.setdefault(note, []).append(job.source)
    summary.seconds = time.perf_counter() - start
    return summary


def _start_threads(pool: ThreadPoolExecutor, count: int) -> None:
    """Start all threads of a pool, which otherwise starts them as tasks come."""
    all_there = Barrier(count)
    wait([pool.submit(all_there.wait, timeout=1) for _ in range(count)])


def _restorers(batch: list[Read], restore: Restore, many: RestoreMany | None) -> list[Restore]:
    """What to restore each picture of a batch with: `restore`, or what only returns its part of what `many` gave."""
    if many is not None and len(batch) > 1:
        try:
            return [_returning(light) for light in many([_flat(_working(read.result()).given) for _, read in batch])]
        except Stopped:
            raise
        except Exception:  # it is told for the picture that has it, when that is tried alone
            pass
    return [restore] * len(batch)


def _returning(light: np.ndarray) -> Restore:
    return lambda dark: light


def restored(picture: Picture, restore: Restore, compare: bool = False) -> Picture:
    """The picture with its pixels restored (alpha and metadata as they were); with compare, twice as wide.

    `restore` is given sRGB code values, whatever the picture's profile is, and behind alpha 0 what continues the rest.

    Raises ValueError if restore changes the shape or the dtype.
    """
    dark, work = picture.pixels, _working(picture)
    given = _flat(work.given)
    light = restore(given)
    if light.shape != given.shape or light.dtype != given.dtype:
        raise ValueError(
            f"restore: expected shape {given.shape} and dtype {given.dtype} back, got {light.shape} and {light.dtype}"
        )
    light = work.back(light.reshape(dark.shape))
    if not compare:
        return replace(picture, pixels=light)
    alpha = None if picture.alpha is None else np.concatenate([picture.alpha, picture.alpha], axis=1)
    return replace(picture, pixels=np.concatenate([dark, light], axis=1), alpha=alpha)


def _working(picture: Picture) -> Working:
    return working(picture.pixels, picture.alpha, picture.icc_profile)


def _flat(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 3), or (h, w) of grey."""
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def write(target: Location, picture: Picture, format: str | None, quality: int | None) -> tuple[str, ...]:
    """`write_picture` into a folder that may be missing; the notes on reading and writing. `format` is a name's end."""
    try:
        storage.make_folder(target.parent)
    except OSError as error:
        raise ImageError(f"{shown(target)}: {why(error)}") from error
    kind = None if format is None else FORMATS[f".{format}"]
    return picture.notes + write_picture(target, picture, format=kind, quality=quality)
