"""Standard output and error that never end a run: what can't be printed there is lost, and nothing else."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, cast


class Quiet:
    """A text stream whose failures to print pass unmentioned. All else, `buffer` among it, is the stream's own."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
            return len(text)
        self._give_up()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._give_up()

    def _give_up(self) -> None:
        """Python flushes once more when it ends, and what is still held would fail there again, with an exit code."""
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def never_fail() -> None:
    """Have the process's streams do so; those that are closed become the null device.

    Its numbers are taken in either case, so that no file that is opened later gets the messages of native libraries.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # noqa: PERF203 - there are three
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for as long as the process
        elif isinstance(stream, io.TextIOWrapper):
            # ΔE isn't in every code page, and no result is lost for that
            stream.reconfigure(errors="replace" if name == "stdout" else "backslashreplace")
            setattr(sys, name, cast(Any, Quiet(stream)))
