"""Restore dark photos and show them: dark | restored | original, on one sheet (python examples/demo.py -o demo).

The photos come with scikit-image and are in the public domain: astronaut (NASA), coffee (CC0, Rachel Michetti),
chelsea (CC0, Stéfan van der Walt) and rocket (SpaceX). The package's sensor model darkens them: less light, a shift of
white balance, shot and read noise, 8 bits. Nothing is downloaded, and every run makes the same pictures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import skimage.data
import torch

from lightendiff import LightenPipeline
from lightendiff.data.degradations import SensorModel, darken
from lightendiff.evaluation.contact_sheet import Tile, contact_sheet, save_sheet
from lightendiff.evaluation.measure import markdown_table, measure

PHOTOS = {"astronaut": -5.0, "coffee": -4.0, "chelsea": -5.5, "rocket": -3.0}  # name in scikit-image, exposure in stops
# Noise as it was measured in the dark frames of LOL v1 (see lightendiff/data/degradations.py).
SENSOR = SensorModel(shot=(3.3e-5, 1.3e-4), read=(5e-5, 6e-4), red_gain=(3.0, 3.0), blue_gain=(1.7, 1.7), jpeg=0.0)


def dark_photo(name: str, stops: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A photo as taken with 2^stops of the light, and the original; both (h, w, 3) uint8."""
    original = getattr(skimage.data, name)()
    generator = torch.Generator().manual_seed(seed)
    sensor = replace(SENSOR, exposure=(stops, stops))
    image = torch.from_numpy(original).permute(2, 0, 1)[None].float() / 255
    dark = darken(image, sensor.draw(1, generator), generator)[0].permute(1, 2, 0)
    return (dark * 255).round().to(torch.uint8).numpy(), original


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Restore dark photos and show them: dark | restored | original.")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, default=Path("demo"), help="default: %(default)s")
    parser.add_argument("--weights", metavar="PATH", help="folder or checkpoint (default: the weights of the package)")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = build_parser()
    args = parser.parse_args(argv)
    try:
        pipe = LightenPipeline.from_pretrained(args.weights)
    except (OSError, ValueError) as error:
        parser.error(f"cannot load {args.weights or 'the weights'}: {error}")
    rows, lines = [], []
    for seed, (name, stops) in enumerate(PHOTOS.items()):
        dark, original = dark_photo(name, stops, seed)
        start = time.perf_counter()
        restored = pipe(dark, seed=0)
        seconds = time.perf_counter() - start
        before, after = measure(dark, original), measure(restored, original)
        labels = (f"{name}: {before.psnr:.2f} dB", f"{after.psnr:.2f} dB, SSIM {after.ssim:.3f}", "")
        rows.append([Tile(p, text) for p, text in zip((dark, restored, original), labels, strict=True)])
        figures = [f"{value:.2f}" for value in (before.psnr, after.psnr, after.matched_psnr)]
        lines.append([name, f"{stops:g}", *figures, f"{after.ssim:.3f}", f"{seconds:.2f}"])
    head = ["photo", "stops", "PSNR, dark", "PSNR, restored", "brightness-matched", "SSIM, restored", "seconds"]
    print(markdown_table(head, lines))
    path = args.output / "contact_sheet.jpg"
    save_sheet(path, contact_sheet(rows, headings=("dark", "restored", "original"), size=(400, 400)))
    print(f"\ndark | restored | original: {path}")


if __name__ == "__main__":
    main()
