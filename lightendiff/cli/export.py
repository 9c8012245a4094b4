"""`lightendiff export`: the restorer as a graph that other programs run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from ..files.locations import shown
from .arguments import number

HELP = "write the restorer for other programs, as ONNX or for torch.export"
EXAMPLES = """
lightendiff export restorer.onnx
lightendiff export restorer.onnx --steps 1
lightendiff export restorer.pt2 --format torch-export --weights runs/default_stage2/export
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", metavar="OUT", help="file to write; one that exists is replaced")
    parser.add_argument(
        "--format", choices=("onnx", "torch-export"), default="onnx", help="what to write (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", metavar="N", type=number(int, 1, 1000), help="sampling steps (default: the weights')"
    )
    parser.add_argument(
        "--weights",
        metavar="PATH",
        help="folder, or owner/name on the Hugging Face Hub (default: those of the package)",
    )


def run(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> int:
    import os

    import torch

    from ..integrations.export import export
    from ..pipeline import LightenPipeline

    pipe = LightenPipeline.from_pretrained(args.weights, device="cpu", dtype=torch.float32)
    export(pipe, args.output, format=args.format, num_inference_steps=args.steps)
    print(f"{shown(args.output)}: {os.path.getsize(args.output) / 1e6:.1f} MB")
    return 0
