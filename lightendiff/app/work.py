"""Work for the pages of the app: each in a thread of its own, in turn with the others', until it's done or stopped."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Condition, Event, Thread
from typing import Any

from ..progress import Stopped

REPORTS = 0.1  # seconds between two reports of progress, at least
BEAT = 0.5  # seconds without a report after which `reported` yields all the same, so that its reader may leave

_running: set[Job] = set()
_UNWANTED = "unwanted"


class Turns:
    """Lets one at a time work. Users come in turn, however many jobs each of them waits with."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: dict[str, deque[object]] = {}  # users in the order in which they come, what each waits with
        self._taken = False

    def take(self, user: str, check: Callable[[], object]) -> None:
        """Wait for a turn and have it, until `give`. What `check` raises, which is called meanwhile, ends the wait."""
        ticket = object()
        with self._changed:
            self._waiting.setdefault(user, deque()).append(ticket)
            try:
                while self._taken or next(iter(self._waiting)) != user or self._waiting[user][0] is not ticket:
                    check()
                    self._changed.wait(REPORTS)
                self._taken = True
            finally:
                others = self._waiting.pop(user)
                others.remove(ticket)
                if others:
                    self._waiting[user] = others  # behind the other users
                self._changed.notify_all()

    def give(self) -> None:
        """Let the next one have its turn."""
        with self._changed:
            self._taken = False
            self._changed.notify_all()


class Job:
    """One piece of work for a user.

    Args:
        turns: shared with the other jobs.
        user: whose it is.
        seconds: how long it may work, without the time that it waits for its turns.
    """

    def __init__(self, turns: Turns, user: str, seconds: float) -> None:
        self.turns, self.user, self.seconds = turns, user, seconds
        self.ended = Event()
        self._worked = 0.0
        self._since: float | None = None  # when the turn that it has began
        self._why: str | None = None
        self._reported = -REPORTS
        self._put: Callable[[object], None] = lambda value: None

    def stop(self, why: str = "Stopped.") -> None:
        """Have the next `check` raise Stopped(why); what came first stays the reason."""
        self._why = self._why or why

    @property
    def unwanted(self) -> bool:
        """Whether nobody wants what is done of it: the user has started another in its place, or the page is gone."""
        return self._why == _UNWANTED

    @property
    def worked(self) -> float:
        """Seconds of its turns."""
        return self._worked + (0.0 if self._since is None else time.monotonic() - self._since)

    def check(self) -> None:
        """Raise Stopped when it was stopped, or has worked for as long as it may."""
        if self._why is None and self.worked > self.seconds:
            self.stop(f"Stopped after {duration(self.seconds)}, the limit for one job.")
        if self._why is not None:
            raise Stopped(self._why)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Nobody else works meanwhile. Raises Stopped as `check` does."""
        self._take()
        try:
            yield
        finally:
            self._give()

    def pass_on(self) -> None:
        """In a turn: let the others have theirs first, and go on."""
        self._give()
        self._take()

    def _take(self) -> None:
        self.check()
        self.turns.take(self.user, self.check)
        self._since = time.monotonic()

    def _give(self) -> None:
        if self._since is not None:  # else it was stopped while it waited
            self._worked, self._since = self.worked, None
            self.turns.give()

    def report(self, value: object) -> None:
        """Tell the page what has come of it."""
        self._put(value)

    def progress(self, value: object) -> None:
        """Tell the page how far it is, unless it was told just before, and `check`. To be called often."""
        self.check()
        if time.monotonic() - self._reported >= REPORTS:
            self._reported = time.monotonic()
            self._put(value)


class Jobs:
    """The jobs of all users, of whom each has at most one in each place of the page."""

    def __init__(self, seconds: float) -> None:
        self._turns, self._seconds = Turns(), seconds
        self._placed: dict[tuple[str, str], Job] = {}

    def start(self, user: str, place: str = "") -> Job:
        """A new job, which takes the place of the one that is there. Without a place there may be any number."""
        job = Job(self._turns, user, self._seconds)
        if place:
            self.stop(user, place, _UNWANTED)
            self._placed = {key: each for key, each in self._placed.items() if not each.ended.is_set()}
            self._placed[user, place] = job
        return job

    def stop(self, user: str, place: str, why: str = "Stopped.") -> bool:
        """Stop the job there. Returns whether there is one."""
        job = self._placed.pop((user, place), None)
        if job is None or job.ended.is_set():
            return False
        job.stop(why)
        return True


async def reported(job: Job, work: Callable[[Job], object]) -> AsyncGenerator[Any, None]:
    """Run work(job) in a thread; yield what it reports, and None now and then; in the end raise what it raised.

    Closing the iterator stops the job.
    """
    loop, reports = asyncio.get_running_loop(), asyncio.Queue[Any]()
    end, errors = object(), list[Exception]()

    def put(value: object) -> None:
        with suppress(RuntimeError):  # the loop has ended, and nobody reads any more
            loop.call_soon_threadsafe(reports.put_nowait, value)

    def run() -> None:
        try:
            work(job)
        except Exception as error:
            errors.append(error)
        finally:
            _running.discard(job)
            job.ended.set()
            put(end)

    job._put = put
    _running.add(job)
    Thread(target=run, name="job").start()
    try:
        while True:
            try:
                value = await asyncio.wait_for(reports.get(), BEAT)
            except asyncio.TimeoutError:
                value = None
            if value is end:
                break
            yield value
    finally:
        if not job.ended.is_set():
            job.stop(_UNWANTED)
    if errors:
        raise errors[0]


def end_jobs() -> None:
    """Stop all jobs, and wait until they have ended: Python itself would wait for all of their work."""
    for job in list(_running):
        job.stop("The app was ended.")
        job.ended.wait()


def duration(seconds: float) -> str:
    """For people: 8 s, 3 min, 2 h 5 min."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min".replace(" 0 min", "")
