"""Threads that read: what they wait for, a slow network for example, is never waited for at the end of the program."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


class Readers:
    """A few threads that run tasks in their order. Python's own pools are joined when the program ends."""

    def __init__(self, count: int) -> None:
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._count = count
        for number in range(count):
            Thread(target=self._run, name=f"reader-{number}", daemon=True).start()

    def submit(self, task: Callable[[], Result]) -> Future[Result]:
        future: Future[Result] = Future()
        self._tasks.put((future, task))
        return future

    def stop(self) -> None:
        """Begin no further task; those that were submitted are cancelled."""
        with suppress(Empty):
            while entry := self._tasks.get_nowait():
                entry[0].cancel()
        for _ in range(self._count):
            self._tasks.put(None)

    def _run(self) -> None:
        while entry := self._tasks.get():
            future, task = entry
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = task()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
                del result  # or the picture would stay until the next one comes
            del future, task, entry
