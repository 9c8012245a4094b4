"""Measuring a restorer against references.

Pictures are (h, w, 3) uint8 RGB; PSNR, SSIM and brightness-matched PSNR are as `metrics` defines them, and colour is
the mean ΔE₀₀ of 8×8 block means.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..data.pictures import Sample, eight_bit
from .metrics import brightness_matched, psnr, ssim

Answer = Callable[[Sample], np.ndarray]  # (h, w, 3) uint8: the dark picture of a sample, restored
BLOCK = 8  # pixels: a block's mean is free of noise and texture, so that what differs is colour


@dataclass(frozen=True)
class Figures:
    """How near a picture, or several on average, comes to its reference.

    Attributes:
        psnr: in dB; infinite for equal pictures.
        ssim: at most 1.
        matched_psnr: in dB, of the picture at its reference's mean brightness.
        delta_e: mean ΔE₀₀ of 8×8 block means; NaN where scikit-image, which calculates it, is missing.
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
    """Restore every sample and compare it with its target.

    Args:
        answer: gives what a sample's dark picture is restored to, (h, w, 3) uint8.
        samples: paired, and dark already.

    Raises:
        ValueError: a sample shows two scenes or is yet to be darkened, or an answer isn't of its target's shape.
    """
    rows = []
    for sample in samples:
        if sample.darken or not sample.paired:
            raise ValueError(f"samples: expected dark pictures with their own references, got {sample.name}")
        start = time.perf_counter()
        output = answer(sample)
        seconds = time.perf_counter() - start
        rows.append(Row(sample, output, measure(output, eight_bit(sample.target.transpose(1, 2, 0))), seconds))
    return rows


def measure(output: np.ndarray, reference: np.ndarray) -> Figures:
    """How near a picture comes to its reference.

    Args:
        output: (h, w, 3) uint8; h and w ≥ 11, the width of SSIM's window.
        reference: of the same shape and dtype.

    Raises:
        ValueError: one of them is of another shape or dtype, or smaller.
    """
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


def at_brightness_of(reference: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """`picture` times mean(reference)/mean(picture); all (h, w, 3) uint8."""
    x, y = as_batch(picture), as_batch(reference)
    return (brightness_matched(x, y)[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


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
    blocks = whole.reshape(height, whole.shape[0] // height, width, whole.shape[1] // width, 3)
    means: np.ndarray = blocks.mean(axis=(1, 3))
    return means


def best_median_worst(rows: Sequence[RankedT]) -> list[tuple[str, RankedT]]:
    """The rows of the highest, the middle and the lowest PSNR, with these names; fewer if there are fewer rows."""
    ranked = sorted(rows, key=lambda row: -row.figures.psnr)
    chosen = {0: "best", len(ranked) - 1: "worst", len(ranked) // 2: "median"}
    if len(ranked) < 3:
        chosen = dict(zip(range(len(ranked)), ("best", "worst"), strict=False))
    return [(chosen[index], ranked[index]) for index in sorted(chosen)]


def markdown_table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """The lines of a table, without a newline at the end."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *body])
