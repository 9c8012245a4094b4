"""A bar over pictures that moves within them, too."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm.auto import tqdm

from ..progress import Progress

_FORMAT = "{percentage:3.0f}%|{bar}| {desc}[{elapsed}<{remaining}, {rate_fmt}]"


class Bar:
    """A bar of `total` pictures, on standard error where that is a terminal; `options` are tqdm's."""

    def __init__(self, total: int, **options: Any) -> None:
        usual = {"unit": "image", "disable": None, "file": sys.stderr, "bar_format": _FORMAT, "desc": f"0/{total} "}
        # Without `miniters`, tqdm learns how many steps lie between two drawings, and would pass over shares of one.
        self._total, self._bar = total, tqdm(total=total, miniters=0, **{**usual, **options})

    def at(self, position: float) -> None:
        """So many pictures are done, shares included."""
        position = min(self._total, position)
        self._bar.set_description_str(f"{int(position)}/{self._total} ", refresh=False)
        self._bar.update(max(0.0, position - self._bar.n))

    def close(self) -> None:
        self._bar.close()


@contextmanager
def shown(total: int, progress: Progress | None, options: dict[str, Any]) -> Iterator[Progress | None]:
    """What to report to, so that it's told to `progress` and drawn: for several pictures, if they take a second."""
    if total < 2:
        yield progress
        return
    bar = Bar(total, **{"delay": 1, "leave": False, **options})

    def told(share: float) -> None:
        bar.at(share * total)
        if progress is not None:
            progress(share)

    try:
        yield told
    finally:
        bar.close()
