"""Outputs that would replace an input, or would get the name of another one, found in little memory.

Names and files are compared by numbers that are made of them. Only where two are equal, the things themselves are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np

from ..files import storage
from ..files.locations import Location, RemotePath
from ..images import shown
from .jobs import Part

Place = tuple[int, int]  # number of a part, and of a name in it
_Value = Callable[[Part, str], Hashable]


def conflicts(parts: Sequence[Part], out: Location) -> tuple[dict[Place, str], set[Place]]:
    """Why pictures can't be restored, and those that have been named before."""
    refused: dict[Place, str] = {}
    # A link inside the output folder may lead out of it.
    inside = {folder: storage.lies_inside(folder, out) for folder in {part.target for part in parts}}
    for place in _overwriting(parts):
        source, target = _ends(parts, place)
        refused[place] = f"{shown(source)}: the output {shown(target)} would overwrite an input"
    for number, part in enumerate(parts):
        for index in () if inside[part.target] else range(len(part.names)):
            source, target = _ends(parts, (number, index))
            reason = f"{shown(source)}: the output {shown(target)} would lie outside {shown(out)}"
            refused.setdefault((number, index), reason)
    again = set[Place]()
    for group in _of_one_name(parts, str.casefold if storage.ignores_case(out) else str):
        first: dict[Hashable, Place] = {}
        for place in group:
            source, target = _ends(parts, place)
            known = first.setdefault((storage.identity(source), target), place)
            if known != place:
                again.add(place)
        kept = [place for place in group if place not in again]
        if len({storage.identity(_ends(parts, place)[0]) for place in kept}) > 1:
            for place in kept:
                source, target = _ends(parts, place)
                other = next(s for s, _ in (_ends(parts, each) for each in kept) if s != source)
                refused[place] = f"{shown(source)}: {shown(other)} would also be written to {shown(target)}"
    return refused, again


def _ends(parts: Sequence[Part], place: Place) -> tuple[Location, Location]:
    part = parts[place[0]]
    job = part.job(part.names[place[1]])
    return job.source, job.target


def _places(parts: Sequence[Part]) -> Iterator[Place]:
    for number, part in enumerate(parts):
        for index in range(len(part.names)):
            yield number, index


def _of_one_name(parts: Sequence[Part], fold: Callable[[str], str]) -> list[list[Place]]:
    """The pictures whose outputs would have one name, as far as there are several."""
    folders = [fold(str(part.target)) for part in parts]

    def name(number: int, each: str) -> tuple[str, str]:
        return folders[number], fold(parts[number].renamed(each))

    numbers = np.fromiter(
        (hash(name(number, each)) for number, part in enumerate(parts) for each in part.names), np.int64
    )
    values, counts = np.unique(numbers, return_counts=True)
    several = set(values[counts > 1].tolist())
    groups: dict[tuple[str, str], list[Place]] = {}
    for place, value in zip(_places(parts), numbers, strict=True) if several else ():
        if int(value) in several:
            groups.setdefault(name(place[0], parts[place[0]].names[place[1]]), []).append(place)
    return [group for group in groups.values() if len(group) > 1]


def _overwriting(parts: Sequence[Part]) -> list[Place]:
    """The pictures whose outputs are there already and are inputs, whatever they are called."""
    there = [_there(part) for part in parts]
    if not any(there):
        return []

    def numbers(value: _Value, wanted: Sequence[Sequence[int] | range]) -> np.ndarray:
        each = (value(part, part.names[i]) for part, some in zip(parts, wanted, strict=True) for i in some)
        return np.fromiter((hash(one) for one in each), np.int64)

    def source(part: Part, name: str) -> Hashable:
        return storage.identity(part.source(name))

    def target(part: Part, name: str) -> Hashable:
        return storage.identity(part.output(name))

    all_of_them = [range(len(part.names)) for part in parts]
    common = set(np.intersect1d(numbers(source, all_of_them), numbers(target, there)).tolist())
    if not common:
        return []
    sources = {
        found for number, i in _places(parts) if hash(found := source(parts[number], parts[number].names[i])) in common
    }
    candidates = ((number, i) for number, some in enumerate(there) for i in some)
    return [
        (number, i) for number, i in candidates if target(parts[number], parts[number].names[i]) in sources - {None}
    ]


def _there(part: Part) -> Sequence[int]:
    """The numbers of those of its names whose outputs may be there; all of an address, of which names tell enough."""
    if isinstance(part.target, RemotePath):
        return range(len(part.names))
    if len(part.names) < storage.FEW:
        return [i for i, name in enumerate(part.names) if storage.identity(part.output(name)) is not None]
    fold = str.casefold if storage.ignores_case(part.target) else str
    names = {fold(name) for name in storage.names_in(part.target)}
    return [i for i, name in enumerate(part.names) if fold(part.renamed(name)) in names] if names else ()
