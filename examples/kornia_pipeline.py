"""A restorer among kornia's augmentations, and as a layer that gradients pass through.

python examples/kornia_pipeline.py -o demo

First, a batch of dark photos is restored, turned and flipped, each with its mask. Then a gain for each channel, put in
front of the restorer, is learned by gradient descent until the restored photo is grey on average: a stand-in for any
network of your own that is to be trained with a loss on restored pictures. The restorer's weights stay as they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import kornia.augmentation as K
import numpy as np
import torch
import torch.nn.functional as F
from demo import PHOTOS, dark_photo
from torch import Tensor, nn

from lightendiff.evaluation.contact_sheet import Tile, contact_sheet, save_sheet
from lightendiff.integrations.kornia import LightenModule

SIZE = (192, 256)  # height, width


class Gain(nn.Module):
    """Multiplies each channel by a factor that is learned, 1 at first."""

    def __init__(self) -> None:
        super().__init__()
        self.stops = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return (image * torch.exp2(self.stops)).clamp(0.0, 1.0)


def dark_batch() -> Tensor:
    """(b, 3, h, w) in [0, 1]: the demo's photos, shrunk to one size."""
    photos = [dark_photo(name, stops, seed)[0] for seed, (name, stops) in enumerate(PHOTOS.items())]
    tensors = [torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255 for photo in photos]
    return torch.cat([F.interpolate(tensor, SIZE, mode="area") for tensor in tensors])


def greyness(image: Tensor) -> Tensor:
    """How far the channels' means lie apart: their variance, 0 for a picture that is grey on average."""
    return image.mean(dim=(2, 3)).var(dim=1).mean()


def learn_gain(lighten: LightenModule, dark: Tensor, steps: int) -> tuple[Gain, list[float]]:
    """A gain in front of `lighten`, learned on `dark`, and the loss before each step and after the last."""
    gain = Gain()
    optimizer, losses = torch.optim.Adam(gain.parameters(), lr=0.1), []
    for _ in range(steps):
        loss = greyness(lighten(gain(dark)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        losses.append(float(greyness(lighten(gain(dark)))))
    return gain, losses


def tile(image: Tensor, label: str = "") -> Tile:
    return Tile((image.detach() * 255).round().permute(1, 2, 0).numpy().astype(np.uint8), label)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A restorer among kornia's augmentations, and as a layer.")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, default=Path("demo"), help="default: %(default)s")
    parser.add_argument("--weights", metavar="PATH", help="folder or checkpoint (default: the weights of the package)")
    parser.add_argument("--steps", metavar="N", type=int, default=12, help="of gradient descent; default: %(default)s")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = build_parser()
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    try:
        lighten = LightenModule(args.weights)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    dark = dark_batch()
    masks = (dark.mean(dim=1, keepdim=True) > dark.mean(dim=(1, 2, 3), keepdim=True)).float()
    augment = K.AugmentationSequential(
        lighten, K.RandomHorizontalFlip(p=1.0), K.RandomRotation(10.0, p=1.0), data_keys=["input", "mask"]
    )
    with torch.no_grad():
        augmented, moved = augment(dark, masks)
    gain, losses = learn_gain(lighten, dark[:1], args.steps)
    print(f"variance of the channels' means: {losses[0]:.2e} at first, {losses[-1]:.2e} after {args.steps} steps")
    print("learned gain in stops (R, G, B):", ", ".join(f"{stops:+.2f}" for stops in gain.stops.flatten().tolist()))
    rows = [
        [tile(before), tile(after), tile(mask.expand(3, -1, -1))]
        for before, after, mask in zip(dark, augmented.clamp(0.0, 1.0), moved, strict=True)
    ]
    with torch.no_grad():
        rows.append([tile(dark[0]), tile(lighten(dark[:1])[0], "as it is"), tile(lighten(gain(dark[:1]))[0], "grey")])
    path = args.output / "kornia.jpg"
    save_sheet(path, contact_sheet(rows, headings=("dark", "restored, flipped, turned", "its mask"), size=SIZE[::-1]))
    print(f"\n{path}")


if __name__ == "__main__":
    main()
