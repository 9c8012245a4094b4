"""Exposure brackets, rooms and night scenes made of photos and panoramas: more than anybody has photographed.

    python -m lightendiff.data.synthetic brackets PHOTO… -o FOLDER [--variants N] [--exclude STEM…]
    python -m lightendiff.data.synthetic rooms PHOTO… -o FOLDER [--variants N] [--exclude STEM…]
    python -m lightendiff.data.synthetic night PHOTO… -o FOLDER [--variants N] [--exclude STEM…]
    python -m lightendiff.data.synthetic panoramas PANORAMA… -o FOLDER [--variants N] [--exclude STEM…]
    python -m lightendiff.data.synthetic pairs PHOTO… -o FOLDER [--exclude FOLDER…]

All write scene folders as `Brackets` reads them: dark frames, and `reference.jpg`, what they should become. The tones
of these references can be learned from; their finest detail is that of a brightened JPEG
(`Brackets(ignore_detail=True)`), save that of *pairs*, which is real.

A *bracket* begins with a guess of the scene's light: the photo is linearised, what is near white is expanded, and its
large-scale contrasts are raised. A camera with a random response photographs it at evenly spaced exposures, and their
fusion (Mertens et al., "Exposure fusion", 2007) is the reference: shadows rise, lights stay.

Of an HDR *panorama* (Radiance's .hdr, equirectangular) the light needn't be guessed: views of it are photographed in
the same way.

A *night scene* is a daylight photo without its sky: lamps light the ground and are seen, and what was sky is nearly
black. In the reference the ground is lifted, and the sky stays as dark as it was. A *room* is a photo in the light of
lamps without any sky: in its reference all is lifted, so that lamps in the dark alone don't tell of night.

A *pair* are two photos in a folder of their own: exposures of one still scene, far apart. Both are merged into its
light, of which the exposures that lie between are made; the reference is the fusion of all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ...tone import GAMMA
from ..datasets.source import excluded_names
from ..pictures import SUFFIXES, check_sizes, exposure_fusion, find_pictures, listing, read_pictures, to_code
from .camera import Scene, random_response, stops_for, take, to_linear
from .night import find_sky, night
from .panoramas import read_panorama, view

DARKEST, BRIGHTEST = (4.0, 30.0), (150.0, 232.0)  # mean code values of a bracket's first and last frame
PANORAMA_DARKEST = 10.0, 40.0  # the same of a panorama's first: where lamps are seen, darker ones make a dim fusion,
PANORAMA_REFERENCE = 75.0  # and with a lower mean than this it is left out
KEPT_MEANS = 4.0, 130.0  # of the frames that are written, …
DARK_SHARE = 0.9  # … which are no brighter than this share of their reference's mean
PAIR_DARKEST, PAIR_SIZE = 3.0, 640  # the lowest mean that is kept of a pair, and its longest side
JPEG_QUALITY = 94


def bracket(photo: np.ndarray, rng: np.random.Generator) -> Scene:
    """A scene of a well-lit photo (h, w, 3) uint8."""
    return photographed(_spread_light(photo, rng), rng)


def in_panorama(panorama: np.ndarray, rng: np.random.Generator) -> Scene | None:
    """A scene of a view of a panorama (h, 2h, 3), linear light; None where its fusion stays dim."""
    scene = photographed(view(panorama, rng), rng, PANORAMA_DARKEST)
    return scene if scene.reference.mean() >= PANORAMA_REFERENCE else None


def photographed(light: np.ndarray, rng: np.random.Generator, darkest: tuple[float, float] = DARKEST) -> Scene:
    """A scene of linear light (h, w, 3) whose darkest frame has a mean in the range `darkest`. Frames that aren't dark
    are left out after fusion.
    """
    light = light * np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)
    light += rng.uniform(0.0, 0.6) * (light.mean(2, keepdims=True) - light)  # less saturated
    curve = random_response(rng)
    first = stops_for(light, curve, np.exp(rng.uniform(*np.log(darkest))))
    last = stops_for(light, curve, rng.uniform(*BRIGHTEST))
    count = int(rng.integers(6, 10))
    shot, read = 10 ** rng.uniform(-5, -3.4), 10 ** rng.uniform(-4.3, -3)
    frames = [take(light * 2**stops, curve, shot, read, rng) for stops in np.linspace(first, last, count)]
    return _dark_ones(frames, KEPT_MEANS[0])


def between(one: np.ndarray, other: np.ndarray) -> Scene | None:
    """A scene of two exposures (h, w, 3) uint8 of the same things; None where no part of it is well exposed in both.

    ValueError if their sizes differ.
    """
    if one.shape != other.shape:
        raise ValueError(f"the exposures differ in size: {one.shape[:2]} and {other.shape[:2]} (height, width)")
    dark, bright = (_shrunk(frame, PAIR_SIZE) for frame in sorted((one, other), key=np.mean))
    both = (bright.max(2) < 235) & (dark.min(2) > 12)
    if both.sum() < 400:
        both = (bright.max(2) < 245) & (dark.max(2) > 8)
    if both.sum() < 100:
        return None
    dark_light, bright_light = ((frame.astype(np.float32) / 255) ** GAMMA for frame in (dark, bright))
    ratio = float(np.median(bright_light.mean(2)[both] / dark_light.mean(2)[both]))
    not_white = np.clip((0.95 - bright.max(2, keepdims=True) / np.float32(255)) / 0.2, 0, 1)
    light = not_white * bright_light / ratio + (1 - not_white) * dark_light
    count = max(3, min(9, round(np.log2(ratio)) + 2))
    stops = np.linspace(0, np.log2(ratio), count)[1:-1]
    frames = [dark, *(to_code(np.clip(light * 2**stop, 0, 1) ** (1 / GAMMA)) for stop in stops), bright]
    return _dark_ones(frames, PAIR_DARKEST)


def _spread_light(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Linear light (h, w, 3) that may have been before the lens: highlights expanded, large contrasts raised."""
    linear = to_linear(photo)
    white = float(np.exp(rng.uniform(np.log(1.3), np.log(12))))  # what white is brought to
    light = linear / (1 - (1 - 1 / white) * linear.max(2, keepdims=True))
    contrast = rng.uniform(0.1, 1.3)
    luminance = np.log(light.mean(2) + 1e-3).astype(np.float32)
    h, w = luminance.shape
    base = cv2.resize(luminance, (w // 4, h // 4), interpolation=cv2.INTER_AREA)
    for _ in range(2):
        base = cv2.bilateralFilter(base, -1, 0.7, max(h, w) / 4 / 16)
    base = cv2.resize(base, (w, h), interpolation=cv2.INTER_LINEAR)
    spread: np.ndarray = light * np.exp(contrast * (base - base.mean()))[..., None]
    return spread


def _dark_ones(frames: Sequence[np.ndarray], darkest: float) -> Scene:
    """The dark ones among the frames, and the fusion of all."""
    reference = to_code(exposure_fusion(frames))
    brightest = min(KEPT_MEANS[1], DARK_SHARE * reference.mean())
    return Scene([frame for frame in frames if darkest <= frame.mean() <= brightest], reference)


def _shrunk(photo: np.ndarray, longest: int) -> np.ndarray:
    scale = longest / max(photo.shape[:2])
    return photo if scale >= 1 else cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _write(folder: Path, scene: Scene) -> None:
    folder.mkdir(parents=True)  # an error where it exists: frames of another run would be mixed with these
    named = {f"{i}_mean{int(frame.mean()):03d}": frame for i, frame in enumerate(scene.frames)}
    for name, picture in {**named, "reference": scene.reference}.items():
        _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        (folder / f"{name}.jpg").write_bytes(data.tobytes())


def _scenes(kind: str, photos: Sequence[Path], variants: int) -> Iterator[tuple[str, Scene | None]]:
    """The name of every scene and the scene itself, None where the photo doesn't allow it."""
    for number, path in enumerate(tqdm(photos, unit="photo", disable=None)):
        photo = read_panorama(path) if kind == "panoramas" else read_pictures([path])[0].pixels
        sky = find_sky(photo) if kind == "night" else np.zeros(photo.shape[:2], np.float32)
        for variant in range(variants):
            rng = np.random.default_rng([number, variant])
            name = f"{path.parent.name}_{path.stem}_{variant}"
            if kind == "brackets":
                yield name, bracket(photo, rng)
            elif kind == "panoramas":
                yield name, in_panorama(photo, rng)
            elif sky is not None:
                yield name, night(photo, sky, rng)


def _scenes_of_pairs(photos: Sequence[Path]) -> Iterator[tuple[str, Scene | None]]:
    """The same for the pairs in their folders; ValueError names a folder that hasn't two."""
    pairs = {folder: [path for path in photos if path.parent == folder] for folder in {path.parent for path in photos}}
    for folder, pair in pairs.items():
        if len(pair) != 2:
            raise ValueError(f"{folder} has {len(pair)} exposures instead of two: {listing(pair)}")
    for folder, pair in tqdm(sorted(pairs.items()), unit="pair", disable=None):
        one, other = read_pictures(pair)
        check_sizes([(one, other)])
        yield folder.name, between(one.pixels, other.pixels)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lightendiff.data.synthetic", description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=("brackets", "rooms", "night", "panoramas", "pairs"))
    parser.add_argument("photos", nargs="+", help="files, folders or glob patterns; for pairs, two in every folder")
    parser.add_argument(
        "--exclude", nargs="+", default=[], metavar="NAME", help="stems, or pairs' folders, to leave out"
    )
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder of the scene folders to be written")
    parser.add_argument("--variants", type=int, default=1, help="scenes made of each photo")
    args = parser.parse_args(arguments)
    made = 0
    try:
        found = find_pictures(args.photos, {".hdr"} if args.kind == "panoramas" else SUFFIXES)
        names = {path: path.parent.name if args.kind == "pairs" else path.stem for path in found}
        excluded = excluded_names(args.exclude, names.values(), "the photos")
        photos = [path for path, name in names.items() if name not in excluded]
        scenes = _scenes_of_pairs(photos) if args.kind == "pairs" else _scenes(args.kind, photos, args.variants)
        for name, scene in scenes:
            if scene is not None and scene.frames:
                _write(args.output / name, scene)
                made += 1
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{made} scenes written to {args.output}")
    return 0
