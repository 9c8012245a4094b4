"""What the web app does with uploaded files, without the web: one photo with previews, or many into a zip file."""

from __future__ import annotations

import os
import secrets
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from ..batch.plan import output_name
from ..batch.run import Restore, restored
from ..images import ImageError, Picture, read_picture, shown, write_picture
from ..images.formats import written_as

PREVIEW = 2048  # pixels to a side: what is compared on the page; what is downloaded has all of them
MEGABYTE = 2**20  # as gradio counts in its messages
_SUFFIX = "-restored"
_running: dict[Thread, Event] = {}  # works of `reported`, and what ends each


@dataclass(frozen=True)
class Limits:
    """The largest upload: megapixels of a picture, megabytes (2²⁰ bytes) of any file."""

    megapixels: float
    megabytes: float

    def __post_init__(self) -> None:
        for name in ("megapixels", "megabytes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"max_{name}: expected more than 0, got {getattr(self, name)}")

    def check_file(self, path: Path) -> None:
        """ImageError when the file is larger than that, or has been deleted meanwhile."""
        try:
            size = path.stat().st_size / MEGABYTE
        except OSError as error:
            raise ImageError(f"{shown(path.name)}: no longer here, please upload it again") from error
        if size > self.megabytes:
            raise ImageError(f"{shown(path.name)}: {size:.1f} MB, the limit is {self.megabytes:g} MB")


@dataclass(frozen=True)
class Comparison:
    """A restored photo's file, previews for a browser of how it was and is, and a line on what was done."""

    file: Path
    before: Path
    after: Path
    summary: str


@contextmanager
def new_folder(parent: Path) -> Iterator[Path]:
    """A new folder whose name can't be guessed. It is deleted again when what is done in it fails or is stopped."""
    folder = parent / secrets.token_hex(16)
    folder.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def restore_photo(source: Path, folder: Path, restore: Restore, limits: Limits) -> Comparison:
    """Restore a photo into the folder, in its own format with all that belongs to it.

    Raises ImageError, whose message names the file without its folder.
    """
    start = time.perf_counter()
    dark, light, target, notes = _restore_file(source, folder, restore, limits)
    previews = [_preview(picture, folder / name) for picture, name in ((dark, "before"), (light, "after"))]
    height, width = dark.pixels.shape[:2]
    summary = f"{width} × {height} pixels, {light.format}, {time.perf_counter() - start:.1f} s"
    return Comparison(target, previews[0], previews[1], ". Note: ".join((summary, *notes)))


def restore_batch(sources: Sequence[Path], archive: Path, restore: Restore, limits: Limits) -> Iterator[str | None]:
    """Restore photos into a zip file. After each, yields None, or a line on why it isn't in there.

    Photos of the same name are numbered.
    """
    names: set[str] = set()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as pack:
        for source in sources:
            problem = None
            try:
                _, _, file, _ = _restore_file(source, archive.parent, restore, limits)
                pack.write(file, _unused(file.name, names))
                file.unlink()
            except ImageError as error:
                problem = str(error)
            yield problem


def reported(work: Callable[[Callable[..., None]], object]) -> Iterator[tuple[Any, ...]]:
    """Run work(report) in a thread and yield the arguments of each report(…), then raise what the work raised.

    Closing the iterator or `end_works` ends the work: its next report raises InterruptedError.
    """
    reports: SimpleQueue[tuple[Any, ...] | None] = SimpleQueue()
    errors: list[Exception] = []
    stopped = Event()

    def report(*values: object) -> None:
        if stopped.is_set():
            raise InterruptedError("stopped")
        reports.put(values)

    def run() -> None:
        try:
            work(report)
        except Exception as error:
            errors.append(error)
        finally:
            reports.put(None)

    thread = Thread(target=run)
    thread.start()
    try:
        _running[thread] = stopped
        while (values := reports.get()) is not None:
            yield values
    finally:
        stopped.set()
        thread.join()
        _running.pop(thread, None)
    if errors:
        raise errors[0]


def end_works() -> None:
    """End all that `reported` is running, and wait until it has ended: Python itself would wait for all of the work."""
    for thread, stopped in list(_running.items()):
        stopped.set()
        thread.join()


def _restore_file(
    source: Path, folder: Path, restore: Restore, limits: Limits
) -> tuple[Picture, Picture, Path, tuple[str, ...]]:
    """The picture before and after, the file that was written, and notes on what was changed on the way."""
    limits.check_file(source)
    target = source
    try:
        dark = read_picture(source, max_pixels=int(limits.megapixels * 1e6))
        kind = written_as(dark.format).name
        light = replace(restored(dark, restore), format=kind)
        target = folder / output_name(Path(source.name), kind.lower(), _SUFFIX)
        return dark, light, target, dark.notes + write_picture(target, light)
    except ImageError as error:
        raise ImageError(str(error).replace(shown(target), shown(target.name), 1)) from error
    except Exception as error:  # whatever the restorer raises for this picture
        line = f"{shown(source.name)}: {type(error).__name__}: {error}".splitlines()[0]
        raise ImageError(line) from error


def _unused(name: str, used: set[str]) -> str:
    """The name, numbered if it is taken on systems that ignore case too; from now on it is taken."""
    stem, extension = os.path.splitext(name)
    number = 1
    while name.casefold() in used:
        number += 1
        name = f"{stem}-{number}{extension}"
    used.add(name.casefold())
    return name


def _preview(picture: Picture, path: Path) -> Path:
    """Write a small 8-bit version that browsers show in the same colours. Returns its path, with an extension."""
    height, width = picture.pixels.shape[:2]
    scale = min(1.0, PREVIEW / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))

    def shrunk(array: np.ndarray) -> np.ndarray:
        if scale == 1:
            return array
        planes = np.moveaxis(array.reshape(height, width, -1), 2, 0)  # one at a time, since floats are large
        floats = (torch.from_numpy(plane.astype(np.float32))[None, None] for plane in planes)
        small = [F.interpolate(plane, size=size[::-1], mode="area")[0, 0].round() for plane in floats]
        return torch.stack(small, dim=-1).numpy().astype(array.dtype).reshape(*size[::-1], *array.shape[2:])

    pixels = shrunk(picture.pixels)
    alpha = None if picture.alpha is None else shrunk(picture.alpha)
    small = replace(picture, pixels=pixels, alpha=alpha, exif=b"", xmp=b"", dpi=None, encoding={})
    path = path.with_suffix(".jpg" if alpha is None else ".webp")
    write_picture(path, small, quality=90)
    return path
