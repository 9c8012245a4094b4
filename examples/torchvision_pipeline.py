"""Dark photos with boxes and masks through torchvision's v2 transforms and the workers of a DataLoader.

python examples/torchvision_pipeline.py -o demo

The photos are the demo's: in the public domain, darkened by the sensor model. `LightenTransform` restores those that
are dark; the transforms after it mirror and crop the restored picture together with its box and mask.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from demo import PHOTOS, dark_photo
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from lightendiff.evaluation.contact_sheet import Tile, contact_sheet, save_sheet
from lightendiff.integrations.torchvision import LightenTransform

SUBJECTS = {  # left, top, right, bottom
    "astronaut": (150, 40, 290, 210),
    "coffee": (133, 15, 461, 383),
    "chelsea": (142, 94, 214, 182),  # an eye
    "rocket": (300, 60, 350, 340),
}
SIDE = 256  # pixels of what comes out


class DarkPhotos(Dataset[dict[str, Any]]):
    """The demo's photos, dark, each with the box around its subject, that box as a mask, and a number."""

    def __init__(self, transform: v2.Transform) -> None:
        self.names, self.transform = list(PHOTOS), transform

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self.names[index]
        dark, _ = dark_photo(name, PHOTOS[name], seed=index)
        left, top, right, bottom = SUBJECTS[name]
        mask = torch.zeros(1, *dark.shape[:2], dtype=torch.uint8)
        mask[:, top:bottom, left:right] = 1
        sample = {
            "image": tv_tensors.Image(torch.from_numpy(dark).permute(2, 0, 1)),
            "boxes": tv_tensors.BoundingBoxes(
                torch.tensor([SUBJECTS[name]]), format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=dark.shape[:2]
            ),
            "masks": tv_tensors.Mask(mask),
            "label": index,
        }
        return self.transform(sample)


def pipeline(lighten: v2.Transform) -> v2.Transform:
    """What follows `lighten` sees its pictures, whatever they were before."""
    return v2.Compose(
        [
            lighten,
            v2.RandomHorizontalFlip(p=1.0),
            v2.Resize(SIDE),
            v2.CenterCrop(SIDE),
            v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
        ]
    )


def batch_of(transform: v2.Transform, workers: int) -> dict[str, Any]:
    """All photos as one batch."""
    return next(iter(DataLoader(DarkPhotos(transform), batch_size=len(PHOTOS), num_workers=workers)))


def drawn(batch: dict[str, Any], index: int) -> np.ndarray:
    """(h, w, 3) uint8: the picture, its box in orange and its mask as a faint green."""
    image = (batch["image"][index] * 255).round().to(torch.uint8)
    image = draw_segmentation_masks(image, batch["masks"][index].bool(), alpha=0.15, colors="green")
    image = draw_bounding_boxes(image, batch["boxes"][index], colors="orange", width=2)
    return image.permute(1, 2, 0).numpy()


def main(argv: Sequence[str] | None = None) -> None:
    parser = build_parser()
    args = parser.parse_args(argv)
    try:
        lighten = LightenTransform(args.weights, dark_below=args.dark_below)
        dark, restored = batch_of(pipeline(v2.Identity()), args.workers), batch_of(pipeline(lighten), args.workers)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    rows = []
    for index, name in enumerate(PHOTOS):
        means = [float(batch["image"][index].mean()) for batch in (dark, restored)]
        print(f"{name}: mean {means[0]:.3f} before, {means[1]:.3f} after; box {restored['boxes'][index].tolist()[0]}")
        both = zip((dark, restored), means, strict=True)
        rows.append([Tile(drawn(batch, index), f"mean {mean:.2f}") for batch, mean in both])
    path = args.output / "torchvision.jpg"
    save_sheet(path, contact_sheet(rows, headings=("without", "with LightenTransform"), size=(SIDE, SIDE)))
    print(f"\nwithout | with LightenTransform: {path}")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Dark photos with boxes and masks through torchvision's transforms.")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, default=Path("demo"), help="default: %(default)s")
    parser.add_argument("--weights", metavar="PATH", help="folder or checkpoint (default: the weights of the package)")
    parser.add_argument("--workers", metavar="N", type=int, default=2, help="of the DataLoader; default: %(default)s")
    parser.add_argument(
        "--dark-below", metavar="0-1", type=float, default=0.3, help="restore below this mean; default: %(default)s"
    )
    return parser


if __name__ == "__main__":
    main()
