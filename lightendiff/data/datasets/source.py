"""What every source of pictures answers, and a mixture of several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..pictures import Sample, Stored, check_sizes, listing, make_sample, read_pictures


class Source(ABC):
    """Base of all sources."""

    validates = True  # whether `pair` gives pairs that a restored picture can be compared with
    weight = 1.0  # how often a mixture draws from it, beside the weights of the other sources

    @abstractmethod
    def load(self) -> None:
        """Decode and check the files; does nothing the second time.

        Raises:
            OSError, ValueError: what is there can't be used; the message names the files.
        """

    @abstractmethod
    def __len__(self) -> int:
        """Number of pairs, after `load`."""

    @abstractmethod
    def pair(self, index: int) -> Sample:
        """Pair `index`, from 0 to `len(self)` − 1, of a fixed order, whole."""

    def draw(self, rng: np.random.Generator) -> Sample:
        """A random sample; all pairs are equally likely unless the class says otherwise."""
        return self.pair(int(rng.integers(len(self))))

    def pairs(self) -> Iterator[Sample]:
        """All pairs, whole, in a fixed order."""
        return (self.pair(index) for index in range(len(self)))

    def files(self) -> set[Path]:
        """The files in use, resolved, after `load`."""
        return set()


class StoredPairs(Source):
    """Base of the sources whose pairs are two files each, dark and target."""

    _pairs: list[tuple[Stored, Stored]]

    @staticmethod
    def _read(dark: Sequence[Path], targets: Sequence[Path], cached: bool) -> list[tuple[Stored, Stored]]:
        """The files, decoded and checked, in pairs."""
        stored = read_pictures([*dark, *targets], cached, deep=True)
        pairs = list(zip(stored[: len(dark)], stored[len(dark) :], strict=True))
        check_sizes(pairs)
        return pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def pair(self, index: int) -> Sample:
        return make_sample(*self._pairs[index])

    def files(self) -> set[Path]:
        return {stored.path.resolve() for pair in self._pairs for stored in pair}


class Mixture(Source):
    """Several sources at once: each draw first picks one, with probability proportional to its weight.

    Args:
        sources: at least one.
        weights: one number ≥ 0 per source instead of their own `weight`; None takes those.
        weight: how often training draws from the mixture, beside the weights of the other sources.

    Raises:
        ValueError: no source, a weight below 0, weights that add up to 0, or weights in both places.
    """

    def __init__(self, sources: Sequence[Source], weights: Sequence[float] | None = None, weight: float = 1.0) -> None:
        own = [source.weight for source in sources]
        if weights is not None and any(each != 1 for each in own):
            raise ValueError(
                f"weights: expected null where the sources have a weight of their own ({own}), got {weights}"
            )
        weights = own if weights is None else list(weights)
        if not sources or len(weights) != len(sources):
            raise ValueError(
                f"weights: expected one entry for each of the {len(sources)} sources (≥ 1), got {len(weights)}"
            )
        if min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(f"weights: expected numbers ≥ 0 with a positive sum, got {weights}")
        self.sources, self.weights, self.weight = list(sources), weights, weight
        self._cumulative = np.cumsum(weights) / np.sum(weights)
        self.validates = all(source.validates for source in self.sources)

    def load(self) -> None:
        for source in self.sources:
            source.load()

    def __len__(self) -> int:
        return sum(len(source) for source in self.sources)

    def pair(self, index: int) -> Sample:
        for source in self.sources:
            if index < len(source):
                return source.pair(index)
            index -= len(source)
        raise IndexError(index)

    def draw(self, rng: np.random.Generator) -> Sample:
        chosen = int(np.searchsorted(self._cumulative, rng.random(), side="right"))
        return self.sources[min(chosen, len(self.sources) - 1)].draw(rng)

    def files(self) -> set[Path]:
        return set().union(*(source.files() for source in self.sources))


def excluded_names(exclude: Iterable[str | int], known: Iterable[str], where: object) -> set[str]:
    """`exclude` as strings. A name that occurs nowhere is an error: a typo must not let held-out pictures in."""
    names = {str(name) for name in exclude}
    if unknown := sorted(names - set(known)):
        raise ValueError(f"exclude names what is not in {where}: {listing(unknown)}")
    return names
