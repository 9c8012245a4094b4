"""A sheet of a picture at several exposures, to choose one from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from ..diffusion.options import MAX_EXPOSURE
from ..evaluation.contact_sheet import Tile, contact_sheet
from ..images import Picture
from ..images.working import working
from ..images.writing import rounded
from ..pipeline import BoundPipeline

STOPS = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)  # from the exposure that is asked for
SIDE = 768  # pixels to which the picture is shrunk before: what the UNet sees of a larger one, too
COLUMNS = 4
TILE = 400  # pixels to a side of each on the sheet
LABEL = 200  # that its label takes


def preview(picture: Picture, restore: BoundPipeline) -> Picture:
    """A JPEG of the dark picture and what `restore` makes of it at exposures around its own, each with the option that
    makes it. In sRGB, without metadata.

    Raises what the pipeline raises.
    """
    dark = _shrunk(working(picture.pixels, picture.alpha, picture.icc_profile).given)
    exposures = exposures_around(restore.sampling.exposure)
    light = restore.pipe.restore(
        [dark] * len(exposures),
        restore.sampling,
        exposures=exposures,
        seed=restore.seed,
        tile=restore.tile,
        max_memory=restore.max_memory,
        progress=restore.progress,
    )
    labels = [f"--exposure {stops:g}" + ("" if stops else " (automatic)") for stops in exposures]
    return Picture(sheet([dark, *light], ["dark", *labels]), format="JPEG")


def exposures_around(stops: float) -> list[float]:
    """Those to choose from, rising, within what there is."""
    return sorted({max(-MAX_EXPOSURE, min(MAX_EXPOSURE, round(stops + each, 3))) for each in STOPS})


def sheet(pictures: Sequence[np.ndarray], labels: Sequence[str]) -> np.ndarray:
    """Pictures (h, w, 1 or 3) of one size, uint8 or uint16, in rows, each with its label below: (H, W, 3) uint8."""
    height, width = pictures[0].shape[:2]
    scale = min(1.0, TILE / max(height, width))
    size = max(LABEL, round(width * scale)), max(1, round(height * scale))
    tiles = [Tile(_eight_bits(pixels), label) for pixels, label in zip(pictures, labels, strict=True)]
    rows = [tiles[i : i + COLUMNS] for i in range(0, len(tiles), COLUMNS)]
    return contact_sheet(rows, size=size)


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    pixels = rounded(pixels) if pixels.dtype == np.uint16 else pixels
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _shrunk(pixels: np.ndarray) -> np.ndarray:
    """At most `SIDE` pixels to a side, by means over areas, as the UNet is shown larger pictures."""
    scale = SIDE / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = [max(1, round(length * scale)) for length in pixels.shape[:2]]
    planes = [torch.from_numpy(plane.astype(np.float32))[None, None] for plane in np.moveaxis(pixels, 2, 0)]
    small = [F.interpolate(plane, size=size, mode="area")[0, 0].round().numpy() for plane in planes]
    return np.stack(small, axis=2).astype(pixels.dtype)
