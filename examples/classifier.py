"""Does restoring help a classifier that has only seen pictures in good light? (python examples/classifier.py -o demo)

The task: which of eight photos is a patch of 32×32 pixels from? The photos come with scikit-image (astronaut by NASA,
rocket by SpaceX, the others CC0). A quarter of each photo's blocks is kept for the test; a small convolutional network
learns from the others as they are. Then the photos are darkened by the package's sensor model and treated, whole:

    gain        the light is multiplied until its mean is that of the bright photo, which a camera couldn't know
    denoised    the same, and then OpenCV's non-local means
    restored    lightendiff, which is told nothing
    matched     the same with its light multiplied as in "gain": what remains is noise, detail and colour

Nothing is downloaded. Neither the network nor lightendiff's weights have seen a patch of the test.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import torch
import torch.nn.functional as F
from demo import SENSOR
from torch import Tensor, nn

from lightendiff import LightenPipeline
from lightendiff.data.degradations import darken
from lightendiff.evaluation.contact_sheet import Tile, contact_sheet, save_sheet
from lightendiff.evaluation.measure import markdown_table

PHOTOS = ("astronaut", "brick", "camera", "chelsea", "coffee", "grass", "gravel", "rocket")
STOPS = (-3.0, -5.0, -7.0)
TREATMENTS = ("dark", "gain", "denoised", "restored", "matched")
BLOCK, PATCH = 64, 32  # pixels
STEPS, BATCH = 150, 96
GAMMA = 2.2


def photo(name: str) -> np.ndarray:
    """(h, w, 3) uint8; grey photos in three equal channels."""
    pixels = getattr(skimage.data, name)()
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def blocks(picture: np.ndarray) -> np.ndarray:
    """(n, 3, 64, 64) uint8: the picture cut up, without what is left over at its right and bottom edges."""
    rows, columns = (side // BLOCK for side in picture.shape[:2])
    cut = picture[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK, 3)
    return cut.transpose(0, 2, 4, 1, 3).reshape(-1, 3, BLOCK, BLOCK)


def is_test(name: str) -> np.ndarray:
    """Which blocks of a photo are kept for the test: a random quarter, always the same."""
    count = len(blocks(photo(name)))
    order = np.random.default_rng(PHOTOS.index(name)).permutation(count)
    return order < count // 4


def test_patches(pictures: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """The four quarters of every test block, (n, 3, 32, 32) float in [0, 1], and their labels (n,)."""
    kept = [blocks(picture)[is_test(name)] for name, picture in zip(PHOTOS, pictures, strict=True)]
    found = torch.from_numpy(np.concatenate(kept)).float() / 255
    quarters = found.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH).permute(0, 2, 3, 1, 4, 5)
    labels = torch.repeat_interleave(torch.arange(len(PHOTOS)), torch.tensor([4 * len(part) for part in kept]))
    return quarters.reshape(-1, 3, PATCH, PATCH), labels


# ---- darkening, and what undoes it


def darkened(picture: np.ndarray, stops: float, seed: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    parameters = replace(SENSOR, exposure=(stops, stops)).draw(1, generator)
    dark = darken(image, parameters, generator)[0].permute(1, 2, 0)
    return (dark * 255).round().to(torch.uint8).numpy()


def with_light_of(picture: np.ndarray, bright: np.ndarray) -> np.ndarray:
    """`picture` with its light multiplied until the mean of its light is that of `bright`."""
    table = (np.arange(256) / 255.0) ** GAMMA
    wanted, counts = table[bright].mean(), np.bincount(picture.reshape(-1), minlength=256) / picture.size
    factor = 1.0
    for _ in range(20):  # what clips is made up for by the rest
        factor *= wanted / max(float((factor * table).clip(0, 1) @ counts), 1e-9)
    return ((factor * table).clip(0, 1) ** (1 / GAMMA) * 255).round().astype(np.uint8)[picture]


def treated(dark: np.ndarray, bright: np.ndarray, pipe: LightenPipeline) -> dict[str, np.ndarray]:
    """`dark` after each of TREATMENTS."""
    gain, restored = with_light_of(dark, bright), pipe(dark)
    denoised = cv2.fastNlMeansDenoisingColored(gain, None, 10, 10, 5, 13)
    pictures = (dark, gain, denoised, restored, with_light_of(restored, bright))
    return dict(zip(TREATMENTS, pictures, strict=True))


# ---- the classifier


def network() -> nn.Module:
    layers: list[nn.Module] = []
    widths = (3, 32, 64, 128)
    for before, width in pairwise(widths):
        layers += [nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], len(PHOTOS)))


def train(bright: Sequence[np.ndarray], seed: int) -> nn.Module:
    """A network that has learned the bright photos' training blocks: random windows, mirrored, ±30 % brightness."""
    torch.manual_seed(seed)
    parts = [blocks(picture)[~is_test(name)] for name, picture in zip(PHOTOS, bright, strict=True)]
    pictures = torch.from_numpy(np.concatenate(parts)).float() / 255
    labels = torch.repeat_interleave(torch.arange(len(PHOTOS)), torch.tensor([len(part) for part in parts]))
    model = network().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=STEPS)
    for _ in range(STEPS):
        chosen = torch.randint(len(pictures), (BATCH,))
        top, left = torch.randint(BLOCK - PATCH + 1, (2,)).tolist()
        batch = pictures[chosen, :, top : top + PATCH, left : left + PATCH]
        batch = torch.where(torch.rand(BATCH, 1, 1, 1) < 0.5, batch, batch.flip(3))
        batch = (batch * torch.empty(BATCH, 1, 1, 1).uniform_(0.7, 1.3)).clamp(0.0, 1.0)
        loss = F.cross_entropy(model(batch), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(models: Sequence[nn.Module], pictures: Sequence[np.ndarray]) -> float:
    """Share of the test patches of `pictures`, one per photo, that are told rightly; mean over the models."""
    patches, labels = test_patches(pictures)
    return float(np.mean([(model(patches).argmax(dim=1) == labels).float().mean().item() for model in models]))


# ---- the command


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A classifier on dark pictures, with and without restoring.")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, help="write a sheet of the treated pictures here")
    parser.add_argument("--weights", metavar="PATH", help="folder or checkpoint (default: the weights of the package)")
    parser.add_argument("--networks", metavar="N", type=int, default=2, help="to average over; default: %(default)s")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.networks < 1:
        parser.error(f"argument --networks: expected at least 1, got {args.networks}")
    try:
        pipe = LightenPipeline.from_pretrained(args.weights)
    except (OSError, ValueError) as error:
        parser.error(f"cannot load {args.weights or 'the weights'}: {error}")
    bright = [photo(name) for name in PHOTOS]
    models = [train(bright, seed) for seed in range(args.networks)]
    lines, rows = [], []
    for stops in STOPS:
        dark = [darkened(picture, stops, seed) for seed, picture in enumerate(bright)]
        results = [treated(d, b, pipe) for d, b in zip(dark, bright, strict=True)]
        figures = [accuracy(models, [result[name] for result in results]) for name in TREATMENTS]
        lines.append([f"{stops:g}", *(f"{100 * figure:.1f}" for figure in figures)])
        rows.append([Tile(results[0][name][:256, 128:384], f"{stops:g} stops") for name in TREATMENTS])
    _, labels = test_patches(bright)
    print(f"% of {len(labels)} patches told rightly, mean of {len(models)} networks; bright: ", end="")
    print(f"{100 * accuracy(models, bright):.1f} %, the most frequent photo: {100 * most_frequent(labels):.1f} %\n")
    print(markdown_table(["stops", *TREATMENTS], lines))
    if args.output is not None:
        path = args.output / "classifier.jpg"
        save_sheet(path, contact_sheet(rows, headings=TREATMENTS, size=(160, 160)))
        print(f"\n{path}")


def most_frequent(labels: Tensor) -> float:
    """What always naming the most frequent label would reach."""
    return float(labels.bincount().max() / len(labels))


if __name__ == "__main__":
    main()
