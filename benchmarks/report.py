"""What the benchmarks report beside a picture's figures: means and spreads, whites and shadows, and the machine.

Pictures are (h, w, 3) uint8 RGB. Without a reference it is white that stays white, and shadows that are lifted.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lightendiff.evaluation.measure import Figures, Row

WHITE, STILL_WHITE = 240, 225  # code values: white before, and the least that counts as white after


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


def describe_machine() -> str:
    """What figures of speed depend on besides the program: system, processor, threads and the version of torch."""
    model, info = platform.processor() or "unknown processor", Path("/proc/cpuinfo")
    if info.is_file():  # platform knows no model on Linux
        lines = info.read_text(errors="replace").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    threads = f"{os.cpu_count()} CPUs, {torch.get_num_threads()} threads"
    return f"{platform.system()} {platform.machine()}, {model}, {threads}, torch {torch.__version__}"
