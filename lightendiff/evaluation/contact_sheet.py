"""Contact sheets: pictures in a labelled grid, as one image to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..images import Picture, write_picture

_BACKGROUND = (38, 38, 38)  # dark enough to judge dark pictures against, light enough to see where they end
_TEXT = (225, 225, 225)
_GAP = 8  # pixels around every picture
_TEXT_SIZE = 14
_LINE = 20  # pixels


@dataclass(frozen=True)
class Tile:
    """A picture (h, w, 3) uint8 and the line of text below it.

    Pillow's default font draws it, which has ASCII and Latin-1 but no Greek and no arrows.
    """

    pixels: np.ndarray
    label: str = ""

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype != np.uint8:
            raise ValueError(f"pixels: expected (h, w, 3) uint8, not empty, got {shape} {dtype}")


def contact_sheet(
    rows: Sequence[Sequence[Tile]],
    *,
    headings: Sequence[str] = (),
    size: tuple[int, int] = (320, 320),
) -> np.ndarray:
    """Pictures in rows, each shrunk to fit and labelled, under a line of column headings.

    Args:
        rows: may differ in length; what is missing stays empty.
        headings: one for each column, or none.
        size: largest (width, height) of a picture on the sheet; smaller ones are not enlarged.

    Returns:
        (H, W, 3) uint8; W = columns · (width + 8) + 8.

    Raises:
        ValueError: no picture at all, more headings than columns, or a size below 1.
    """
    columns = max((len(row) for row in rows), default=0)
    if columns == 0:
        raise ValueError("rows: expected at least one picture, got none")
    if len(headings) > columns:
        raise ValueError(f"headings: expected at most {columns} (the columns), got {len(headings)}")
    if min(size) < 1:
        raise ValueError(f"size: expected (width, height) of at least 1, got {size}")
    grid = [[(_shrunk(tile.pixels, size), tile.label) for tile in row] for row in rows]
    lines = [_LINE if any(label for _, label in row) else 0 for row in grid]
    heights = [max((picture.height for picture, _ in row), default=0) for row in grid]
    top = _GAP + (_LINE if headings else 0)
    pitch = size[0] + _GAP
    canvas = (columns * pitch + _GAP, top + sum(heights) + sum(lines) + _GAP * len(grid))
    sheet = Image.new("RGB", canvas, _BACKGROUND)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT_SIZE)
    for column, heading in enumerate(headings):
        pen.text((_GAP + column * pitch, _GAP), _fitted(heading, font, size[0]), font=font, fill=_TEXT)
    for row, height, line in zip(grid, heights, lines, strict=True):
        for column, (picture, label) in enumerate(row):
            left = _GAP + column * pitch
            sheet.paste(picture, (left, top))
            # Directly below its own picture, whose neighbours may be taller.
            pen.text((left, top + picture.height + 2), _fitted(label, font, size[0]), font=font, fill=_TEXT)
        top += height + line + _GAP
    return np.asarray(sheet)


def save_sheet(path: str | Path, sheet: np.ndarray, quality: int = 90) -> None:
    """Write a sheet (H, W, 3) uint8 as `write_picture` does, making the folder if it is missing."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, Picture(sheet), quality=quality)


def _shrunk(pixels: np.ndarray, size: tuple[int, int]) -> Image.Image:
    height, width = pixels.shape[:2]
    scale = min(1.0, size[0] / width, size[1] / height)
    picture = Image.fromarray(pixels)
    if scale == 1.0:
        return picture
    return picture.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.LANCZOS)


def _fitted(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """`text`, or as much of its beginning as is at most `width` pixels wide."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…" if text else ""
