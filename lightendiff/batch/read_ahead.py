"""Reading pictures in threads before they are restored, singly or several of a size, and never too many of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import islice
from threading import Lock

from ..files.locations import Location
from ..images import Picture
from ..images.working import is_converted
from .plan import Job
from .threads import Readers

Read = tuple[Job, "Future[Picture]"]

AHEAD = 2  # pictures read before, and written after, the one being restored
MOST_TOGETHER, _PIXELS_TOGETHER = 16, 2048**2
_PIXELS_AHEAD = 4 * _PIXELS_TOGETHER  # more than pictures of equal size ever need


class _NoRoom(Exception):
    """A picture wasn't read, since enough pixels wait to be restored."""


class Reader:
    """Reads pictures in threads. Where many pixels wait to be restored, it begins with none but the next few pictures.

    Their size isn't known before, so that a thread may read one that is too large, but no second one.
    """

    def __init__(self, threads: Readers, read: Callable[[Location], Picture]) -> None:
        self._threads, self._read_one = threads, read
        self._waiting, self._lock = 0, Lock()  # pixels

    def read(self, job: Job, place: int) -> Read:
        """`place`: how many are to be restored before it. If those leave no room for it, the error is _NoRoom."""
        return job, self._threads.submit(partial(self._read, job, place))

    def again(self, read: Read, place: int) -> Read:
        """The same, or tried once more if there was no room; the first is waited for, the others aren't."""
        there_was_none = (place == 0 or read[1].done()) and isinstance(read[1].exception(), _NoRoom)
        return self.read(read[0], place) if there_was_none else read

    def waiting(self, size: tuple[int, ...], more: int) -> None:
        """So many more pictures of that height and width wait to be restored, fewer if it's negative."""
        with self._lock:
            self._waiting += more * size[0] * size[1]

    def _read(self, job: Job, place: int) -> Picture:
        if place > AHEAD and self._waiting > _PIXELS_AHEAD:
            raise _NoRoom
        picture = self._read_one(job.source)
        self.waiting(picture.pixels.shape, 1)
        return picture


def read_ahead(jobs: Sequence[Job], reader: Reader, together: bool) -> Iterator[list[Read]]:
    """Pictures as they are read, singly or `together` with others of their size that come soon after."""
    waiting: deque[Read] = deque()
    remaining, ahead = iter(jobs), AHEAD
    while True:
        # After smaller pictures, more may be waiting than are read ahead of larger ones.
        for job in islice(remaining, max(0, ahead + 1 - len(waiting))):
            waiting.append(reader.read(job, len(waiting)))
        if not waiting:
            return
        waiting = deque(reader.again(each, place) for place, each in enumerate(waiting))
        batch = [waiting.popleft()]
        size = _size(batch[0])
        if together and size:
            count = max(1, min(MOST_TOGETHER, _PIXELS_TOGETHER // (size[0] * size[1])))
            batch += list(islice((each for each in tuple(waiting) if _size(each) == size), count - 1))
            waiting = deque(each for each in waiting if each not in batch)
            ahead = max(AHEAD, 2 * count)
        if size:
            reader.waiting(size, -len(batch))
        yield batch


def _size(read: Read) -> tuple[int, ...] | None:
    """Height, width, channels and bits of what is restored of a picture, once it's read; None if it can't be."""
    if read[1].exception() is not None:
        return None
    picture = read[1].result()
    pixels = picture.pixels
    return *pixels.shape, 2 if is_converted(picture.icc_profile, pixels.shape[2]) else pixels.itemsize
