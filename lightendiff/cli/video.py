"""`lightendiff video`: a video, frame by frame, without flicker."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from .arguments import add_loading, add_restoration, number, restoration_options
from .loading import load_pipeline

HELP = "restore a video, with its sound and without flicker"
EXAMPLES = """
lightendiff video night.mp4 restored.mp4
lightendiff video night.mp4 restored.mp4 --steps 1 --smoothing 2
lightendiff video night.mp4 restored.mp4 --resume
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="INPUT", help="the video")
    parser.add_argument(
        "output",
        metavar="OUT",
        help="the file to write: .mp4, .m4v, .mov, .mkv, .webm or .ts; it appears when it is whole, and replaces one "
        "that is there",
    )
    parser.add_argument(
        "--smoothing",
        metavar="SECONDS",
        type=number(float, 0, 3600),
        help="over which brightness and colour are evened out, 0 for every frame on its own (default: 1)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on where an interrupted run of the same command ended"
    )
    parser.add_argument(
        "--max-megapixels",
        metavar="N",
        type=number(float, 0, 1e6),
        default=100,
        help="refuse videos with larger frames (default: %(default)s)",
    )
    add_restoration(parser, tile=False)
    add_loading(parser)


def run(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> int:
    from tqdm import tqdm

    from ..video.restore import restore_video

    options = restoration_options(args) | {"max_pixels": int(args.max_megapixels * 1e6)}
    if args.smoothing is not None:
        options["smoothing"] = args.smoothing
    pipe = load_pipeline(args, error)
    with tqdm(unit="frame", disable=None, file=sys.stderr) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        try:
            summary = restore_video(args.input, args.output, pipe, resume=args.resume, progress=progress, **options)
        except KeyboardInterrupt:
            bar.close()
            print("what is restored is kept: --resume goes on from there", file=sys.stderr)
            raise
    for note in summary.notes:
        print(f"note: {note}", file=sys.stderr)
    print(summary)
    return 0
