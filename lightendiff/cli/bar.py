"""The bar of a run over pictures, which moves within a picture, too."""

from __future__ import annotations

import sys
from types import TracebackType

from tqdm import tqdm

_FORMAT = "{percentage:3.0f}%|{bar}| {desc}[{elapsed}<{remaining}, {rate_fmt}]"


class PictureBar:
    """A bar on standard error, where that is a terminal, of `total` pictures. It is there as a context manager."""

    def __init__(self, total: int) -> None:
        self._total, self._bar = total, tqdm(disable=True)
        self._done, self._written_later, self._share = 0, 0, 0.0

    def __enter__(self) -> PictureBar:
        # Without `miniters`, tqdm learns how many steps lie between two drawings, and would pass over shares of one.
        self._bar = tqdm(
            total=self._total,
            unit="image",
            disable=None,
            file=sys.stderr,
            miniters=0,
            bar_format=_FORMAT,
            desc=f"0/{self._total} ",
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def within(self, share: float) -> None:
        """A picture is restored to that share; with 1, it is still to be written, and the next one may come."""
        whole = share == 1
        self._written_later += whole
        self._share = 0.0 if whole else share
        self._show()

    def done(self) -> None:
        """A picture is done with: written, or failed at any point."""
        self._done += 1
        self._written_later = max(0, self._written_later - 1)
        self._show()

    def _show(self) -> None:
        position = min(self._total, self._done + self._written_later + self._share)
        self._bar.set_description_str(f"{int(position)}/{self._total} ", refresh=False)
        self._bar.update(max(0.0, position - self._bar.n))
