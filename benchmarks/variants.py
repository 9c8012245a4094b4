"""Whether a reference's exposure is among `pipe.variants`: python benchmarks/variants.py --data data (see --help).

The sets are those of quality.py that nobody trained on. `mean` and `deviation` are of the stops by which references are
brighter than what is restored; `covered` is how many of them lie in the middle 80 % of the distribution that variants
are taken from; `best of 3` is the mean PSNR of the best of three.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import NormalDist

import numpy as np
import quality
import torch

from lightendiff import LightenPipeline
from lightendiff.diffusion.options import EXPOSURE_DEVIATION
from lightendiff.evaluation.metrics import psnr
from lightendiff.tone import exposed

SETS = ("lol_val", "brackets_val")


def stops_between(restored: np.ndarray, reference: np.ndarray) -> float:
    """Stops that bring `restored` to the mean of `reference`, both (3, h, w) uint8."""
    picture, mean = torch.from_numpy(restored).float() / 255, float(reference.mean()) / 255
    low, high = -4.0, 4.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if float(exposed(picture, middle).mean()) < mean else (low, middle)
    return (low + high) / 2


def measure(pipe: LightenPipeline, dark: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
    """Stops that are missing, PSNR of the middle one of three variants, and of the best."""
    pictures = pipe.variants(np.ascontiguousarray(dark.transpose(1, 2, 0)), 3)
    pictures = [np.ascontiguousarray(picture.transpose(2, 0, 1)) for picture in pictures]
    wanted = torch.from_numpy(np.ascontiguousarray(reference))[None].float() / 255
    figures = [float(psnr(torch.from_numpy(picture)[None].float() / 255, wanted)) for picture in pictures]
    return stops_between(pictures[1], reference), figures[1], max(figures)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with lol_v1 and brackets")
    parser.add_argument("--weights", help="default: the shipped ones")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    pipe = LightenPipeline.from_pretrained(*([args.weights] if args.weights else []))
    half = NormalDist(0.0, EXPOSURE_DEVIATION).inv_cdf(0.9)
    rows = []
    for name in SETS:
        source = quality.make_source(name, args, quality.read_kept_out())
        source.load()
        figures = np.array([measure(pipe, pair.dark, pair.target) for pair in source.pairs()])
        stops, single, best = figures.T
        covered = f"{100 * (np.abs(stops) < half).mean():.0f} %"
        row = [name, len(figures), f"{stops.mean():.2f}", f"{stops.std():.2f}", covered]
        rows.append([*row, f"{single.mean():.2f}", f"{best.mean():.2f}"])
    print("| set | pictures | mean, stops | deviation, stops | covered | PSNR, dB | best of 3, dB |")
    print("|" + " --- |" * 7)
    print("\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows))


if __name__ == "__main__":
    main()
