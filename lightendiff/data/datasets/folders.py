"""Sources that are folders of pictures: in pairs, without pairs, and well lit ones that are their own targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..pictures import Sample, Stored, find_pictures, list_pictures, listing, make_sample, read_pictures
from .source import Source, StoredPairs, excluded_names


class PairedFolders(StoredPairs):
    """Two folders of registered pictures, matched by file stem (`low/12.webp` ↔ `high/12.jpg`).

    Args:
        dark_dir: folder of the dark ones.
        target_dir: folder of what they should become.
        exclude: stems to leave out.
        cached: keep the decoded pictures in memory.
        weight: how often training draws from it, beside the weights of the other sources.

    Raises:
        ValueError: files without a partner, two files of one stem, pairs that differ in size, unreadable files; named.
    """

    def __init__(
        self,
        dark_dir: str | Path,
        target_dir: str | Path,
        exclude: Sequence[str | int] = (),
        cached: bool = True,
        weight: float = 1.0,
    ) -> None:
        self.folders, self.exclude, self.cached = (Path(dark_dir), Path(target_dir)), list(exclude), cached
        self.weight = weight
        self._pairs: list[tuple[Stored, Stored]] = []

    def load(self) -> None:
        if self._pairs:
            return
        dark, target = (self._by_stem(folder) for folder in self.folders)
        if dark.keys() != target.keys():
            alone = [dark[stem] for stem in sorted(dark.keys() - target.keys())]
            alone += [target[stem] for stem in sorted(target.keys() - dark.keys())]
            raise ValueError(f"{len(alone)} files without a partner of the same stem: {listing(alone)}")
        excluded = excluded_names(self.exclude, dark, self.folders[0])
        stems = [stem for stem in dark if stem not in excluded]
        if not stems:
            raise ValueError(f"exclude leaves no pair in {self.folders[0]}")
        self._pairs = self._read([dark[stem] for stem in stems], [target[stem] for stem in stems], self.cached)

    @staticmethod
    def _by_stem(folder: Path) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in list_pictures(folder):
            if path.stem in found:
                raise ValueError(f"{found[path.stem]} and {path} have the same stem")
            found[path.stem] = path
        return found


class TwoFiles(PairedFolders):
    """A single pair, of two files of any names."""

    def load(self) -> None:
        dark, target = self.folders
        self._pairs = self._read([dark], [target], cached=False)


class UnpairedFolders(Source):
    """Dark and normal-light pictures of different scenes, drawn independently; `pair(i)` repeats the shorter folder.
    Training makes pseudo-pairs of them (`lightendiff.data.pseudo_pairs`), but for the published method's stage 2.

    Args:
        dark_dir: folder of the dark ones.
        normal_dir: folder of the others; names and sizes need not match.
        cached: keep the decoded pictures in memory.
        weight: how often training draws from it, beside the weights of the other sources.
    """

    validates = False

    def __init__(self, dark_dir: str | Path, normal_dir: str | Path, cached: bool = True, weight: float = 1.0) -> None:
        self.folders, self.cached, self.weight = (Path(dark_dir), Path(normal_dir)), cached, weight
        self._dark: list[Stored] = []
        self._normal: list[Stored] = []

    def load(self) -> None:
        if not self._dark:
            dark, normal = (list_pictures(folder) for folder in self.folders)
            stored = read_pictures([*dark, *normal], self.cached, deep=True)
            self._dark, self._normal = stored[: len(dark)], stored[len(dark) :]

    def __len__(self) -> int:
        return max(len(self._dark), len(self._normal))

    def pair(self, index: int) -> Sample:
        return make_sample(self._dark[index % len(self._dark)], self._normal[index % len(self._normal)], paired=False)

    def draw(self, rng: np.random.Generator) -> Sample:
        dark, normal = (pictures[int(rng.integers(len(pictures)))] for pictures in (self._dark, self._normal))
        return make_sample(dark, normal, paired=False)

    def files(self) -> set[Path]:
        return {stored.path.resolve() for stored in [*self._dark, *self._normal]}


class WellLit(Source):
    """Pictures that are well lit already and should stay as they are.

    Args:
        paths: folders or glob patterns (`brackets/*/reference.jpg`).
        exclude: file stems or names of the folders that files lie in, to leave out.
        mean: lowest and highest mean grey level, 0–255, to take.
        cached: keep the decoded pictures in memory.
        weight: how often training draws from it, beside the weights of the other sources.
    """

    _darken = False

    def __init__(
        self,
        paths: str | Sequence[str],
        exclude: Sequence[str | int] = (),
        mean: tuple[float, float] = (0.0, 255.0),
        cached: bool = True,
        weight: float = 1.0,
    ) -> None:
        self.paths, self.exclude, self.mean, self.cached = paths, list(exclude), mean, cached
        self.weight = weight
        self._pictures: list[Stored] = []

    def load(self) -> None:
        if self._pictures:
            return
        paths = find_pictures(self.paths)
        excluded = excluded_names(self.exclude, {name for p in paths for name in (p.stem, p.parent.name)}, self.paths)
        paths = [path for path in paths if not excluded & {path.stem, path.parent.name}]
        low, high = self.mean
        self._pictures = [p for p in read_pictures(paths, self.cached, deep=True) if low <= 255 * p.mean <= high]
        if not self._pictures:
            raise ValueError(f"no picture of {self.paths} is left after exclude and mean={self.mean}")

    def __len__(self) -> int:
        return len(self._pictures)

    def pair(self, index: int) -> Sample:
        return make_sample(self._pictures[index], self._pictures[index], darken=self._darken)

    def files(self) -> set[Path]:
        return {stored.path.resolve() for stored in self._pictures}


class Darkened(WellLit):
    """Normal-light pictures that the sensor model darkens (on the device, after this); arguments as for `WellLit`."""

    _darken = True
    validates = False
