"""What the web app does with uploaded files, without the web: one photo with previews, or many into a zip file."""

from __future__ import annotations

import os
import secrets
import shutil
import time
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from torch.nn import functional as F

from ..batch.plan import output_name
from ..batch.run import Restore, restored
from ..images import READABLE, ImageError, Picture, read_picture, shown, write_picture
from ..images.formats import written_as
from ..progress import Stopped

PREVIEW = 2048  # pixels to a side: what is compared on the page; what is downloaded has all of them
MEGABYTE = 2**20  # as gradio counts in its messages
CARD = 1024  # the same, for each of several photos
THUMBNAIL = 256  # the same, for each exposure to choose from
VIDEOS = (  # those that aren't written in their own format become Matroska
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts",
    ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv", ".3gp",
)  # fmt: skip
PHOTO, SEVERAL, VIDEO = "Photo", "Several photos", "Video"  # the tabs
_SUFFIX = "-restored"

_LOOKING = Lock()  # one at a time, since pictures take much memory


@dataclass(frozen=True)
class Limits:
    """The most of a job: megapixels of a picture, megabytes (2²⁰ bytes) of any file, minutes of work."""

    megapixels: float
    megabytes: float
    minutes: float = 60.0

    def __post_init__(self) -> None:
        for name in ("megapixels", "megabytes", "minutes"):
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
class Look:
    """A dark photo: a preview for a browser, a small version, and how many pixels it has."""

    before: Path
    small: Picture
    pixels: int


@dataclass(frozen=True)
class Comparison:
    """A restored photo's file and name, previews for a browser of how it was and is, and a line on what was done."""

    file: Path
    name: str
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


@dataclass(frozen=True)
class Cache:
    """Where results lie.

    Attributes:
        folder: of all of them.
        files: sets of files, which whoever has the list deletes when they are old.
    """

    folder: Path
    files: list[set[str]]

    @contextmanager
    def new(self) -> Iterator[Path]:
        """A `new_folder` in there."""
        with new_folder(self.folder) as folder:
            yield folder
            self.files.append({str(path) for path in folder.rglob("*") if path.is_file()})


def check_kind(source: Path, video: bool) -> None:
    """ImageError that names the tab for it, when it is a video and none is expected, or the other way round."""
    kind = source.suffix.lower()
    if video and kind in READABLE:
        raise ImageError(f"{shown(source.name)}: expected a video, got a photo: use the tab “{PHOTO}”")
    if not video and kind in VIDEOS:
        raise ImageError(f"{shown(source.name)}: expected a photo, got a video: use the tab “{VIDEO}”")


def look(source: Path, folder: Path, limits: Limits) -> Look:
    """A photo before anything is done with it; its preview lies in the folder. ImageError as from `restore_photo`."""
    with _LOOKING:
        dark = _read(source, limits)
        before = _preview(dark, folder / "dark", PREVIEW)
        return Look(before, _shrunk(dark, THUMBNAIL), dark.pixels.shape[0] * dark.pixels.shape[1])


def restore_photo(
    source: Path,
    folder: Path,
    restore: Restore,
    limits: Limits,
    side: int = PREVIEW,
) -> Comparison:
    """Restore a photo into the folder, in its own format with all that belongs to it.

    Args:
        side: the most pixels to a side of the previews.

    Raises:
        ImageError: the message names the file without its folder.
        Stopped: passed on from `restore`.
    """
    start = time.perf_counter()
    target = source
    try:
        dark = _read(source, limits)
        before = _preview(dark, folder / "before", side)
        kind = written_as(dark.format).name
        light = replace(restored(dark, restore), format=kind)
        after = _preview(light, folder / "after", side)
        target = folder / output_name(Path(source.name), kind.lower(), _SUFFIX)
        notes = dark.notes + write_picture(target, light)
    except Stopped:
        raise
    except ImageError as error:
        raise ImageError(str(error).replace(shown(target), shown(target.name), 1)) from error
    except Exception as error:  # whatever the restorer raises for this picture
        line = f"{shown(source.name)}: {type(error).__name__}: {error}".splitlines()[0]
        raise ImageError(line) from error
    height, width = dark.pixels.shape[:2]
    summary = f"{width} × {height} pixels, {light.format}, {time.perf_counter() - start:.1f} s"
    return Comparison(target, target.name, before, after, ". Note: ".join((summary, *notes)))


def restore_batch(
    sources: Sequence[Path], archive: Path, restore: Restore, limits: Limits
) -> Generator[Comparison | str, None, None]:
    """Restore photos into a zip file. After each, yields what came of it, or a line on why it isn't in there.

    Photos of the same name are numbered. When it is stopped, the zip file has those that are done.
    """
    names: set[str] = set()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as pack:
        for number, source in enumerate(sources):
            folder = archive.parent / f"{number}"
            folder.mkdir()
            try:
                result = restore_photo(source, folder, restore, limits, side=CARD)
                result = replace(result, name=_unused(result.name, names))
                pack.write(result.file, result.name)
                result.file.unlink()
                yield result
            except ImageError as error:
                yield str(error)


def exposures(small: Picture, folder: Path, restore: Callable[[float], Restore], stops: Sequence[float]) -> list[Path]:
    """A picture restored at each exposure: a file each."""
    return [_preview(restored(small, restore(each)), folder / f"exposure{each:+}", THUMBNAIL) for each in stops]


def _read(source: Path, limits: Limits) -> Picture:
    check_kind(source, video=False)
    limits.check_file(source)
    return read_picture(source, max_pixels=int(limits.megapixels * 1e6))


def _unused(name: str, used: set[str]) -> str:
    """The name, numbered if it is taken on systems that ignore case too; from now on it is taken."""
    stem, extension = os.path.splitext(name)
    number = 1
    while name.casefold() in used:
        number += 1
        name = f"{stem}-{number}{extension}"
    used.add(name.casefold())
    return name


def _shrunk(picture: Picture, side: int) -> Picture:
    """The picture with at most so many pixels to a side, in the same colours; without what else belongs to it."""
    height, width = picture.pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))

    def shrunk(array: np.ndarray) -> np.ndarray:
        if scale == 1:
            return array
        planes = np.moveaxis(array.reshape(height, width, -1), 2, 0)  # one at a time, since floats are large
        floats = (torch.from_numpy(plane.astype(np.float32))[None, None] for plane in planes)
        small = [F.interpolate(plane, size=size[::-1], mode="area")[0, 0].round() for plane in floats]
        return torch.stack(small, dim=-1).numpy().astype(array.dtype).reshape(*size[::-1], *array.shape[2:])

    alpha = None if picture.alpha is None else shrunk(picture.alpha)
    return replace(picture, pixels=shrunk(picture.pixels), alpha=alpha, exif=b"", xmp=b"", dpi=None, encoding={})


def _preview(picture: Picture, path: Path, side: int) -> Path:
    """Write a small 8-bit version that browsers show in the same colours. Returns its path, with an extension."""
    path = path.with_name(path.name + (".jpg" if picture.alpha is None else ".webp"))
    write_picture(path, _shrunk(picture, side), quality=90)
    return path
