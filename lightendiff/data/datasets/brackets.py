"""Exposure brackets: scenes photographed at several exposures each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ..hues import with_true_hues
from ..pictures import (
    Sample,
    Stored,
    check_sizes,
    exposure_fusion,
    list_pictures,
    listing,
    make_sample,
    read_pictures,
    to_code,
)
from .source import StoredPairs, excluded_names


class Brackets(StoredPairs):
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
        cached: keep the decoded pictures in memory.
        blend: whether `draw` mixes a dark frame with its brighter neighbour in a random proportion, for exposures that
            nobody took; only with `target="reference"`.
        true_hues: whether references take hue and chroma from the frames, as far as those are neither clipped nor dark
            (`lightendiff.data.hues`): a fusion turns hues and pales them.
        ignore_detail: whether references are right in their tones only, so that stage 2 takes no image loss on them.
        weight: how often training draws from it, beside the weights of the other sources.
    """

    def __init__(
        self,
        root: str | Path,
        scenes: Sequence[str | int] | None = None,
        exclude: Sequence[str | int] = (),
        dark_mean: tuple[float, float] = (5.0, 130.0),
        target: str = "reference",
        cached: bool = True,
        blend: bool = False,
        true_hues: bool = False,
        ignore_detail: bool = False,
        weight: float = 1.0,
    ) -> None:
        if target not in ("reference", "frames"):
            raise ValueError(f"target: expected 'reference' or 'frames', got {target!r}")
        self.root, self.scenes, self.exclude = Path(root), scenes, list(exclude)
        self.dark_mean, self.target, self.cached = dark_mean, target, cached
        self.blend, self.true_hues, self.ignore_detail, self.weight = blend, true_hues, ignore_detail, weight
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
        excluded = excluded_names(self.exclude, known, self.root)
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
            fused = to_code(exposure_fusion([frame.pixels for frame in frames]))
            reference = Stored(frames[0].path.with_name("fused"), True, fused)
        if self.true_hues:
            pixels = with_true_hues(reference.pixels, [frame.pixels for frame in frames])
            reference = Stored(reference.path, True, pixels)
        low, high = self.dark_mean
        dark = [frame for frame in frames if low <= 255 * frame.mean <= high]
        if dark or self.target == "frames":
            self._dark.append(dark)
            self._frames.append([*frames, reference])
            self._references.append(reference)
            self._pairs += [(frame, reference) for frame in dark]

    def draw(self, rng: np.random.Generator) -> Sample:
        scene = int(rng.integers(len(self._frames)))
        if self.target == "reference":
            dark, reference = self._dark[scene], self._references[scene]
            index = int(rng.integers(len(dark)))
            sample = replace(make_sample(dark[index], reference), ignore_detail=self.ignore_detail)
            return _blended(sample, dark[index : index + 2], float(rng.random())) if self.blend else sample
        one, other = rng.choice(len(self._frames[scene]), 2, replace=False)
        return make_sample(self._frames[scene][int(one)], self._frames[scene][int(other)])

    def files(self) -> set[Path]:
        return {stored.path.resolve() for frames in self._frames for stored in frames}


def _blended(sample: Sample, neighbours: Sequence[Stored], share: float) -> Sample:
    """`sample` with its dark frame mixed with the next brighter one, if there is one."""
    if len(neighbours) < 2:
        return sample
    darker, brighter = neighbours
    mixed = cv2.addWeighted(darker.pixels, 1 - share, brighter.pixels, share, 0)
    return replace(sample, dark=mixed.transpose(2, 0, 1), mean=float(mixed.mean()) / 255)
