"""The bar of a run over pictures, which are restored, and written while the next ones are."""

from __future__ import annotations

from types import TracebackType

from ..runtime.bar import Bar


class PictureBar:
    """A bar of `total` pictures, which is there as long as the context is."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done, self._written_later, self._share = 0, 0, 0.0

    def __enter__(self) -> PictureBar:
        self._bar = Bar(self._total)
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
        self._bar.at(self._done + self._written_later + self._share)
