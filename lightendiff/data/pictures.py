"""Picture files of the sources: finding, reading and keeping them, checking that partners fit, and making samples.

They are read as restoring reads them. Pixels are uint8 RGB, or uint16 of deep files where that is asked for.
"""

from __future__ import annotations

import glob
import weakref
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock

import numpy as np

from ..images import READABLE, read_picture
from ..images.working import working
from .pseudo_pairs import log_tones

SUFFIXES = frozenset(READABLE)
_FUSING = Lock()


@dataclass(frozen=True)
class Sample:
    """One dark picture and what it should become, both uint8 or uint16 (3,h,w); of one size if `paired`.

    `mean` is the mean over all channels of the *whole* dark picture, in [0, 1]. With `darken`, `dark` is still to go
    through the sensor model; it may be the target itself. Without `paired` the two show different scenes, and `tones`
    are the `log_tones` of both, dark and target, whole: (2,2,3). With
    `ignore_detail` the target's tones are right and its detail isn't, so that nothing is to be learned from its pixels.
    """

    dark: np.ndarray
    target: np.ndarray
    mean: float
    name: str
    darken: bool = False
    paired: bool = True
    ignore_detail: bool = False
    tones: np.ndarray | None = None
    number: int = 0  # in the training stream


class Stored:
    """A checked file: size, mean and, if `cached`, pixels (h,w,3), which otherwise are read again each time.

    With `deep`, 16 bits stay 16; else they are rounded to 8.
    """

    def __init__(self, path: Path, cached: bool, pixels: np.ndarray | None = None, deep: bool = False) -> None:
        pixels = _decode(path, deep) if pixels is None else pixels
        self.path = path
        self.shape = pixels.shape
        self.mean = float(pixels.mean()) / np.iinfo(pixels.dtype).max
        self._pixels = pixels if cached else None
        self._deep = deep

    @property
    def pixels(self) -> np.ndarray:
        return _decode(self.path, self._deep) if self._pixels is None else self._pixels

    @cached_property
    def tones(self) -> np.ndarray:
        """Its `log_tones`."""
        return log_tones(self.pixels)

    @property
    def chw(self) -> np.ndarray:
        return self.pixels.transpose(2, 0, 1)


# Sources often share files (pairs, their targets as well-lit pictures, …): one copy of the pixels serves all of them.
_shared: weakref.WeakValueDictionary[tuple[str, int, int, bool, bool], Stored] = weakref.WeakValueDictionary()


def _decode(path: Path, deep: bool) -> np.ndarray:
    """(h,w,3) sRGB, upright; ValueError if the file is no picture."""
    picture = read_picture(path)
    pixels = working(picture.pixels, picture.alpha, picture.icc_profile).given
    pixels = pixels if deep else eight_bit(pixels)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def eight_bit(picture: np.ndarray) -> np.ndarray:
    """Code values of 8 or 16 bit as uint8."""
    return picture if picture.dtype == np.uint8 else ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)


def read_pictures(paths: Sequence[Path], cached: bool = True, deep: bool = False) -> list[Stored]:
    """Decode all `paths` in parallel; `deep` as in `Stored`. ValueError names the files that can't be read."""

    def read(path: Path) -> Stored | str:
        try:
            status = path.stat()
            key = (str(path.resolve()), status.st_mtime_ns, status.st_size, cached, deep)
            stored = _shared.get(key)
            if stored is None:
                stored = _shared[key] = Stored(path, cached, deep=deep)
            return stored
        except (OSError, ValueError) as error:
            return f"{path} ({type(error).__name__})"

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(read, paths))
    if bad := [result for result in results if isinstance(result, str)]:
        raise ValueError(f"{len(bad)} of {len(paths)} pictures can't be read: {listing(bad)}")
    return [result for result in results if isinstance(result, Stored)]


def list_pictures(folder: str | Path, suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """Picture files directly in `folder`, sorted by name; FileNotFoundError or ValueError if there are none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    paths = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith(".")
    )
    if not paths:
        raise ValueError(f"no pictures in {folder} (looked for {', '.join(sorted(suffixes))})")
    return paths


def find_pictures(patterns: str | Sequence[str], suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """Pictures of folders and glob patterns, in the order given, each file once."""
    found: dict[Path, None] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        if Path(pattern).is_dir():
            paths = list_pictures(pattern, suffixes)
        else:
            paths = [path for path in map(Path, sorted(glob.glob(pattern))) if path.suffix.lower() in suffixes]
        if not paths:
            raise ValueError(f"no pictures match {pattern!r}")
        found.update(dict.fromkeys(paths))
    return list(found)


def check_sizes(pairs: Iterable[tuple[Stored, Stored]]) -> None:
    """ValueError that names the pairs whose two pictures differ in size."""
    bad = [
        f"{a.path} is {a.shape[1]}×{a.shape[0]} but {b.path} {b.shape[1]}×{b.shape[0]}"
        for a, b in pairs
        if a.shape != b.shape
    ]
    if bad:
        raise ValueError(f"{len(bad)} pairs differ in size: {listing(bad, 3)}")


def exposure_fusion(frames: Sequence[np.ndarray]) -> np.ndarray:
    """The fusion (Mertens et al., 2007) of at least two exposures (h,w,3) uint8: float32 in [0,1].

    The same frames give the same fusion, digit for digit.
    """
    import cv2

    with _FUSING:  # how many threads OpenCV takes is a setting of the whole process
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # with several, the last digits differ in some 4 % of calls
        try:
            return cv2.createMergeMertens().process(list(frames)).clip(0, 1)
        finally:
            cv2.setNumThreads(threads)


def to_code(picture: np.ndarray) -> np.ndarray:
    """Values in [0,1] as code values, uint8; what lies outside is clipped."""
    return (picture * 255).round().clip(0, 255).astype(np.uint8)


def make_sample(dark: Stored, target: Stored, *, darken: bool = False, paired: bool = True) -> Sample:
    """The two pictures, whole, as a sample; the same one twice shares its pixels."""
    pixels = dark.chw
    if dark is target:
        return Sample(pixels, pixels, dark.mean, str(dark.path), darken, paired)
    tones = None if paired else np.stack([dark.tones, target.tones])
    return Sample(pixels, target.chw, dark.mean, f"{dark.path} → {target.path}", darken, paired, tones=tones)


def listing(names: Iterable[object], count: int = 5) -> str:
    """The first `count` names and how many more there are, for error messages."""
    listed = [str(name) for name in names]
    return ", ".join(listed[:count]) + (f" and {len(listed) - count} more" if len(listed) > count else "")
