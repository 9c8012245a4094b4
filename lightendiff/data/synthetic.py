"""Exposure brackets and night scenes made of ordinary photos, for more scenes than anybody has photographed that way.

    python -m lightendiff.data.synthetic brackets PHOTO… -o FOLDER [--variants N] [--exclude STEM…]
    python -m lightendiff.data.synthetic night PHOTO… -o FOLDER [--variants N] [--exclude STEM…]

Both write scene folders as `Brackets` reads them: dark frames, and `reference.jpg`, what they should become. The tones
of these references can be learned from; their finest detail is that of a brightened JPEG (`Brackets(tones_only=True)`).

A *bracket* begins with a guess of the scene's light: the photo is linearised, what is near white is expanded, and its
large-scale contrasts are raised. A camera with a random response photographs it at evenly spaced exposures, and their
fusion (Mertens et al., "Exposure fusion", 2007) is the reference: shadows rise, lights stay.

A *night scene* is a daylight photo without its sky: lamps light the ground and are seen, and what was sky is nearly
black. In the reference the ground is lifted, and the sky stays as dark as it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from .datasets.source import excluded_names
from .pictures import exposure_fusion, find_pictures, read_pictures

Curve = Callable[[np.ndarray], np.ndarray]  # from linear light to code values in [0, 1]

DARKEST, BRIGHTEST = (4.0, 30.0), (150.0, 232.0)  # mean code values of a bracket's first and last frame
KEPT_MEANS = 4.0, 130.0  # of the frames that are written, …
DARK_SHARE = 0.9  # … which are no brighter than this share of their reference's mean
NIGHT_DARK, NIGHT_BRIGHT, NIGHT_FRAMES = (10.0, 45.0), (100.0, 160.0), 5  # the same of a night scene's ground
NIGHT_SKY = 0.0012  # linear light of the brightest sky at its top
JPEG_QUALITY = 94


@dataclass(frozen=True)
class Scene:
    """Dark frames and what they should become, (h, w, 3) uint8."""

    frames: list[np.ndarray]
    reference: np.ndarray


def bracket(photo: np.ndarray, rng: np.random.Generator) -> Scene:
    """A scene of a well-lit photo (h, w, 3) uint8. Frames that aren't dark are left out after fusion."""
    light = _spread_light(photo, rng) * np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)
    light += rng.uniform(0.0, 0.6) * (light.mean(2, keepdims=True) - light)  # less saturated
    curve = _camera(rng)
    darkest, brightest = np.exp(rng.uniform(*np.log(DARKEST))), rng.uniform(*BRIGHTEST)
    count = int(rng.integers(6, 10))
    first, last = _exposure(light, curve, darkest), _exposure(light, curve, brightest)
    shot, read = 10 ** rng.uniform(-5, -3.4), 10 ** rng.uniform(-4.3, -3)
    frames = [_taken(light * 2**stops, curve, shot, read, rng) for stops in np.linspace(first, last, count)]
    reference = _code(exposure_fusion(frames))
    low, high = KEPT_MEANS[0], min(KEPT_MEANS[1], DARK_SHARE * reference.mean())
    return Scene([frame for frame in frames if low <= frame.mean() <= high], reference)


def night(photo: np.ndarray, sky: np.ndarray, rng: np.random.Generator) -> Scene | None:
    """A night scene of a daylight photo (h, w, 3) uint8 and the share of sky (h, w) of each pixel, in [0, 1]; None
    where too little ground is left for a lamp.
    """
    up = sky[..., None]
    ambient = 10 ** rng.uniform(-2.3, -1.2)
    places = np.argwhere(cv2.erode((sky < 0.5).astype(np.uint8), np.ones((9, 9))) > 0)
    if len(places) < 500:
        return None
    lit, glow = _lamps(sky.shape, places, rng)
    level = rng.uniform(0, 1) ** 2 * NIGHT_SKY
    tint = np.array([0.85, 0.9, 1.0] if rng.random() < 0.5 else [1.0, 0.85, 0.6], np.float32)
    towards_horizon = np.linspace(0, 1, len(sky), dtype=np.float32)[:, None, None]
    dark_sky = level * tint * (1 + rng.uniform(0, 1) * towards_horizon)
    curve = _camera(rng)
    scene = _linear(photo) * (ambient + lit) * (1 - up) + glow
    ground = 1 - sky.mean()
    first = _exposure(scene, curve, ground * np.exp(rng.uniform(*np.log(NIGHT_DARK))))
    last = _exposure(scene, curve, ground * rng.uniform(*NIGHT_BRIGHT))
    shot, read = 10 ** rng.uniform(-5, -3.2), 10 ** rng.uniform(-4, -2.6)
    dark = _taken(scene * 2**first, curve, shot, read, rng, dark_sky * up)
    lifted = [_code(curve(scene * 2**stops)) for stops in np.linspace(first, last, NIGHT_FRAMES)[1:]]
    # the sky without its noise, and with what the lamps spill into it
    calm = curve(glow * 2**first + dark_sky)
    return Scene([dark], _code(exposure_fusion([dark, *lifted]) * (1 - up) + calm * up))


def find_sky(photo: np.ndarray) -> np.ndarray | None:
    """The share of sky (h, w) of each pixel of a daylight photo, (h, w, 3) uint8; None where there is none to be sure
    of: a smooth, bright, greyish or blue region that reaches down from the top and is brighter than all else.
    """
    h, w = photo.shape[:2]
    seed = cv2.resize(_smooth_bright_top(photo), (w, h), interpolation=cv2.INTER_LINEAR)
    if not _plausible(seed):
        return None
    marks = np.where(seed > 0.95, cv2.GC_FGD, np.where(seed < 0.05, cv2.GC_PR_BGD, cv2.GC_PR_FGD)).astype(np.uint8)
    marks[cv2.erode((seed < 0.05).astype(np.uint8), np.ones((25, 25), np.uint8)) > 0] = cv2.GC_BGD
    if not (marks == cv2.GC_BGD).any():
        return None
    empty = np.zeros((1, 65))
    nowhere = (0, 0, 0, 0)  # a rectangle that isn't used with a mask
    bgr = np.ascontiguousarray(photo[..., ::-1])
    cv2.grabCut(bgr, marks, nowhere, empty, empty.copy(), 2, cv2.GC_INIT_WITH_MASK)
    sky = (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)
    if not _plausible(sky) or np.logical_and.accumulate(sky, 0).sum() < 0.93 * sky.sum():
        return None
    luminance = photo.mean(2)
    bright, ground = luminance[sky].mean(), luminance[~sky]
    if ground.mean() > 0.72 * bright or (ground > 0.9 * bright).mean() > 0.12:
        return None
    return cv2.GaussianBlur(sky.astype(np.float32), (0, 0), 1.0)


def _smooth_bright_top(photo: np.ndarray) -> np.ndarray:
    """What may be sky, as float32 0 or 1 on a small copy."""
    scale = 160 / max(photo.shape[:2])
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    lightness = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)[..., 0].astype(np.float32)
    blurred = cv2.GaussianBlur(lightness, (0, 0), 1)
    slope = np.hypot(cv2.Sobel(blurred, cv2.CV_32F, 1, 0), cv2.Sobel(blurred, cv2.CV_32F, 0, 1))
    red, green, blue = cv2.split(small.astype(np.float32))
    fits = ((slope < 22) & (lightness > 110) & (blue > red - 12) & (blue > green - 12)).astype(np.uint8)
    count, labels = cv2.connectedComponents(fits)
    tops = [i for i in range(1, count) if (labels[:2] == i).mean() > 0.15]
    sky = cv2.morphologyEx(np.isin(labels, tops).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return cv2.dilate(sky, np.ones((3, 3), np.uint8)).astype(np.float32)


def _plausible(sky: np.ndarray) -> bool:
    return 0.12 < sky.mean() < 0.7


def _lamps(shape: tuple[int, ...], places: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Lamps at some of `places`: the light that falls on the ground, and the lamps with their glow, both (h, w, 3)."""
    h, w = shape
    size = max(h, w)
    y, x = np.mgrid[:h, :w].astype(np.float32) / size
    lit, glow = np.zeros((h, w, 3), np.float32), np.zeros((h, w, 3), np.float32)
    for _ in range(int(rng.integers(1, 8))):
        top, left = places[rng.integers(len(places))]
        warm = rng.uniform(0, 1)
        colour = np.array([1.0, 1 - 0.35 * warm, 1 - 0.75 * warm], np.float32) * 10 ** rng.uniform(-0.5, 0.4)
        distance = (y - top / size) ** 2 + (x - left / size) ** 2
        reach = rng.uniform(0.08, 0.25) ** 2
        lit += (reach / (distance + reach))[..., None] ** 1.5 * colour
        radius = rng.uniform(0.003, 0.012)
        if rng.random() < 0.8:
            disc = np.clip(1.5 - np.sqrt(distance) / radius, 0, 1) * rng.uniform(3, 12)
            glow += (disc + 0.15 * radius**2 / (distance + radius**2))[..., None] * colour
    return lit, glow


def _spread_light(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Linear light (h, w, 3) that may have been before the lens: highlights expanded, large contrasts raised."""
    linear = _linear(photo)
    white = float(np.exp(rng.uniform(np.log(1.3), np.log(12))))  # what white is brought to
    light = linear / (1 - (1 - 1 / white) * linear.max(2, keepdims=True))
    contrast = rng.uniform(0.1, 1.3)
    luminance = np.log(light.mean(2) + 1e-3).astype(np.float32)
    h, w = luminance.shape
    base = cv2.resize(luminance, (w // 4, h // 4), interpolation=cv2.INTER_AREA)
    for _ in range(2):
        base = cv2.bilateralFilter(base, -1, 0.7, max(h, w) / 4 / 16)
    base = cv2.resize(base, (w, h), interpolation=cv2.INTER_LINEAR)
    return light * np.exp(contrast * (base - base.mean()))[..., None]


def _camera(rng: np.random.Generator) -> Curve:
    """A random response: gamma, more or less contrast, and a hard or a soft shoulder."""
    gamma, contrast, soft = rng.uniform(1.8, 2.5), rng.uniform(0.0, 0.6), rng.random() < 0.5

    def curve(light: np.ndarray) -> np.ndarray:
        v = np.clip(1 - np.exp(-1.4 * light) if soft else light, 0, 1) ** (1 / gamma)
        return (1 - contrast) * v + contrast * v * v * (3 - 2 * v)

    return curve


def _exposure(light: np.ndarray, curve: Curve, mean: float) -> float:
    """The stops at which the picture's mean is `mean` code values, by bisection on a small copy."""
    small = cv2.resize(light, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    low, high = -16.0, 16.0
    for _ in range(18):
        middle = (low + high) / 2
        low, high = (middle, high) if curve(small * 2**middle).mean() * 255 < mean else (low, middle)
    return middle


def _taken(
    light: np.ndarray, curve: Curve, shot: float, read: float, rng: np.random.Generator, veil: np.ndarray | float = 0.0
) -> np.ndarray:
    """A frame of linear light with a sensor's noise, and of a noiseless `veil` of light over it."""
    noise = rng.normal(size=light.shape).astype(np.float32) * np.sqrt(shot * light + read**2)
    return _code(curve(np.maximum(light + noise + veil, 0)))


def _linear(photo: np.ndarray) -> np.ndarray:
    v = photo.astype(np.float32) / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def _code(picture: np.ndarray) -> np.ndarray:
    return (picture * 255).round().clip(0, 255).astype(np.uint8)


def _write(folder: Path, scene: Scene) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    named = {f"{i}_mean{int(frame.mean()):03d}": frame for i, frame in enumerate(scene.frames)}
    for name, picture in {**named, "reference": scene.reference}.items():
        _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        (folder / f"{name}.jpg").write_bytes(data.tobytes())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lightendiff.data.synthetic", description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=("brackets", "night"))
    parser.add_argument("photos", nargs="+", help="files, folders or glob patterns")
    parser.add_argument("--exclude", nargs="+", default=[], metavar="STEM", help="names, without suffix, to leave out")
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder of the scene folders to be written")
    parser.add_argument("--variants", type=int, default=1, help="scenes made of each photo")
    args = parser.parse_args(arguments)
    paths = find_pictures(args.photos)
    excluded = excluded_names(args.exclude, (path.stem for path in paths), "the photos")
    made = 0
    for number, path in enumerate(tqdm([p for p in paths if p.stem not in excluded], unit="photo", disable=None)):
        photo = read_pictures([path])[0].pixels
        sky = find_sky(photo) if args.kind == "night" else None
        for variant in range(args.variants if args.kind == "brackets" or sky is not None else 0):
            rng = np.random.default_rng([number, variant])
            scene = bracket(photo, rng) if sky is None else night(photo, sky, rng)
            if scene is not None:
                _write(args.output / f"{path.parent.name}_{path.stem}_{variant}", scene)
                made += 1
    print(f"{made} scenes written to {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
