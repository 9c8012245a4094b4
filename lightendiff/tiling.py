"""Cutting pictures that are too large to be processed at once into windows that overlap.

A window is a tile's core and a halo around it, as wide as what the networks see of their neighbourhood. Only the core
of what is calculated from a window is kept, so that no seam can be seen, and none can be measured either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

_MANY = 64  # tiles along a side, some of which lie far from both ends


@dataclass(frozen=True)
class Span:
    """Along one side of a picture: the core [start, stop) and the window [first, last) around it."""

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True)
class Tile:
    """Where a tile lies, as slices for the last two dimensions of (…, h, w).

    Attributes:
        rows, columns: its spans.
    """

    rows: Span
    columns: Span

    def window(self, scale: int = 1) -> tuple[slice, slice]:
        """The window, in a map of the picture that is `scale` times smaller than it."""
        return tuple(slice(span.first // scale, span.last // scale) for span in (self.rows, self.columns))  # type: ignore[return-value]

    def core(self, scale: int = 1) -> tuple[slice, slice]:
        """The core, in such a map."""
        return tuple(slice(span.start // scale, span.stop // scale) for span in (self.rows, self.columns))  # type: ignore[return-value]

    def inner(self, scale: int = 1) -> tuple[slice, slice]:
        """The core, in such a map of the window."""
        return tuple(  # type: ignore[return-value]
            slice((span.start - span.first) // scale, (span.stop - span.first) // scale)
            for span in (self.rows, self.columns)
        )


def smallest_side(halo: int, multiple: int) -> int:
    """Pixels to a side of the smallest window that has room for a core between its halos."""
    return 2 * halo + multiple


def largest_window(height: int, width: int, side: int | None, halo: int, multiple: int) -> int:
    """Pixels of the largest window that `split` makes. Tiles are alike, so that it may have far fewer than `side`²."""
    return _longest(height, side, halo, multiple) * _longest(width, side, halo, multiple)


def pixels_in_windows(height: int, width: int, side: int | None, halo: int, multiple: int) -> int:
    """Pixels of all windows that `split` makes, or a few more: those near the picture's edge are taken for whole."""
    rows, columns = (length + 2 * halo * (_count(length, side, halo, multiple) - 1) for length in (height, width))
    return rows * columns


def split(height: int, width: int, side: int | None, halo: int, multiple: int) -> list[Tile]:
    """Tiles that cover a picture once, with windows of at most `side` pixels to a side.

    Args:
        height, width: of the picture, multiples of `multiple`.
        side: largest window; None for a single tile, whatever the size.
        halo: pixels around a core, a multiple of `multiple`.
        multiple: all borders lie on multiples of this.

    Raises:
        ValueError: `side` leaves no room for a core between its halos.
    """
    smallest = smallest_side(halo, multiple)
    if side is not None and side < smallest:
        raise ValueError(f"tile: expected at least {smallest} pixels, twice the halo and a core, got {side}")
    spans = [list(_spans(length, side, halo, multiple)) for length in (height, width)]
    return [Tile(rows, columns) for rows, columns in product(*spans)]


def _count(length: int, side: int | None, halo: int, multiple: int) -> int:
    """Tiles along a side of a picture."""
    if side is None or length <= side:
        return 1
    return -(-(length // multiple) // ((side - 2 * halo) // multiple))


def _spans(length: int, side: int | None, halo: int, multiple: int) -> Iterator[Span]:
    units, count = length // multiple, _count(length, side, halo, multiple)
    for i in range(count):
        start, stop = (multiple * (units * k // count) for k in (i, i + 1))
        yield Span(start, stop, max(0, start - halo), min(length, stop + halo))


def _longest(length: int, side: int | None, halo: int, multiple: int) -> int:
    """The longest window of these spans."""
    count = _count(length, side, halo, multiple)
    if count <= _MANY:
        return max(span.last - span.first for span in _spans(length, side, halo, multiple))
    core, more = divmod(length // multiple, count)
    return multiple * (core + (more > 1)) + 2 * halo  # a single longer core is the last one, with one halo
