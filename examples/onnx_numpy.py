"""Restore a photo with ONNX Runtime, NumPy and Pillow alone (python examples/onnx_numpy.py MODEL IN OUT).

`lightendiff export restorer.onnx` writes the model. Neither this package nor PyTorch is needed here.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def restore(session: onnxruntime.InferenceSession, photo: np.ndarray) -> np.ndarray:
    """A photo (h, w, 3) uint8 of any size, restored: the same shape and dtype."""
    image = photo.astype(np.float32).transpose(2, 0, 1)[None] / 255
    (restored,) = session.run(None, {"image": image})
    return np.rint(restored[0].transpose(1, 2, 0) * 255).astype(np.uint8)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Restore a photo with ONNX Runtime.")
    parser.add_argument("model", help="what `lightendiff export` wrote")
    parser.add_argument("input", help="dark photo")
    parser.add_argument("output", help="where to write the restored one")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    session = onnxruntime.InferenceSession(args.model, providers=onnxruntime.get_available_providers())
    photo = ImageOps.exif_transpose(Image.open(args.input)).convert("RGB")
    restored = Image.fromarray(restore(session, np.asarray(photo)))
    restored.save(args.output, quality=95, icc_profile=photo.info.get("icc_profile"))


if __name__ == "__main__":
    main()
