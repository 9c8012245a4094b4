"""Restoring files: finding the pictures, naming what is written, and running a restorer over them.

Everything that can be known beforehand (a picture that would be overwritten, two that would be written to one name) is
settled by `plan` before anything is written. `restore_files` then reads ahead and writes behind while it restores.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .images import FORMATS, MAX_PIXELS, READABLE, ImageError, Picture, read_picture, shown, write_picture

Restore = Callable[[np.ndarray], np.ndarray]  # (h, w) or (h, w, 3), uint8 or uint16 -> the same shape and dtype
_AHEAD = 2  # pictures read before, and written after, the one being restored


@dataclass(frozen=True)
class Job:
    """A picture to read, and the file to write it to."""

    source: Path
    target: Path


@dataclass
class Plan:
    """What there is to do: jobs in order, sources left alone because their target exists, and a line per problem."""

    jobs: list[Job] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class Summary:
    """What was done. notes: what was changed in a picture on the way -> the sources."""

    restored: int = 0
    skipped: int = 0
    failed: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    notes: dict[str, list[Path]] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = f"{self.restored} restored, {self.skipped} skipped, {self.failed} failed in {self.seconds:.1f} s"
        rate = f" ({self.restored / self.seconds:.2f} images/s)" if self.restored and self.seconds else ""
        return ("interrupted: " if self.interrupted else "") + counts + rate


# --------------------------------------------------------------------------------------------------------- planning


def plan(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    recursive: bool = False,
    format: str | None = None,
    suffix: str = "",
    skip_existing: bool = False,
    share: tuple[int, int] = (0, 1),
) -> Plan:
    """Find the pictures in files and folders and name their outputs in the folder `output`. Nothing is written.

    A folder's pictures keep their place below it. Those whose output would replace an input, would lie outside the
    output folder, or would have the same name as another's become problems instead of jobs.

    With `share` (r, n), process r of n that plan the same run gets every n-th picture and problem. Which they are
    depends on the pictures found only, not on what the others have already written.
    """
    out, result = Path(output), Plan()
    jobs: dict[tuple[tuple[int, int] | None, Path], Job] = {}  # in order, and each only once, whatever it was called

    def add(source: Path, name: Path) -> None:
        job = Job(source, out / output_name(name, format, suffix))
        jobs.setdefault((_identity(source), job.target), job)

    for given in map(Path, inputs):
        if os.path.isdir(given):
            found = _unfinished(_walk(given, recursive, out, result.problems), given, out, suffix)
            for path in found:
                add(path, path.relative_to(given))
            if not found:
                hint = "" if recursive else " (folders inside it are entered with --recursive)"
                result.problems.append(f"{shown(given)}: no pictures in this folder{hint}")
        elif os.path.isfile(given):
            add(given, Path(given.name))
        else:
            missing = "not a file or folder" if os.path.lexists(given) else "No such file or directory"
            result.problems.append(f"{shown(given)}: {missing}")
    rank, processes = share
    refused = _conflicts(list(jobs.values()), out)
    result.problems = result.problems[rank::processes]
    for job in list(jobs.values())[rank::processes]:
        if job in refused:
            result.problems.append(refused[job])
        elif skip_existing and os.path.exists(job.target):
            result.skipped.append(job.source)
        else:
            result.jobs.append(job)
    return result


def output_name(name: Path, format: str | None, suffix: str) -> Path:
    """The output for an input called `name`: the suffix before the extension, and an extension that fits the format."""
    extension = name.suffix
    if format is not None and FORMATS.get(extension.lower()) != FORMATS[f".{format}"]:
        extension = f".{format}"
    elif extension.lower() in READABLE and extension.lower() not in FORMATS:
        extension = ".png"  # GIF is read, not written
    return name.with_name(name.stem + suffix + extension)


def _walk(root: Path, recursive: bool, out: Path, problems: list[str]) -> list[Path]:
    """The pictures below root, sorted; hidden files and the output folder are left out, links are followed once."""
    entered = {None, _identity(root), _identity(out)}

    def is_new(folder: str) -> bool:
        identity = _identity(Path(folder))
        new = identity not in entered
        entered.add(identity)
        return new

    def unreadable(error: OSError) -> None:
        problems.append(f"{shown(error.filename)}: {error.strerror}")

    found = []
    for folder, folders, files in os.walk(root, onerror=unreadable, followlinks=True):
        folders[:] = sorted(
            name for name in folders if recursive and name[0] != "." and is_new(os.path.join(folder, name))
        )
        names = sorted(name for name in files if name[0] != "." and os.path.splitext(name)[1].lower() in READABLE)
        found += [path for name in names if os.path.isfile(path := Path(folder, name))]  # no pipes or dangling links
    return found


def _unfinished(found: list[Path], root: Path, out: Path, suffix: str) -> list[Path]:
    """Without an earlier run's results, which lie among the inputs when the output folder is the input folder."""
    if not suffix or _identity(out) != _identity(root):
        return found
    originals = {path.parent / path.stem for path in found}
    return [p for p in found if not (p.stem.endswith(suffix) and p.parent / p.stem[: -len(suffix)] in originals)]


def _identity(path: Path) -> tuple[int, int] | None:
    """The same for every name of a file: other spellings, links, other cases on file systems that ignore case."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return None


def _conflicts(jobs: Sequence[Job], out: Path) -> dict[Job, str]:
    sources = {_identity(job.source) for job in jobs} - {None}
    fold = str.casefold if _ignores_case(out) else str
    targets: dict[str, list[Job]] = {}
    refused = {}
    # A link inside the output folder may lead out of it.
    root = os.path.realpath(out)
    inside = {folder: Path(os.path.realpath(folder)).is_relative_to(root) for folder in {j.target.parent for j in jobs}}
    for job in jobs:
        targets.setdefault(fold(os.fspath(job.target)), []).append(job)
        if _identity(job.target) in sources:
            refused[job] = f"{shown(job.source)}: the output {shown(job.target)} would overwrite an input"
        elif not inside[job.target.parent]:
            refused[job] = f"{shown(job.source)}: the output {shown(job.target)} would lie outside {shown(out)}"
    for group in targets.values():
        if len({_identity(job.source) for job in group}) > 1:
            for job in group:
                other = next(o.source for o in group if o.source != job.source)
                refused[job] = f"{shown(job.source)}: {shown(other)} would also be written to {shown(job.target)}"
    return refused


def _ignores_case(folder: Path) -> bool:
    """Whether the file system of a folder, which need not exist yet, takes "a" and "A" for the same name."""
    for existing in (folder.absolute(), *folder.absolute().parents):
        other = existing.with_name(existing.name.swapcase()) if existing.name else existing
        if other != existing and existing.exists():
            return _identity(other) == _identity(existing)
    return os.name == "nt"


# -------------------------------------------------------------------------------------------------------- restoring


def restore_files(
    jobs: Sequence[Job],
    restore: Restore,
    *,
    format: str | None = None,
    quality: int | None = None,
    compare: bool = False,
    max_pixels: int = MAX_PIXELS,
    failed: Callable[[str], object] = print,
    done: Callable[[], object] = lambda: None,
) -> Summary:
    """Read, restore and write every picture; with compare, dark and restored side by side.

    failed(line) is called for every picture that can't be read, restored or written, and the rest go on; done() after
    every picture, failed or not. On KeyboardInterrupt the file being written is finished and the summary returned.
    """
    summary, start = Summary(), time.perf_counter()
    reader, writer = ThreadPoolExecutor(1, "reader"), ThreadPoolExecutor(1, "writer")
    behind: deque[tuple[Job, Future[tuple[str, ...]]]] = deque()

    def settle() -> None:
        if not behind[0][1].cancelled():  # for such a one, which no thread takes up any more, `wait` would never end
            wait([behind[0][1]])  # it leaves the queue only then, so that an interrupt meanwhile doesn't lose it
        job, written = behind.popleft()
        if written.cancelled():
            return
        if error := written.exception():
            fail(f"{shown(job.source)}: cannot write {error}")
            return
        summary.restored += 1
        for note in written.result():
            summary.notes.setdefault(note, []).append(job.source)
        done()

    def fail(line: str) -> None:
        summary.failed += 1
        failed(line)
        done()

    try:
        for job, picture in _read_ahead(jobs, reader, max_pixels):
            try:
                result = restored(picture.result(), restore, compare)
            except ImageError as error:
                fail(str(error))
                continue
            except Exception as error:  # whatever the restorer raises for this picture, the others go on
                fail(f"{shown(job.source)}: {type(error).__name__}: {error}".splitlines()[0])
                continue
            behind.append((job, writer.submit(_write, job.target, result, format, quality)))
            while len(behind) > _AHEAD or (behind and behind[0][1].done()):
                settle()
        while behind:
            settle()
    except KeyboardInterrupt:
        summary.interrupted = True
    finally:
        reader.shutdown(wait=False, cancel_futures=True)
        writer.shutdown(wait=True, cancel_futures=True)
    while behind:  # what was being written when the interrupt came
        settle()
    summary.seconds = time.perf_counter() - start
    return summary


def _read_ahead(
    jobs: Sequence[Job], reader: ThreadPoolExecutor, max_pixels: int
) -> Iterator[tuple[Job, Future[Picture]]]:
    ahead: deque[tuple[Job, Future[Picture]]] = deque()
    for job in jobs:
        ahead.append((job, reader.submit(read_picture, job.source, max_pixels=max_pixels)))
        if len(ahead) > _AHEAD:
            yield ahead.popleft()
    while ahead:
        yield ahead.popleft()


def restored(picture: Picture, restore: Restore, compare: bool = False) -> Picture:
    """The picture with its pixels restored (alpha and metadata as they were); with compare, twice as wide.

    Raises ValueError if restore changes the shape or the dtype.
    """
    dark = picture.pixels
    given = dark[..., 0] if dark.shape[2] == 1 else dark
    light = restore(given)
    if light.shape != given.shape or light.dtype != given.dtype:
        raise ValueError(
            f"restore: expected shape {given.shape} and dtype {given.dtype} back, got {light.shape} and {light.dtype}"
        )
    light = light.reshape(dark.shape)
    if not compare:
        return replace(picture, pixels=light)
    alpha = None if picture.alpha is None else np.concatenate([picture.alpha, picture.alpha], axis=1)
    return replace(picture, pixels=np.concatenate([dark, light], axis=1), alpha=alpha)


def _write(target: Path, picture: Picture, format: str | None, quality: int | None) -> tuple[str, ...]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"{shown(target)}: {error.strerror or error}") from error
    kind = None if format is None else FORMATS[f".{format}"]
    return picture.notes + write_picture(target, picture, format=kind, quality=quality)
