"""`lightendiff app`: the web page."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from .arguments import add_loading, number
from .loading import LICENCE, load_pipeline

HELP = "serve a web page on this machine that restores photos and videos"
EXAMPLES = """
lightendiff app
lightendiff app --port 8000 --max-megapixels 24
lightendiff app --host 0.0.0.0 --allow-host photos.example.org --no-browser
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "It runs until Ctrl-C or SIGTERM. Exit code: 0 then (130 or 143 while it is still starting), 1 when it can't "
        "start, 2 for wrong arguments."
    )
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="where to listen: this machine alone (default: %(default)s), or 0.0.0.0 for everyone in the network",
    )
    parser.add_argument(
        "--port", metavar="N", type=number(int, 1, 65535), default=7860, help="to listen at (default: %(default)s)"
    )
    for unit, what in (
        ("megapixels", "refuse larger pictures"),
        ("megabytes", "refuse larger files"),
        ("minutes", "stop a photo, batch or video after so much work"),
    ):
        parser.add_argument(
            f"--max-{unit}",
            metavar="N",
            type=number(float, 0.01, 1e6),
            help=f"{what} (default: the app's own limit)",
        )
    parser.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="a name by which others reach the page, such as a proxy's; may be given several times. Addresses, "
        "localhost and this machine's own name are allowed anyway; requests for other names are refused",
    )
    parser.add_argument(
        "--share", action="store_true", help="also make a public link, through which every picture passes"
    )
    parser.add_argument("--no-browser", action="store_true", help="don't open the page in the browser")
    add_loading(parser)


def run(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> int:
    from ..app.server import launch

    limits = {name: getattr(args, name) for name in ("max_megapixels", "max_megabytes", "max_minutes")}
    launch(
        lambda: load_pipeline(args, error),
        host=args.host,
        port=args.port,
        allow_hosts=args.allow_host,
        share=args.share,
        browser=not args.no_browser,
        footer=LICENCE if args.weights is None else "",
        **{name: value for name, value in limits.items() if value is not None},
    )
    return 0
