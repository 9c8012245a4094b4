"""Measure colours and darkness: python benchmarks/colours.py FOLDER [--weights PATH] [--outputs FOLDER] (see --help).

Dark pictures need no references for that: more light changes neither hue nor chroma's share, and where there is no
signal, nothing should appear. Where the dark picture is lit (L* > 30) and colourful (C* > 18), in means of 8×8 pixels:
the hue's change in degrees and chroma over chroma, for oranges (hue 40 to 75°), blues (235 to 310°) and all, means over
the pictures that have such places. Where it is empty (brightest channel at most 3 of 255 over 17×17 pixels): the mean
of 255 and the root mean square of what is finer than σ = 6 pixels. And the pixels that have a channel at 254 or more
where none had 240.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from lightendiff import LightenPipeline
from lightendiff.data.pictures import list_pictures
from lightendiff.evaluation import measure as ev
from lightendiff.images import read_picture
from lightendiff.images.working import working

HUES = {"orange": (40, 75), "blue": (235, 310), "all": (0, 360)}
LUMA = np.float32([0.299, 0.587, 0.114])


def hue_and_chroma(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """L*, hue in degrees and C* of the means over 8×8 pixels of an image (h, w, 3) uint8."""
    from skimage.color import rgb2lab

    size = (max(1, image.shape[1] // 8), max(1, image.shape[0] // 8))
    lightness, a, b = np.moveaxis(
        rgb2lab(cv2.resize(image / np.float32(255), size, interpolation=cv2.INTER_AREA)), 2, 0
    )
    return lightness, np.degrees(np.arctan2(b, a)) % 360, np.hypot(a, b)


def colours(dark: np.ndarray, restored: np.ndarray) -> dict[str, tuple[float, float]]:
    """The change of hue, and of chroma as a factor, by range of hues; without those that hardly occur."""
    (lightness, before, chroma), (_, after, saturation) = hue_and_chroma(dark), hue_and_chroma(restored)
    seen = (lightness > 30) & (chroma > 18) & (saturation > 5)
    found = {}
    for name, (low, high) in HUES.items():
        here = seen & (before >= low) & (before < high)
        if here.sum() > 30:
            turned = (after - before + 180) % 360 - 180
            found[name] = float(turned[here].mean()), float(saturation[here].mean() / chroma[here].mean())
    return found


def emptiness(dark: np.ndarray, restored: np.ndarray) -> tuple[float, float] | None:
    """Mean and fine deviation where there is no signal; None where that is less than a hundredth of the picture."""
    level = cv2.blur(dark.max(axis=2).astype(np.float32), (9, 9))
    empty = cv2.erode((level <= 3).astype(np.uint8), np.ones((17, 17), np.uint8)) > 0
    if empty.mean() < 0.01:
        return None
    luma = restored @ LUMA
    fine = luma - cv2.GaussianBlur(luma, (0, 0), 6)
    return float(luma[empty].mean()), float(np.sqrt(np.square(fine[empty]).mean()))


def at_the_edge(dark: np.ndarray, restored: np.ndarray) -> float:
    """Share of pixels that have come to have a channel at white."""
    return float(((restored.max(axis=2) >= 254) & (dark.max(axis=2) < 240)).mean())


def load(path: Path) -> np.ndarray:
    """The picture as (h, w, 3) uint8."""
    picture = read_picture(path)
    pixels = working(picture.pixels, picture.alpha, picture.icc_profile).given
    pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    return pixels if pixels.dtype == np.uint8 else (pixels / 257).round().astype(np.uint8)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="dark pictures")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--weights", metavar="PATH", help="default: the weights of the package")
    what.add_argument("--outputs", type=Path, metavar="FOLDER", help="what another program made of them, by stem")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    try:
        paths = list_pictures(args.folder)
        others = {path.stem: path for path in list_pictures(args.outputs)} if args.outputs else {}
        if args.outputs and (missing := [path.stem for path in paths if path.stem not in others]):
            raise ValueError(f"{args.outputs}: expected an output for every picture, none for {', '.join(missing)}")
        pipe = None if args.outputs else LightenPipeline.from_pretrained(args.weights)
        print(table(paths, lambda path, dark: load(others[path.stem]) if pipe is None else pipe(dark)))
    except (OSError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


def table(paths: Sequence[Path], restore: Callable[[Path, np.ndarray], np.ndarray]) -> str:
    """The figures of all pictures, as Markdown."""
    turned: dict[str, list[tuple[float, float]]] = {name: [] for name in HUES}
    empty, edges = [], []
    for path in tqdm(paths, unit="picture", leave=False, disable=None):
        dark = load(path)
        restored = restore(path, dark)
        for name, found in colours(dark, restored).items():
            turned[name].append(found)
        if (place := emptiness(dark, restored)) is not None:
            empty.append(place)
        edges.append(at_the_edge(dark, restored))
    rows = []
    for name, found in turned.items():
        hue, chroma = np.mean(found, axis=0) if found else (np.nan, np.nan)
        rows.append([f"{name}: hue, chroma", str(len(found)), f"{hue:+.1f}°", f"× {chroma:.2f}"])
    mean, fine = np.mean(empty, axis=0) if empty else (np.nan, np.nan)
    rows.append(["empty: mean, fine", str(len(empty)), f"{mean:.1f}", f"{fine:.2f}"])
    rows.append(
        ["at white: mean, worst", str(len(edges)), f"{100 * np.mean(edges):.2f} %", f"{100 * max(edges):.2f} %"]
    )
    return ev.markdown_table(["what", "pictures", "", ""], rows)


if __name__ == "__main__":
    sys.exit(main())
