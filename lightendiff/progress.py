"""How far restoring has come, told after every unit of work, and ending it there."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float], object]


class Stopped(Exception):
    """To be raised by a `progress` function: it ends the call it was given to, and reaches the caller as it is."""


class Work:
    """What is done of work, in units of about equal time.

    Args:
        total: units.
        report: called with the share that is done, in (0, 1], and in the end with 1; None for nobody.
    """

    def __init__(self, total: int, report: Progress | None) -> None:
        self.total, self.done, self._report = total, 0, report

    def add(self, units: int) -> None:
        """So many more are done."""
        self.done += units
        if self._report is not None:
            self._report(self.done / self.total)


class Rising:
    """Several works after each other as one: what is reported never falls, also where one of them is begun again.

    Args:
        report: as `Work`'s.
        total: of the sizes of all works.
    """

    def __init__(self, report: Progress, total: int) -> None:
        self._report, self._total = report, total
        self._before, self._last = 0, 0.0

    def part(self, size: int) -> Progress:
        """What the next work is to report to; `size` is its share of the total."""
        before = self._before
        self._before += size

        def report(share: float) -> None:
            self._last = max(self._last, (before + size * share) / self._total)
            self._report(self._last)

        return report
