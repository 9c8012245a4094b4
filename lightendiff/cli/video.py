"""`lightendiff video`: a video, picture by picture, without flicker."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from ..command import add_loading, add_restoration, load_pipeline, number

HELP = "restore a video, with its sound"
EXAMPLES = """
lightendiff video night.mp4 restored.mp4
lightendiff video night.mp4 restored.mp4 --steps 1 --smoothing 0.9
lightendiff video night.mp4 restored.mp4 --resume
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="INPUT", help="the video")
    parser.add_argument("output", metavar="OUT", help="the file to write")
    parser.add_argument(
        "--smoothing",
        metavar="0-1",
        type=number(float, 0, 1),
        help="how much the brightness of a picture follows those before it (default: what suits most videos)",
    )
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run of the same was")
    add_restoration(parser, tile=False)
    add_loading(parser)


def run(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> int:
    from ..integrations.video import restore_video

    given = {"num_inference_steps": args.steps, "strength": args.strength, "exposure": args.exposure}
    given |= {"smoothing": args.smoothing, "seed": args.seed}
    options = {name: value for name, value in given.items() if value is not None}
    summary = restore_video(args.input, args.output, load_pipeline(args, error), resume=args.resume, **options)
    print(summary)
    return 0
