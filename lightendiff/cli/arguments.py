"""The arguments of restoring: of infer.py and `lightendiff restore`, and those that other subcommands share with them.

Nothing heavy is imported here, so that --help and wrong arguments are answered at once.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any, NoReturn

from ..images.formats import OPTIONS

FORMATS = OPTIONS
PRECISIONS = ("float32", "bfloat16", "float16")


class Parser(argparse.ArgumentParser):
    """Tells what is wrong in one line, without the usage before it, and of what --help explains, that it does."""

    _parsing = False

    def parse_args(self, *args: Any, **options: Any) -> Any:
        self._parsing = True
        try:
            return super().parse_args(*args, **options)
        finally:
            self._parsing = False

    def parse_known_args(self, *args: Any, **options: Any) -> Any:  # of a subcommand's parser
        before, self._parsing = self._parsing, True
        try:
            return super().parse_known_args(*args, **options)
        finally:
            self._parsing = before

    def error(self, message: str) -> NoReturn:
        line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in message)
        hint = f" (see {self.prog} --help)" if self._parsing else ""
        self.exit(2, f"{self.prog}: {line}{hint}\n")


def number(kind: Callable[[str], Any], low: float, high: float) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        value = kind(text)
        if not low <= value <= high:
            limits = f"from {low:g} to {high:g}" if high < 2**31 else f"of at least {low:g}"
            raise argparse.ArgumentTypeError(f"expected a number {limits}, got {text}")
        return value

    parse.__name__ = "number"  # argparse names it when the text is no number at all
    return parse


def _name_part(text: str) -> str:
    if "/" in text or os.sep in text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a part of a file name, got {text!r}")
    return text


def build_parser(parser: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """infer.py's parser, or `parser` with its description and arguments."""
    parser = Parser(prog="infer.py") if parser is None else parser
    parser.description = (
        "Restore dark photos. Format, size, bit depth, alpha, colour profile and metadata are kept; "
        "inputs are never overwritten."
    )
    parser.epilog = (
        "Exit code: 0 when all went well, 1 when any picture failed, 2 for wrong arguments, 130 after Ctrl-C. "
        "Under torchrun (or with RANK and WORLD_SIZE set) every process restores its share of the pictures; under "
        "torchrun it exits with 0 even if some failed, since torchrun would end the others."
    )
    parser.add_argument(
        "input",
        metavar="INPUT",
        nargs="+",
        help="a picture (PNG, JPEG, WebP, HEIC, AVIF, TIFF, BMP, cameras' RAW) or a folder, on this machine or at an "
        "address such as s3://bucket/photos, or a pattern such as '*.jpg'; - reads one picture from standard input",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="folder or address to write to, made if missing, or the one picture's name; - writes to standard "
        "output (default: photo_restored.jpg beside photo.jpg, and holiday_restored/ beside holiday/)",
    )
    add_debug(parser)
    files = parser.add_argument_group("files")
    files.add_argument("-r", "--recursive", action="store_true", help="enter subfolders; OUT gets the same structure")
    about = "format to write (default: the input's; TIFF for RAW photos)"
    files.add_argument("--format", type=str.lower, choices=FORMATS, help=about)
    files.add_argument(
        "--quality",
        metavar="1-100",
        type=number(int, 1, 100),
        help="of JPEG, WebP, HEIC and AVIF (default: the input's, else 95, or what looks as good)",
    )
    files.add_argument(
        "--suffix", metavar="TEXT", default="", type=_name_part, help="added to the names of the outputs"
    )
    instead = files.add_mutually_exclusive_group()
    instead.add_argument("--compare", action="store_true", help="write dark | restored side by side, as NAME_compare")
    about = "write one sheet of several exposures to choose from, with the option for each, as NAME_preview.jpg"
    instead.add_argument("--preview", action="store_true", help=about)
    files.add_argument("--skip-existing", action="store_true", help="leave out pictures whose output is already there")
    files.add_argument(
        "--max-megapixels",
        metavar="N",
        type=number(float, 0, 1e6),
        default=300,
        help="refuse larger pictures as decompression bombs (default: %(default)s)",
    )
    files.add_argument(
        "--max-megabytes",
        metavar="N",
        type=number(float, 0, 1e9),
        help="refuse larger files (default: 500, or 8 bytes a pixel if that's more)",
    )
    add_restoration(parser)
    add_loading(parser)
    return parser


def file_limits(args: argparse.Namespace) -> dict[str, Any]:
    """What was given of the limits of files, as `images.read_picture` names them."""
    max_bytes = None if args.max_megabytes is None else int(args.max_megabytes * 1e6)
    return {"max_pixels": int(args.max_megapixels * 1e6), "max_bytes": max_bytes}


def add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--debug", action="store_true", help="show where in the program an error came from")


def add_restoration(parser: argparse.ArgumentParser, tile: bool = True) -> None:
    """What `loading.load_restore` takes beside the weights; without `tile`, all but --tile and --max-memory."""
    how = parser.add_argument_group("restoration")
    how.add_argument("--steps", metavar="N", type=number(int, 1, 1000), help="sampling steps (default: the weights')")
    how.add_argument(
        "--strength", metavar="0-1", type=number(float, 0, 1), help="0 keeps the input, 1 restores it (default: 1)"
    )
    how.add_argument(
        "--exposure",
        metavar="STOPS",
        type=number(float, -3, 3),
        help="make the results brighter or darker than what is chosen automatically, from -3 to 3 (default: 0)",
    )
    how.add_argument(
        "--seed",
        metavar="N",
        type=number(int, 0, 2**63 - 1),
        default=0,
        help="of the noise; every picture gets the same, whatever else is in the run (default: %(default)s)",
    )
    if tile:
        memory = how.add_mutually_exclusive_group()
        memory.add_argument(
            "--tile",
            metavar="N",
            type=number(int, 1, 2**31),
            help="restore in windows of at most N pixels to a side, to save memory (default: where that is needed)",
        )
        memory.add_argument(
            "--max-memory",
            metavar="GB",
            type=number(float, 0, 1e6),
            help="take at most so much memory, of the GPU where there is one, in windows as large as that allows "
            "(default: what 4 megapixels take, or less where less is free)",
        )


def restoration_options(args: argparse.Namespace) -> dict[str, Any]:
    """What was given of the options of `add_restoration`, as the pipeline names them."""
    names = {"num_inference_steps": "steps"} | {
        name: name for name in ("strength", "exposure", "seed", "tile", "max_memory")
    }
    given = {name: getattr(args, option, None) for name, option in names.items()}
    return {name: value for name, value in given.items() if value is not None}


def add_loading(parser: argparse.ArgumentParser) -> None:
    """What `loading.load_pipeline` takes."""
    how = parser.add_argument_group("weights and device")
    how.add_argument(
        "--weights",
        metavar="PATH",
        help="folder, published checkpoint or owner/name on the Hugging Face Hub (default: the shipped ones)",
    )
    how.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps (default: the best there is)")
    how.add_argument("--dtype", choices=PRECISIONS, help="precision of the networks (default: what suits the device)")
    about = "compile the networks first, which takes a minute or two and pays from some 1500 pictures on (on a CPU)"
    how.add_argument("--compile", action="store_true", help=about)
