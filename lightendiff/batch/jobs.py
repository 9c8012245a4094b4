"""Many pictures in little memory: folders and names, of which paths are made when they are asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from ..files.locations import Location

Item = TypeVar("Item")


@dataclass(frozen=True)
class Job:
    """A picture to read, and the file to write it to."""

    source: Location
    target: Location


@dataclass(frozen=True)
class Part:
    """Pictures of one folder, by name, and the folder that their outputs go to, where `renamed` says how."""

    folder: Location
    target: Location
    names: list[str]
    renamed: Callable[[str], str]

    def source(self, name: str) -> Location:
        return self.folder / name

    def output(self, name: str) -> Location:
        return self.target / self.renamed(name)

    def job(self, name: str) -> Job:
        return Job(self.source(name), self.output(name))


class Listed(Sequence[Item], Generic[Item]):
    """What `make` makes of each name of each part, made anew whenever it's asked for."""

    def __init__(self, parts: Sequence[Part] = (), make: Callable[[Part, str], Any] = Part.job) -> None:
        self.parts, self._make = [part for part in parts if part.names], make
        self._ends: list[int] = []
        for part in self.parts:
            self._ends.append(len(self) + len(part.names))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Item]:
        for part in self.parts:
            for name in part.names:
                yield self._make(part, name)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"index: expected below {len(self)}, got {index}")
        number = bisect_right(self._ends, place)
        part = self.parts[number]
        made: Item = self._make(part, part.names[place - self._ends[number]])  # from the end, so negative
        return made

    def __add__(self, other: Listed[Item]) -> Listed[Item]:
        return Listed([*self.parts, *other.parts], self._make)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{len(self)} in {len(self.parts)} folders"
