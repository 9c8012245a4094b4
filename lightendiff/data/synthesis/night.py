"""Night scenes made of daylight photos: the sky is found and made dark, lamps light the ground."""

from __future__ import annotations

import cv2
import numpy as np

from ..pictures import exposure_fusion, to_code
from .camera import Scene, random_response, stops_for, take, to_linear

DARK, BRIGHT, FRAMES = (10.0, 45.0), (100.0, 160.0), 5  # mean code values of the ground's first and last exposure
SKY = 0.0012  # linear light of the brightest sky at its top


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
    level = rng.uniform(0, 1) ** 2 * SKY
    tint = np.array([0.85, 0.9, 1.0] if rng.random() < 0.5 else [1.0, 0.85, 0.6], np.float32)
    towards_horizon = np.linspace(0, 1, len(sky), dtype=np.float32)[:, None, None]
    dark_sky = level * tint * (1 + rng.uniform(0, 1) * towards_horizon)
    curve = random_response(rng)
    scene = to_linear(photo) * (ambient + lit) * (1 - up) + glow
    ground = 1 - sky.mean()
    first = stops_for(scene, curve, ground * np.exp(rng.uniform(*np.log(DARK))))
    last = stops_for(scene, curve, ground * rng.uniform(*BRIGHT))
    shot, read = 10 ** rng.uniform(-5, -3.2), 10 ** rng.uniform(-4, -2.6)
    dark = take(scene * 2**first, curve, shot, read, rng, dark_sky * up)
    lifted = [to_code(curve(scene * 2**stops)) for stops in np.linspace(first, last, FRAMES)[1:]]
    # the sky without its noise, and with what the lamps spill into it
    calm = curve(glow * 2**first + dark_sky)
    return Scene([dark], to_code(exposure_fusion([dark, *lifted]) * (1 - up) + calm * up))


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
    soft: np.ndarray = cv2.GaussianBlur(sky.astype(np.float32), (0, 0), 1.0)
    return soft


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
    plausible: bool = 0.12 < sky.mean() < 0.7
    return plausible


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
