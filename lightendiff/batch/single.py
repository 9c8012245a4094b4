"""One file, restored to another one."""

from __future__ import annotations

import os
from typing import Any

from ..files import storage
from ..files.locations import RemotePath, located
from ..images import FORMATS, MAX_PIXELS, ImageError, read_picture, shown
from ..pipeline import LightenPipeline, shipped
from .run import restored, write


def restore_file(
    source: str | os.PathLike[str] | RemotePath,
    target: str | os.PathLike[str] | RemotePath,
    pipe: LightenPipeline | None = None,
    *,
    format: str | None = None,
    quality: int | None = None,
    compare: bool = False,
    max_pixels: int = MAX_PIXELS,
    **options: Any,
) -> tuple[str, ...]:
    """Restore a picture file, as the command does: with its bit depth, alpha, colour profile and metadata, upright.

    Args:
        source: file or address of any format that `read_picture` reads.
        target: file or address to write, whose folder is made where it's missing. It appears only when whole, and
            replaces one that is there.
        pipe: None for the weights of the package, loaded at the first call.
        format: "jpg", "png", "tif" and so on; None for what the target's name says, else the source's format.
        quality: 1 to 100, of JPEG, WebP, HEIC and AVIF; None for the source's, else 95, or what looks as good.
        compare: write dark and restored side by side.
        max_pixels: larger pictures are refused.
        options: of `LightenPipeline.bind`: `strength`, `exposure`, `num_inference_steps`, `seed`, `tile`, `progress`, …

    Returns:
        Notes on what reading had to change and the target's format couldn't hold.

    Raises:
        ImageError: the source can't be read, the target can't be written or is the source. It is a ValueError; the
            message is one line that names the file. Nothing is left.
        ValueError, TypeError: an option is out of its range, or there is none of its name.
    """
    if format is not None and f".{format.lower()}" not in FORMATS:
        raise ValueError(f"format: expected the end of a picture's name, such as jpg or png, got {format!r}")
    output = located(target)
    if output in storage.present([output]) and storage.kind(output) == "folder":
        raise ImageError(f"{shown(target)}: expected a file to write, got a folder")
    restore = (shipped() if pipe is None else pipe).bind(**options)
    picture = read_picture(source, max_pixels=max_pixels)
    if storage.identity(output) == storage.identity(located(source)):
        raise ImageError(f"{shown(target)}: expected another file than the input, which is never overwritten")
    return write(output, restored(picture, restore, compare), format and format.lower(), quality)
