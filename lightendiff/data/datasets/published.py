"""Published sets of pairs in the folders that they come in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ..pictures import SUFFIXES, Stored, listing
from .source import StoredPairs

Split = Literal["train", "test"]
LayoutName = Literal["lol_v1", "lol_v2_real", "lol_v2_synthetic", "lsrw_huawei", "lsrw_nikon", "sice", "sid"]
Key = Callable[[Path], str]


def _stem(path: Path) -> str:
    return path.stem


def _numbered(path: Path) -> str:
    """`00690` of `low00690.png` and `normal00690.png`."""
    return path.stem.removeprefix("low").removeprefix("normal")


def _folder(path: Path) -> str:
    return path.parent.name


def _scene(path: Path) -> str:
    """`00001` of `00001_00_0.04s.png`."""
    return path.stem.partition("_")[0]


@dataclass(frozen=True)
class Layout:
    """Patterns of dark and target files below the set's folder, and what a pair's two files have in common.

    With `darker`, those that are as bright as their target or brighter aren't dark pictures.
    """

    dark: str
    target: str
    dark_key: Key = _stem
    target_key: Key = _stem
    darker: bool = False


def _lol_v2(part: str, split: str) -> Layout:
    return Layout(f"{part}/{split}/Low/*", f"{part}/{split}/Normal/*", _numbered, _numbered)


def _lsrw(camera: str) -> dict[Split, Layout]:
    folders: dict[Split, str] = {"train": "Training data", "test": "Eval"}
    return {split: Layout(f"{name}/{camera}/low/*", f"{name}/{camera}/high/*") for split, name in folders.items()}


def _sice(part: str) -> Layout:
    return Layout(f"{part}/[0-9]*/*", f"{part}/Label/*", _folder, _stem, darker=True)


LAYOUTS: dict[LayoutName, dict[Split, Layout]] = {
    "lol_v1": {
        "train": Layout("our485/low/*", "our485/high/*"),
        "test": Layout("eval15/low/*", "eval15/high/*"),
    },
    "lol_v2_real": {"train": _lol_v2("Real_captured", "Train"), "test": _lol_v2("Real_captured", "Test")},
    "lol_v2_synthetic": {"train": _lol_v2("Synthetic", "Train"), "test": _lol_v2("Synthetic", "Test")},
    "lsrw_huawei": _lsrw("Huawei"),
    "lsrw_nikon": _lsrw("Nikon"),
    "sice": {"train": _sice("Dataset_Part1"), "test": _sice("Dataset_Part2")},
    # scenes whose number begins with 1 are tested on, as those who use it do
    "sid": {
        "train": Layout("short*/[02]*/*", "long*/[02]*/*", _scene, _scene),
        "test": Layout("short*/1*/*", "long*/1*/*", _scene, _scene),
    },
}


class Published(StoredPairs):
    """The pairs of a published set, in the folders in which it comes.
    `lol_v1`: `our485`, `eval15`. `lol_v2_real`, `lol_v2_synthetic`: `Real_captured` and `Synthetic`, with `Train` and
    `Test` each. `lsrw_huawei`, `lsrw_nikon`: `Training data` and `Eval`. `sice`: `Dataset_Part1` and, to test on,
    `Dataset_Part2`, with the frames that are darker than their scene's in `Label`. `sid`: pictures, not raw files, in
    `short…/SCENE/` and `long…/SCENE/`, of which scenes 1… are tested on.

    Args:
        layout: which set.
        root: the folder that these lie in.
        split: the pairs to train on or those to test on.
        cached: keep the decoded pictures in memory.
        weight: how often training draws from it, beside the weights of the other sources.

    Raises:
        ValueError: an unknown layout or split, dark pictures without a target, pairs that differ in size, unreadable
            files; named.
        FileNotFoundError: `root` has no such folders.
    """

    def __init__(
        self, layout: LayoutName, root: str | Path, split: Split = "train", cached: bool = True, weight: float = 1.0
    ) -> None:
        for name, value, known in (("layout", layout, get_args(LayoutName)), ("split", split, get_args(Split))):
            if value not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
        self.layout, self.root, self.split = LAYOUTS[layout][split], Path(root), split
        self.name, self.cached, self.weight = layout, cached, weight
        self._pairs: list[tuple[Stored, Stored]] = []

    def load(self) -> None:
        if self._pairs:
            return
        targets: dict[str, Path] = {}
        for path in self._files(self.layout.target):
            targets.setdefault(self.layout.target_key(path), path)
        dark = {path: self.layout.dark_key(path) for path in self._files(self.layout.dark)}
        if alone := [path for path, key in dark.items() if key not in targets]:
            raise ValueError(f"{len(alone)} dark pictures of {self.name} without a target: {listing(alone)}")
        pairs = self._read([*dark], [targets[key] for key in dark.values()], self.cached)
        self._pairs = [pair for pair in pairs if not self.layout.darker or pair[0].mean < pair[1].mean]
        if not self._pairs:
            raise ValueError(f"{self.root}: expected frames of {self.name} darker than their target, got none")

    def _files(self, pattern: str) -> list[Path]:
        found = sorted(path for path in self.root.glob(pattern) if path.suffix.lower() in SUFFIXES)
        if not found:
            raise FileNotFoundError(f"{self.root}: expected pictures of {self.name} in {pattern[:-2]}, got none")
        return found
