"""`lightendiff convert`: weights from one layout into another."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import NoReturn

from ..files.locations import shown

HELP = "convert weights between a training's checkpoint, the published one and folders for inference"
EXAMPLES = """
lightendiff convert runs/default_stage2/last.ckpt my-weights
lightendiff convert runs/default_stage2/last.ckpt my-weights --half
lightendiff convert stage2_weight.pth.tar paper-weights
lightendiff convert paper-weights stage2_weight.pth.tar
"""
PUBLISHED = (".tar", ".pth", ".pt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input",
        metavar="INPUT",
        help="a checkpoint of train.py (last.ckpt), the published stage2_weight.pth.tar, or a folder for inference",
    )
    parser.add_argument(
        "output",
        metavar="OUT",
        help="the folder to write, with config.json and model.safetensors, or, where the name ends in "
        f"{', '.join(PUBLISHED)}, a file in the published layout; neither may be there already",
    )
    parser.add_argument("--half", action="store_true", help="store the folder's weights as float16, at half the size")


def run(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> int:
    published = args.output.lower().endswith(PUBLISHED)
    if published and args.half:
        error("--half: the published layout is float32")
    from ..weights.folder import CONFIG_NAME, WEIGHTS_NAME, save_restorer
    from ..weights.load import read_weights
    from ..weights.published import write_published

    written = [args.output] if published else [os.path.join(args.output, name) for name in (CONFIG_NAME, WEIGHTS_NAME)]
    if there := [path for path in written if os.path.lexists(path)]:
        raise FileExistsError(f"{there[0]}: exists already; nothing is replaced")
    weights = read_weights(args.input)
    if published:
        write_published(weights.restorer, args.output)
    else:
        save_restorer(weights.restorer, args.output, args.half)
    size = sum(os.path.getsize(path) for path in written)
    print(f"{weights.layout} → {shown(args.output)}: {size / 1e6:.1f} MB")
    return 0
