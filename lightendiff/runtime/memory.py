"""How much memory there is, how much a picture takes, and the windows that follow from both.

What a picture takes was measured on a CPU (benchmarks/RESULTS.md) and is meant to be an upper bound.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import psutil
import torch

from ..models.presets import RestorerConfig
from ..tiling import largest_window, smallest_side

WINDOW = 2048  # pixels to a side: without a limit of memory, larger pictures are restored in windows of so many pixels

_OVERHEAD = 100 * 2**20  # whatever the size
_PICTURE = 64  # bytes a pixel: the picture itself, restored, and others of its size being read and written
_UNLIMITED_CONTEXT = 160  # a pixel, where the UNet sees the whole picture
_SHARE = 0.75  # of what is free: others need memory, too

_CONTROLLERS = {  # by the version of control groups: limit, use, and what of that the system can take back
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


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
        sides = range(max(height, width), smallest, -config.multiple)
        fitting = (s for s in sides if largest_window(height, width, s, config.halo, config.multiple) <= pixels)
        side = next(fitting, smallest)
    each = needed(config, 1, height, width, side) - _OVERHEAD
    return int(max(1, min(count, (budget - _OVERHEAD) // each))), side


def budget(device: torch.device) -> float:
    """Bytes that restoring may take where no limit is given: most of what is free."""
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return _SHARE * (torch.cuda.mem_get_info(device)[0] + reserved)
    groups = _control_group_rooms(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    room: float = min([psutil.virtual_memory().available, *groups])
    return _SHARE * room / int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


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


def _control_group_rooms(groups: Path, root: Path) -> list[int]:
    """What the limits of this process's control groups, those of a container for example, leave to it."""
    rooms = []
    with contextlib.suppress(OSError):
        for line in groups.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            base, names = (root / "memory", _CONTROLLERS[1]) if controllers else (root, _CONTROLLERS[2])
            own = base / path.strip("/")
            for folder in (own, *(above for above in own.parents if above.is_relative_to(base))):
                with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                    limit, used = (int((folder / name).read_text()) for name in names[:2])
                    cache = re.search(rf"^{names[2]} (\d+)", (folder / "memory.stat").read_text(), re.MULTILINE)
                    rooms.append(limit - used + (int(cache[1]) if cache else 0))
    return rooms
