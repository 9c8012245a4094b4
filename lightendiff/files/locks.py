"""What only one process at a time may write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from .locations import shown


@contextmanager
def only_one(target: Path, lock: Path | None = None) -> Iterator[None]:
    """Around what writes a target bit by bit: a second one is refused meanwhile, in this process or another.

    Args:
        target: the file.
        lock: a file that marks it, in an existing folder; by default a hidden one beside the target. It is removed in
            the end. The system lets go of it when a process is killed.

    Raises:
        BlockingIOError: another one is at it.
    """
    lock = target.with_name(f".{target.name}.lock") if lock is None else lock
    held = FileLock(lock)
    try:
        held.acquire(blocking=False)
    except Timeout as error:
        raise BlockingIOError(f"{shown(target)}: another run is writing it") from error
    except (OSError, NotImplementedError):  # a file system without locks, or a folder that can't be written to
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()  # before it's free, or another one's could be removed
        held.release()
