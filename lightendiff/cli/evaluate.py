"""`lightendiff evaluate`: how near restored pictures come to their references."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import NoReturn

from ..arguments import FORMATS, add_loading, add_restoration

HELP = "restore dark pictures and measure how near they come to their references"
EXAMPLES = """
lightendiff evaluate low/ high/
lightendiff evaluate low/ high/ --steps 4 --csv figures.csv --sheet best_median_worst.jpg
lightendiff evaluate dark.png reference.png
lightendiff evaluate outputs-of-another-program/ high/ --as-is
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dark", metavar="DARK", help="a picture, or a folder of them")
    parser.add_argument(
        "reference",
        metavar="REFERENCE",
        help="the picture that it should become, or a folder of such, of the same stems",
    )
    parser.add_argument(
        "--as-is", action="store_true", help="restore nothing: DARK is compared as it is, another program's results say"
    )
    parser.add_argument("--csv", metavar="FILE", help="write the figures of every picture")
    parser.add_argument("--sheet", metavar="FILE", help="write a picture of the best, the median and the worst by PSNR")
    add_restoration(parser)
    add_loading(parser)


def run(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> int:
    if args.sheet and os.path.splitext(args.sheet)[1][1:].lower() not in FORMATS:
        error(f"argument --sheet: expected a name that ends in one of {', '.join(FORMATS)}, got {args.sheet}")
    if args.as_is and (args.weights or args.steps):
        error("--as-is restores nothing: neither --weights nor --steps goes with it")
    from .figures import evaluate

    return evaluate(args, error)
