"""Measuring a restorer: against references, and on pictures that have none.

Pictures are (h, w, 3) uint8 RGB. With a reference: PSNR, SSIM and brightness-matched PSNR as `metrics` defines them,
and colour as the mean ΔE₀₀ of 8×8 block means. Without one: white that stays white, and shadows that are lifted.
"""

from __future__ import annotations

import importlib.util
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from .data.pictures import Sample
from .metrics import brightness_matched, psnr, ssim

Answer = Callable[[Sample], np.ndarray]  # (h, w, 3) uint8: the dark picture of a sample, restored
BLOCK = 8  # pixels: a block's mean is free of noise and texture, so that what differs is colour
WHITE, STILL_WHITE = 240, 225  # code values: white before, and the least that counts as white after


@dataclass(frozen=True)
class Figures:
    """How near a picture, or several on average, comes to its reference. PSNR in dB.

    ΔE is NaN where scikit-image, which calculates it, is missing.
    """

    psnr: float
    ssim: float
    matched_psnr: float
    delta_e: float


@dataclass(frozen=True)
class Row:
    """One restored picture: the sample, what came out, how good that is, and the seconds that it took."""

    sample: Sample
    output: np.ndarray
    figures: Figures
    seconds: float


class Ranked(Protocol):
    """What can be put in order: rows, or whatever else has figures."""

    @property
    def figures(self) -> Figures: ...


RankedT = TypeVar("RankedT", bound=Ranked)


def evaluate(answer: Answer, samples: Iterable[Sample]) -> list[Row]:
    """Restore every sample and compare it with its target. Samples must be paired, and dark already."""
    rows = []
    for sample in samples:
        if sample.darken or not sample.paired:
            raise ValueError(f"samples: expected dark pictures with their own references, got {sample.name}")
        start = time.perf_counter()
        output = answer(sample)
        seconds = time.perf_counter() - start
        rows.append(Row(sample, output, measure(output, sample.target.transpose(1, 2, 0)), seconds))
    return rows


def measure(output: np.ndarray, reference: np.ndarray) -> Figures:
    """Figures of a picture (h, w, 3) uint8; h and w ≥ 11, the width of SSIM's window."""
    for name, picture in (("output", output), ("reference", reference)):
        if picture.dtype != np.uint8 or picture.shape != reference.shape or picture.shape[2:] != (3,):
            expected = f"(h, w, 3) uint8 of the reference's shape {reference.shape}"
            raise ValueError(f"{name}: expected {expected}, got {picture.shape} {picture.dtype}")
    x, y = as_batch(output), as_batch(reference)
    return Figures(
        psnr=psnr(x, y).item(),
        ssim=ssim(x, y).item(),
        matched_psnr=psnr(brightness_matched(x, y), y).item(),
        delta_e=delta_e(output, reference) if has_delta_e() else math.nan,
    )


def as_batch(picture: np.ndarray) -> Tensor:
    """A picture (h, w, 3) uint8 as (1, 3, h, w) in [0, 1]."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


def has_delta_e() -> bool:
    """Whether scikit-image is installed, without which there is no ΔE."""
    return importlib.util.find_spec("skimage") is not None


def delta_e(output: np.ndarray, reference: np.ndarray) -> float:
    """Mean CIEDE2000 difference between the means of 8×8 blocks, D65; blocks that the edge cuts are left out.

    Needs scikit-image: `pip install 'lightendiff[evaluate]'`.
    """
    from skimage.color import deltaE_ciede2000, rgb2lab

    return float(deltaE_ciede2000(*(rgb2lab(_block_means(p) / 255) for p in (output, reference))).mean())


def _block_means(picture: np.ndarray) -> np.ndarray:
    height, width = (max(side // BLOCK, 1) for side in picture.shape[:2])
    whole = picture[: height * BLOCK, : width * BLOCK].astype(np.float64)
    return whole.reshape(height, whole.shape[0] // height, width, whole.shape[1] // width, 3).mean(axis=(1, 3))


def mean_figures(rows: Sequence[Row]) -> Figures:
    """Every figure's mean over the pictures."""
    if not rows:
        raise ValueError("rows: expected at least one, got none")
    figures = [row.figures for row in rows]
    return Figures(
        psnr=statistics.fmean(f.psnr for f in figures),
        ssim=statistics.fmean(f.ssim for f in figures),
        matched_psnr=statistics.fmean(f.matched_psnr for f in figures),
        delta_e=statistics.fmean(f.delta_e for f in figures),
    )


def seconds_per_picture(rows: Sequence[Row]) -> float:
    """The median, which leaves out what the first picture costs once."""
    return statistics.median(row.seconds for row in rows)


def psnr_spread(runs: Sequence[Sequence[Row]]) -> tuple[float, float]:
    """Standard deviation of PSNR over runs that differ in the seed alone: of the runs' means, and of one picture
    (root mean square over the pictures); in dB. One run has none: (0, 0).
    """
    table = np.array([[row.figures.psnr for row in run] for run in runs])  # (runs, pictures)
    if len(table) < 2:
        return 0.0, 0.0
    return float(table.mean(axis=1).std(ddof=1)), float(np.sqrt(table.var(axis=0, ddof=1).mean()))


def brightness_coverage(runs: Sequence[Sequence[Row]]) -> float:
    """Share of the pictures whose reference's mean lies within the range of the runs' means, which differ in the seed.

    N calibrated samples would have it there in (N − 1)/(N + 1) of the cases.
    """
    means = np.array([[row.output.mean() for row in run] for run in runs])  # (runs, pictures)
    wanted = np.array([row.sample.target.mean() for row in runs[0]])
    return float(((means.min(axis=0) <= wanted) & (wanted <= means.max(axis=0))).mean())


def best_median_worst(rows: Sequence[RankedT]) -> list[tuple[str, RankedT]]:
    """The rows of the highest, the middle and the lowest PSNR, with these names; fewer if there are fewer rows."""
    ranked = sorted(rows, key=lambda row: -row.figures.psnr)
    chosen = {0: "best", len(ranked) - 1: "worst", len(ranked) // 2: "median"}
    if len(ranked) < 3:
        chosen = dict(zip(range(len(ranked)), ("best", "worst"), strict=False))
    return [(chosen[index], ranked[index]) for index in sorted(chosen)]


@dataclass(frozen=True)
class WildFigures:
    """What became of a picture without a reference.

    whites: pixels of at least 240 in every channel; greyed: those that come out below 225 in any.
    shadows, lifted: mean code value of the darkest third before and after.
    """

    whites: int
    greyed: int
    shadows: float
    lifted: float

    @property
    def greyed_share(self) -> float:
        """Between 0 and 1; NaN for a picture without white."""
        return self.greyed / self.whites if self.whites else math.nan

    @property
    def lift(self) -> float:
        """How many times brighter the darkest third became; NaN where it was black altogether."""
        return self.lifted / self.shadows if self.shadows else math.nan


def measure_wild(dark: np.ndarray, output: np.ndarray) -> WildFigures:
    """What a restorer made of the whites and the shadows of `dark`, both (h, w, 3) uint8."""
    if dark.dtype != np.uint8 or dark.ndim != 3 or output.shape != dark.shape or output.dtype != dark.dtype:
        raise ValueError(
            f"output: expected the shape and dtype of dark, {dark.shape} {dark.dtype} (h, w, 3 uint8), "
            f"got {output.shape} {output.dtype}"
        )
    white = (dark >= WHITE).all(axis=2)
    greyed = white & (output < STILL_WHITE).any(axis=2)
    luminance = dark.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    third = np.argsort(luminance, axis=None, kind="stable")[: max(1, luminance.size // 3)]
    shadows, lifted = (float(picture.reshape(-1, 3)[third].mean()) for picture in (dark, output))
    return WildFigures(int(white.sum()), int(greyed.sum()), shadows, lifted)


def markdown_table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """The lines of a table, without a newline at the end."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *body])


def describe_machine() -> str:
    """What figures of speed depend on besides the program: system, processor, threads and the version of torch."""
    model, info = platform.processor() or "unknown processor", Path("/proc/cpuinfo")
    if info.is_file():  # platform knows no model on Linux
        lines = info.read_text(errors="replace").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    threads = f"{os.cpu_count()} CPUs, {torch.get_num_threads()} threads"
    return f"{platform.system()} {platform.machine()}, {model}, {threads}, torch {torch.__version__}"
