"""Where training and validation pictures come from.

A *source* lists its files cheaply when it is made, decodes and checks all of them in `load`, and then answers
`draw(rng)` (one random sample, training) and `pair(i)` (the i-th pair of a fixed order, validation). Pixels are uint8
RGB; what is random depends on nothing but the generator passed in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from .pictures import Sample, Stored, check_sizes, find_pictures, list_pictures, listing, make_sample, read_pictures


class Source(ABC):
    """Base of all sources."""

    validates = True  # whether `pair` gives pairs that a restored picture can be compared with

    @abstractmethod
    def load(self) -> None:
        """Decode and check the files; does nothing the second time."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of pairs, after `load`."""

    @abstractmethod
    def pair(self, index: int) -> Sample:
        """Pair `index` of a fixed order, whole."""

    def draw(self, rng: np.random.Generator) -> Sample:
        """A random sample; all pairs are equally likely unless the class says otherwise."""
        return self.pair(int(rng.integers(len(self))))

    def pairs(self) -> Iterator[Sample]:
        """All pairs, whole, in a fixed order."""
        return (self.pair(index) for index in range(len(self)))

    def files(self) -> set[Path]:
        """The files in use, resolved, after `load`."""
        return set()


def _names(exclude: Iterable[str | int], known: Iterable[str], where: object) -> set[str]:
    """`exclude` as strings. A name that occurs nowhere is an error: a typo must not let held-out pictures in."""
    names = {str(name) for name in exclude}
    if unknown := sorted(names - set(known)):
        raise ValueError(f"exclude names what is not in {where}: {listing(unknown)}")
    return names


class PairedFolders(Source):
    """Two folders of registered pictures, matched by file stem (`low/12.webp` ↔ `high/12.jpg`).

    Args:
        dark_dir, target_dir: the folders.
        exclude: stems to leave out.
        cached: keep the decoded pictures in memory.

    Raises:
        ValueError: files without a partner, two files of one stem, pairs that differ in size, unreadable files; named.
    """

    def __init__(
        self, dark_dir: str | Path, target_dir: str | Path, exclude: Sequence[str | int] = (), cached: bool = True
    ) -> None:
        self.folders, self.exclude, self.cached = (Path(dark_dir), Path(target_dir)), list(exclude), cached
        self._pairs: list[tuple[Stored, Stored]] = []

    def load(self) -> None:
        if self._pairs:
            return
        dark, target = (self._by_stem(folder) for folder in self.folders)
        if dark.keys() != target.keys():
            alone = [dark[stem] for stem in sorted(dark.keys() - target.keys())]
            alone += [target[stem] for stem in sorted(target.keys() - dark.keys())]
            raise ValueError(f"{len(alone)} files without a partner of the same stem: {listing(alone)}")
        excluded = _names(self.exclude, dark, self.folders[0])
        stems = [stem for stem in dark if stem not in excluded]
        if not stems:
            raise ValueError(f"exclude leaves no pair in {self.folders[0]}")
        stored = read_pictures([dark[stem] for stem in stems] + [target[stem] for stem in stems], self.cached)
        pairs = list(zip(stored[: len(stems)], stored[len(stems) :], strict=True))
        check_sizes(pairs)
        self._pairs = pairs

    @staticmethod
    def _by_stem(folder: Path) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in list_pictures(folder):
            if path.stem in found:
                raise ValueError(f"{found[path.stem]} and {path} have the same stem")
            found[path.stem] = path
        return found

    def __len__(self) -> int:
        return len(self._pairs)

    def pair(self, index: int) -> Sample:
        return make_sample(*self._pairs[index])

    def files(self) -> set[Path]:
        return {stored.path.resolve() for pair in self._pairs for stored in pair}


class LolPairs(PairedFolders):
    """LOL v1 as unpacked: `low/` and `high/` lie in `root` itself or else in its `our485/`, `train/` or `eval15/`.

    Args:
        root: the folder.
        exclude: stems to leave out.
        cached: keep the decoded pictures in memory.
    """

    def __init__(self, root: str | Path, exclude: Sequence[str | int] = (), cached: bool = True) -> None:
        folders = [Path(root), *(Path(root) / part for part in ("our485", "train", "eval15"))]
        folder = next((f for f in folders if (f / "low").is_dir() and (f / "high").is_dir()), folders[0])
        super().__init__(folder / "low", folder / "high", exclude, cached)


class Brackets(Source):
    """Exposure brackets: `root/SCENE/` holds frames of one static scene and, perhaps, `reference.*`; without it the
    reference is the exposure fusion of all frames (Mertens et al., 2007). Frames are ordered by the mean that their
    pixels have.

    `draw` picks a scene, then a frame of it. With `target="reference"` the dark picture is a frame whose mean lies in
    `dark_mean` and the target is the reference. With `target="frames"`, for learning content transfer, any frame
    becomes any other frame or the reference. `pair` always goes from the frames in `dark_mean` to the reference.

    Args:
        root: folder of scene folders.
        scenes: names of the scenes to use; None takes all.
        exclude: names of scenes to leave out.
        dark_mean: lowest and highest mean grey level, 0–255, of dark frames.
        target: "reference" or "frames".
        darken: have the sensor model darken the frames in `dark_mean`, which may be bright then; only for training.
        cached: keep the decoded pictures in memory.
    """

    def __init__(
        self,
        root: str | Path,
        scenes: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        dark_mean: tuple[float, float] = (5.0, 130.0),
        target: str = "reference",
        darken: bool = False,
        cached: bool = True,
    ) -> None:
        if darken and target != "reference":
            raise ValueError("darken: only for target='reference'; between frames nothing is to be darkened")
        if target not in ("reference", "frames"):
            raise ValueError(f"target must be 'reference' or 'frames', got {target!r}")
        self.root, self.scenes, self.exclude = Path(root), scenes, list(exclude)
        self.dark_mean, self.target, self.darken, self.cached = dark_mean, target, darken, cached
        self.validates = not darken
        self._dark: list[list[Stored]] = []
        self._frames: list[list[Stored]] = []
        self._references: list[Stored] = []
        self._pairs: list[tuple[Stored, Stored]] = []

    def load(self) -> None:
        if self._pairs:
            return
        names = self._scene_names()
        files = [list_pictures(self.root / name) for name in names]
        stored = iter(read_pictures([path for paths in files for path in paths], self.cached))
        for paths in files:
            pictures = [next(stored) for _ in paths]
            reference = next((p for p in pictures if p.path.stem == "reference"), None)
            frames = sorted((p for p in pictures if p is not reference), key=lambda p: p.mean)
            self._add(frames, reference)
        if not self._pairs:
            raise ValueError(f"no frame of {self.root} has a mean within dark_mean={self.dark_mean}")

    def _scene_names(self) -> list[str]:
        if not self.root.is_dir():
            raise FileNotFoundError(f"{self.root} is not a folder")
        known = sorted(path.name for path in self.root.iterdir() if path.is_dir())
        excluded = _names(self.exclude, known, self.root)
        wanted = known if self.scenes is None else [str(name) for name in self.scenes]
        if missing := sorted(set(wanted) - set(known)):
            raise ValueError(f"scenes that are not in {self.root}: {listing(missing)}")
        names = [name for name in wanted if name not in excluded]
        if not names:
            raise ValueError(f"no scenes left in {self.root}")
        return names

    def _add(self, frames: list[Stored], reference: Stored | None) -> None:
        if not frames:
            raise ValueError(f"a scene without frames: {reference.path.parent if reference else self.root}")
        check_sizes((frames[0], other) for other in [*frames[1:], *([reference] if reference else [])])
        if reference is None:
            if len(frames) < 2:
                raise ValueError(f"{frames[0].path.parent} has one frame and no reference: nothing to fuse")
            fused = cv2.createMergeMertens().process([frame.pixels for frame in frames])
            fused = (fused.clip(0, 1) * 255).round().astype(np.uint8)
            reference = Stored(frames[0].path.with_name("fused"), True, fused)
        low, high = self.dark_mean
        dark = [frame for frame in frames if low <= 255 * frame.mean <= high]
        if dark or self.target == "frames":
            self._dark.append(dark)
            self._frames.append([*frames, reference])
            self._references.append(reference)
            self._pairs += [(frame, reference) for frame in dark]

    def __len__(self) -> int:
        return len(self._pairs)

    def pair(self, index: int) -> Sample:
        return make_sample(*self._pairs[index], darken=self.darken)

    def draw(self, rng: np.random.Generator) -> Sample:
        scene = int(rng.integers(len(self._frames)))
        if self.target == "reference":
            frame = self._dark[scene][int(rng.integers(len(self._dark[scene])))]
            return make_sample(frame, self._references[scene], darken=self.darken)
        one, other = rng.choice(len(self._frames[scene]), 2, replace=False)
        return make_sample(self._frames[scene][int(one)], self._frames[scene][int(other)])

    def files(self) -> set[Path]:
        return {stored.path.resolve() for frames in self._frames for stored in frames}


class WellLit(Source):
    """Pictures that are well lit already and should stay as they are.

    Args:
        paths: folders or glob patterns (`brackets/*/reference.jpg`).
        exclude: file stems or names of the folders that files lie in, to leave out.
        mean: lowest and highest mean grey level, 0–255, to take.
        cached: keep the decoded pictures in memory.
    """

    _darken = False

    def __init__(
        self,
        paths: str | Sequence[str],
        exclude: Sequence[str | int] = (),
        mean: tuple[float, float] = (0.0, 255.0),
        cached: bool = True,
    ) -> None:
        self.paths, self.exclude, self.mean, self.cached = paths, list(exclude), mean, cached
        self._pictures: list[Stored] = []

    def load(self) -> None:
        if self._pictures:
            return
        paths = find_pictures(self.paths)
        excluded = _names(self.exclude, {name for p in paths for name in (p.stem, p.parent.name)}, self.paths)
        paths = [path for path in paths if not excluded & {path.stem, path.parent.name}]
        low, high = self.mean
        self._pictures = [p for p in read_pictures(paths, self.cached) if low <= 255 * p.mean <= high]
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


class UnpairedFolders(Source):
    """Dark and normal-light pictures of different scenes, drawn independently; `pair(i)` repeats the shorter folder.

    Args:
        dark_dir, normal_dir: the folders; names and sizes of their pictures need not match.
        cached: keep the decoded pictures in memory.
    """

    validates = False

    def __init__(self, dark_dir: str | Path, normal_dir: str | Path, cached: bool = True) -> None:
        self.folders, self.cached = (Path(dark_dir), Path(normal_dir)), cached
        self._dark: list[Stored] = []
        self._normal: list[Stored] = []

    def load(self) -> None:
        if not self._dark:
            dark, normal = (list_pictures(folder) for folder in self.folders)
            stored = read_pictures([*dark, *normal], self.cached)
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


class SelfMade(Source):
    """Pictures that it makes itself, for trying things out: colour gradients with discs, boxes, lines and grain.

    Args:
        count: how many.
        size: (height, width).
        seed: other seeds, other pictures.
        darken: leave the darkening to the sensor model; otherwise the dark picture is the target at 1/10 of its light,
            in 8 bit.
    """

    def __init__(self, count: int = 16, size: tuple[int, int] = (96, 128), seed: int = 0, darken: bool = False) -> None:
        if count < 1 or min(size) < 1:
            raise ValueError(f"count and size must be positive, got {count} and {tuple(size)}")
        self.count, self.size, self.seed, self.darken = count, (int(size[0]), int(size[1])), seed, darken
        self.validates = not darken
        self._samples: list[Sample] = []

    def load(self) -> None:
        if not self._samples:
            self._samples = [self._make(index) for index in range(self.count)]

    def _make(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        h, w = self.size
        corners = rng.uniform(40, 235, (2, 2, 3)).astype(np.float32)
        picture = cv2.resize(corners, (w, h), interpolation=cv2.INTER_LINEAR)
        for _ in range(8):
            colour = tuple(float(value) for value in rng.uniform(10, 250, 3))
            x, y, radius = int(rng.integers(w)), int(rng.integers(h)), int(rng.integers(2, max(3, min(h, w) // 4)))
            match int(rng.integers(3)):
                case 0:
                    cv2.circle(picture, (x, y), radius, colour, -1)
                case 1:
                    cv2.rectangle(picture, (x, y), (x + radius, y + 2 * radius), colour, -1)
                case _:
                    cv2.line(picture, (x, y), (int(rng.integers(w)), int(rng.integers(h))), colour, 1 + radius // 8)
        picture += rng.normal(0, 6, (h, w, 1)).astype(np.float32)
        target = picture.clip(0, 255).round().astype(np.uint8).transpose(2, 0, 1)
        # a tenth of the light is 10^(-1/2.2) of the code value
        dark = target if self.darken else (target * 10 ** (-1 / 2.2)).round().astype(np.uint8)
        name = f"self-made {self.seed}/{index}"
        return Sample(dark, target, float(dark.mean()) / 255, name, self.darken)

    def __len__(self) -> int:
        return len(self._samples)

    def pair(self, index: int) -> Sample:
        return self._samples[index]


class Mixture(Source):
    """Several sources at once: each draw first picks one, with probability proportional to its weight.

    Args:
        sources: at least one.
        weights: one number ≥ 0 per source, need not add up to 1; None is equal weights.
    """

    def __init__(self, sources: Sequence[Source], weights: Sequence[float] | None = None) -> None:
        weights = [1.0] * len(sources) if weights is None else list(weights)
        if not sources or len(weights) != len(sources):
            raise ValueError(
                f"weights must have one entry for each of the {len(sources)} sources (≥ 1), got {len(weights)}"
            )
        if min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(f"weights must be ≥ 0 with a positive sum, got {weights}")
        self.sources = list(sources)
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
