"""What a file may cost, in bytes, pixels, memory and work: the limits, what is free, and what raises which.

What a file's header says is held against them before anything is decoded or allocated.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import psutil

MAX_PIXELS = 300_000_000  # larger pictures are taken for decompression bombs; the largest phone cameras make 200 MP
MAX_BYTES = 500_000_000  # of a file
MAX_UNKNOWN = 100_000_000  # of a file whose header isn't understood
MAX_FRAME = 100_000_000  # pixels of a video's frame; 8K has 33 million
BYTES_A_PIXEL = 8  # of a file, where so many pixels make it larger than that: RGBA of 16 bit
WORK = 2  # times the limit of pixels that the networks may see, with padding and the borders of windows

_CONTROLLERS = {  # by the version of control groups: limit, use, and what of that the system can take back
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
_LITTLE = 2**28  # bytes for which it isn't asked how much memory is free


class TooLarge(ValueError):
    """What something takes is over a limit; the message is one line that names the limit."""


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """TooLarge if there are more than max_pixels."""
    if width * height > max_pixels:
        raise TooLarge(
            f"{width}×{height} is more than the limit of {max_pixels:,} pixels; "
            "--max-megapixels (max_pixels) raises it for files you trust"
        )


def most_bytes(pixels: int) -> int:
    """Of a file that has so many pixels, where no other limit is given."""
    return max(MAX_BYTES, BYTES_A_PIXEL * pixels)


def check_bytes(size: int, max_bytes: int) -> None:
    """TooLarge if a file of `size` bytes is larger than that."""
    if size > max_bytes:
        raise TooLarge(
            f"a file of {size / 1e6:,.0f} MB is more than the limit of {max_bytes / 1e6:,.0f} MB; "
            "--max-megabytes (max_bytes) raises it"
        )


def check_memory(width: int, height: int, needed: int) -> None:
    """TooLarge if decoding a picture takes more memory than is free."""
    if needed > _LITTLE and needed > (free := free_memory()):
        raise TooLarge(
            f"{width}×{height} takes about {needed / 1e9:.1f} GB of memory to decode, and {free / 1e9:.1f} GB are free"
        )


def check_work(width: int, height: int, seen: int, max_pixels: int = MAX_PIXELS) -> None:
    """TooLarge if the networks would see many more pixels than a picture of the largest size has.

    So they do where it's thin, since it's padded, and in small windows, where borders are most of what they see.
    """
    if seen > WORK * max_pixels:
        raise TooLarge(
            f"{width}×{height}, with padding and the borders of windows, is work for {seen:,} pixels, more than the "
            f"limit of {WORK * max_pixels:,}; larger windows (--tile, --max-memory) lower it, --max-megapixels raises "
            "the limit"
        )


def free_memory() -> float:
    """Bytes of the machine's memory that this process may still take: what is free, and what its container leaves."""
    groups = _control_group_rooms(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    room: float = min([psutil.virtual_memory().available, *groups])
    return room


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


def processes_here() -> int:
    """How many that share the work run on this machine, as torchrun says it."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
