"""The command line of inference: `lightendiff restore INPUT [INPUT…] -o OUT`, and infer.py, which is the same.

Arguments are parsed, and inputs checked, before anything heavy is imported.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, cast

from .storage import is_address, located, make_folder, why

if TYPE_CHECKING:
    from .folder import Restore, RestoreMany, Summary
    from .pipeline import LightenPipeline

FAILED = 1  # exit codes: this, argparse's 2, and 128 + the number of the signal that ended the run
FORMATS = ("png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp")
PRECISIONS = ("float32", "bfloat16", "float16")


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
    parser = argparse.ArgumentParser(prog="infer.py") if parser is None else parser
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
        help="a picture (PNG, JPEG, WebP, TIFF, BMP, cameras' RAW) or a folder, on this machine or at an address such "
        "as s3://bucket/photos; - reads one picture from standard input",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        required=True,
        help="folder or address to write to, made if missing; - writes the one picture to standard output",
    )
    add_debug(parser)
    files = parser.add_argument_group("files")
    files.add_argument("-r", "--recursive", action="store_true", help="enter subfolders; OUT gets the same structure")
    files.add_argument("--format", choices=FORMATS, help="format to write (default: the input's; TIFF for RAW photos)")
    files.add_argument(
        "--quality", metavar="1-100", type=number(int, 1, 100), help="of JPEG and WebP (default: the input's, else 95)"
    )
    files.add_argument(
        "--suffix", metavar="TEXT", default="", type=_name_part, help="added to the names of the outputs"
    )
    files.add_argument("--compare", action="store_true", help="write dark | restored side by side")
    files.add_argument("--skip-existing", action="store_true", help="leave out pictures whose output is already there")
    files.add_argument(
        "--max-megapixels",
        metavar="N",
        type=number(float, 0, 1e6),
        default=300,
        help="refuse larger pictures as decompression bombs (default: %(default)s)",
    )
    add_restoration(parser)
    add_loading(parser)
    return parser


def add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--debug", action="store_true", help="show where in the program an error came from")


def add_restoration(parser: argparse.ArgumentParser, tile: bool = True) -> None:
    """What `load_restore` takes beside the weights; without `tile`, all but --tile and --max-memory."""
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


def add_loading(parser: argparse.ArgumentParser) -> None:
    """What `load_pipeline` takes."""
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. Wrong arguments raise SystemExit(2), as argparse does."""
    parser = build_parser()
    return run(parser.parse_args(argv), parser.error)


def run(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> int:
    """What `main` does with arguments of `build_parser`; `error(message)` reports wrong ones and exits."""
    _check_output(args.output, error)
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # a damaged file is reported once, by us
    warnings.filterwarnings("ignore", module="PIL")
    with ended_by() as signals:
        try:
            code = _run(args, error)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            code = None
    return 128 + signals[-1] if code is None else code


def _check_output(output: str, error: Callable[[str], NoReturn]) -> None:
    extension = os.path.splitext(output)[1][1:].lower()
    if output == "-" or os.path.isdir(output):
        return
    if is_address(output):
        try:
            located(output)
        except (ImportError, ValueError, OSError) as reason:
            error(f"argument -o/--output: {output}: {why(reason)}")
    elif os.path.lexists(output):
        error(f"argument -o/--output: {output} is not a folder")
    if extension in FORMATS:
        error(f"argument -o/--output: expected a folder, {output} looks like a picture's name")


@contextmanager
def ended_by() -> Iterator[list[int]]:
    """SIGTERM ends the run as Ctrl-C does, with a summary and nothing half-written. Yields a list that ends with
    the signal that came."""
    signals: list[int] = [signal.SIGINT]

    def handle(number: int, _: object) -> NoReturn:
        signals.append(number)
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, handle)
    except ValueError:  # not in the main thread, where handlers can't be set
        yield signals
        return
    try:
        yield signals
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> int | None:
    """The exit code, or None when a signal ended the run."""
    if "-" in (args.output, *args.input):
        from .stream import restore_stream

        return restore_stream(args, lambda: load_restore(args, error), error)
    from tqdm import tqdm

    from . import folder

    rank, processes = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    try:
        planned = folder.plan(
            args.input,
            args.output,
            share=(rank, processes),
            recursive=args.recursive,
            format=args.format,
            suffix=args.suffix,
            skip_existing=args.skip_existing,
        )
    except OSError as reason:
        error(f"argument -o/--output: {args.output}: {why(reason)}")

    def say(line: str) -> None:
        tqdm.write(line, file=sys.stderr)

    def failed(line: str) -> None:
        say(f"failed: {line}")
        if args.debug and sys.exc_info()[0] is not None:
            say(traceback.format_exc())

    for problem in planned.problems:
        say(f"failed: {problem}")
    summary = folder.Summary()
    if planned.jobs:
        try:
            make_folder(located(args.output))
        except OSError as reason:
            error(f"argument -o/--output: {args.output}: {why(reason)}")
        restore = load_restore(args, error)
        with tqdm(total=len(planned.jobs), unit="image", disable=None, file=sys.stderr) as bar:
            summary = folder.restore_files(
                planned.jobs,
                restore,
                many=_together(restore),
                format=args.format,
                quality=args.quality,
                compare=args.compare,
                max_pixels=int(args.max_megapixels * 1e6),
                failed=failed,
                done=bar.update,
            )
    summary.failed += len(planned.problems)
    summary.skipped += len(planned.skipped)
    _report(summary, say, f"process {rank} of {processes}: " if processes > 1 else "")
    if summary.interrupted:
        return None
    # torchrun ends all processes when one exits with anything but 0, and their pictures needn't suffer for that.
    return FAILED if summary.failed and "TORCHELASTIC_RUN_ID" not in os.environ else 0


def load_pipeline(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> LightenPipeline:
    """The pipeline that --weights, --device and --dtype ask for."""
    import torch

    from .pipeline import LightenPipeline

    dtype = None if args.dtype is None else getattr(torch, args.dtype)
    try:
        device = args.device
        if device is None and torch.cuda.is_available():
            device = f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
        pipe = LightenPipeline.from_pretrained(args.weights, device=device, dtype=dtype)
        return pipe.compile() if args.compile else pipe
    except (OSError, ValueError, ImportError, RuntimeError, AssertionError) as reason:  # the last for devices, by torch
        if args.debug:
            traceback.print_exc()
        error(f"cannot load {args.weights or 'the weights'}: {reason}")


def load_restore(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> Restore:
    """`load_pipeline`'s pipeline with the options of `add_restoration`."""
    return restoring(load_pipeline(args, error), args)


def restoring(pipe: LightenPipeline, args: argparse.Namespace) -> Restore:
    """The pipeline with the options of `add_restoration`."""
    return partial(pipe, **restoration_options(args))


def restoration_options(args: argparse.Namespace) -> dict[str, Any]:
    """What was given of the options of `add_restoration`, as the pipeline names them."""
    names = {"num_inference_steps": "steps"} | {
        name: name for name in ("strength", "exposure", "seed", "tile", "max_memory")
    }
    given = {name: getattr(args, option, None) for name, option in names.items()}
    return {name: value for name, value in given.items() if value is not None}


def _together(restore: Restore) -> RestoreMany | None:
    """Several pictures at a time, for GPUs; on a CPU each takes as long as alone."""
    device = getattr(getattr(restore, "func", None), "device", None)
    if device is None or device.type != "cuda":
        return None
    return lambda pictures: cast(Any, restore)(pictures, batch_size=len(pictures))


def _report(summary: Summary, say: Callable[[str], None], who: str) -> None:
    from .images import shown

    for note, sources in summary.notes.items():
        others = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
        say(f"note: {note}: {shown(sources[0])}{others}")
    print(f"{who}{summary}")
