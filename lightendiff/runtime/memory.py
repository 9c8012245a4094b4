"""How much memory there is, how much a picture takes, and the windows that follow from both.

What a picture takes was measured on a CPU (benchmarks/RESULTS.md) and is meant to be an upper bound.
"""

from __future__ import annotations

import psutil
import torch

from ..limits import check_work, free_memory, processes_here
from ..models.presets import RestorerConfig
from ..tiling import largest_window, pixels_in_windows, smallest_side

WINDOW = 2048  # pixels to a side: without a limit of memory, larger pictures are restored in windows of so many pixels

_OVERHEAD = 100 * 2**20  # whatever the size
_PICTURE = 64  # bytes a pixel: the picture itself, restored, and others of its size being read and written
_UNLIMITED_CONTEXT = 160  # a pixel, where the UNet sees the whole picture
_SHARE = 0.75  # of what is free: others need memory, too


def needed(config: RestorerConfig, count: int, height: int, width: int, side: int | None) -> int:
    """Bytes that restoring takes beside the loaded networks: `count` pictures in windows of at most `side` pixels."""
    height, width = _padded(config, height, width)
    window = largest_window(height, width, side, config.halo, config.multiple)
    return _OVERHEAD + count * (
        _picture_bytes(config) * height * width + config.autoencoder.window_bytes(config) * window
    )


def fit(
    config: RestorerConfig, count: int, height: int, width: int, budget: float, largest: float = WINDOW**2
) -> tuple[int, int | None]:
    """How many of `count` pictures to restore at a time, and the side of the windows; None for whole pictures.

    Args:
        budget: bytes to keep to. Where they don't suffice, it's one picture in the smallest windows there can be.
        largest: pixels that a window may have, however much memory there is.
    """
    height, width = _padded(config, height, width)
    room = (budget - _OVERHEAD - _picture_bytes(config) * height * width) / config.autoencoder.window_bytes(config)
    pixels, side = min(room, largest), None
    if pixels < height * width:
        smallest = smallest_side(config.halo, config.multiple)
        # Tiles are alike, so that a window may be half as long as `side`, and no shorter.
        longest = min(max(height, width), int(2 * max(pixels, 1) // min(height, width, smallest)) + smallest)
        longest -= longest % config.multiple
        sides = range(longest, smallest, -config.multiple)
        fitting = (s for s in sides if largest_window(height, width, s, config.halo, config.multiple) <= pixels)
        side = next(fitting, smallest)
    each = needed(config, 1, height, width, side) - _OVERHEAD
    return int(max(1, min(count, (budget - _OVERHEAD) // each))), side


def check(
    height: int,
    width: int,
    *,
    config: RestorerConfig,
    tile: int | None,
    max_memory: float | None,
    held: int,
    free: float,
    max_pixels: int,
) -> None:
    """See that a picture can be restored at all, in windows of `tile` pixels or else in the smallest.

    Args:
        tile, max_memory: as the pipeline's.
        held: bytes that count as taken where there is a `max_memory`.
        free: bytes that may be taken where there is none.
        max_pixels: of a picture; with borders and padding it may be as much work as twice that.

    Raises:
        ValueError: it takes more; the message names the limit and what raises it.
    """
    most = free if max_memory is None else 1e9 * max_memory - held
    side = fit(config, 1, height, width, most)[1] if tile is None else tile
    least = needed(config, 1, height, width, side)
    if least > most and max_memory is not None:
        least += held
        raise ValueError(
            f"max_memory: expected at least {least / 1e9:.2f} GB for a picture of {width}×{height}, got {max_memory:g}"
        )
    if least > most:
        way = "max_memory (--max-memory) takes more" if tile is None else "a smaller tile (--tile) takes less"
        raise ValueError(
            f"a picture of {width}×{height} takes about {least / 1e9:.2f} GB of memory, and {free / 1e9:.2f} GB are "
            f"free; {way}"
        )
    rows, columns = _padded(config, height, width)
    check_work(width, height, pixels_in_windows(rows, columns, side, config.halo, config.multiple), max_pixels)


def free(device: torch.device) -> float:
    """Bytes that restoring may take at the very most: what is free."""
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reserved
    return free_memory() / processes_here()


def budget(device: torch.device) -> float:
    """Bytes that restoring may take where no limit is given: most of what is free."""
    return _SHARE * free(device)


def held(device: torch.device) -> int:
    """Bytes of a GPU's memory that PyTorch holds, or else of the machine's that this process does."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    resident: int = psutil.Process().memory_info().rss
    return resident


def _padded(config: RestorerConfig, *lengths: int) -> list[int]:
    return [-(-length // config.multiple) * config.multiple for length in lengths]


def _picture_bytes(config: RestorerConfig) -> int:
    return _PICTURE + (_UNLIMITED_CONTEXT if config.context is None else 0)
