"""`lightendiff restore INPUT [INPUT…] [-o OUT]`, and infer.py, which is the same.

The arguments are in `arguments`. They are parsed, and inputs checked, before anything heavy is imported.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from ..files.locations import located, shown, why
from ..files.storage import make_folder
from .arguments import build_parser, file_limits
from .loading import FAILED, ended_by, load_restore
from .messages import never_fail
from .outputs import folders, maker, names_picture, planned, settle
from .record import note_options, others_options

if TYPE_CHECKING:
    from ..batch.run import Summary

HELP = "restore photos, or folders of them"
EXAMPLES = """
lightendiff restore photo.jpg
lightendiff restore photo.jpg bright.jpg
lightendiff restore photo.jpg -o restored
lightendiff restore holiday/ -o restored --recursive --skip-existing
lightendiff restore photo.jpg -o restored --strength 0.7 --exposure 0.5
lightendiff restore photo.jpg --preview
lightendiff restore photo.jpg -o compare --compare
lightendiff restore - -o - < dark.png > restored.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    build_parser(parser)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. Wrong arguments raise SystemExit(2), as argparse does."""
    never_fail()
    parser = build_parser()
    return run(parser.parse_args(argv), parser.error)


def run(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> int:
    """What `main` does with arguments of `arguments.build_parser`; `error(message)` reports wrong ones and exits."""
    settle(args, error)
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # a damaged file is reported once, by us
    warnings.filterwarnings("ignore", module="PIL")
    with ended_by() as signals:
        try:
            code = _run(args, error)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            code = None
    return 128 + signals[-1] if code is None else code


def _run(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> int | None:
    """The exit code, or None when a signal ended the run."""
    if "-" in (args.output, *args.input):
        from .stream import restore_stream

        return restore_stream(args, lambda: load_restore(args, error), error)
    from tqdm import tqdm

    from ..batch.run import Summary, restore_files
    from .bar import PictureBar

    rank, processes = share = _share(error)
    try:
        plan = planned(args, share)
    except OSError as reason:
        error(f"argument -o/--output: {args.output or 'beside the inputs'}: {why(reason)}")

    def say(line: str) -> None:
        tqdm.write(line, file=sys.stderr)

    def failed(line: str) -> None:
        say(f"failed: {line}")
        if args.debug and sys.exc_info()[0] is not None:
            say(traceback.format_exc())

    for problem in plan.problems:
        say(f"failed: {problem}")
    if plan.left_out:
        say(f"left out: {_left_out(plan.left_out)}")
    if plan.skipped and (others := others_options(args, folders(args))):
        options = shown("; ".join(others))
        say(f"note: of those skipped, some were made with other options ({options}), and stay as they are")
    summary = Summary()
    if plan.jobs:
        if args.output is not None:
            _make_folder(args.output, error)
        bar = PictureBar(len(plan.jobs))
        restore = load_restore(args, error, bar.within)
        if rank == 0:
            note_options(args, folders(args))
        with bar:
            summary = restore_files(
                plan.jobs,
                restore,
                many=None if args.preview else restore.many,  # which are given arrays alone
                format=args.format,
                quality=args.quality,
                make=maker(args),
                **file_limits(args),
                check=restore.check(int(args.max_megapixels * 1e6)),
                failed=failed,
                done=bar.done,
            )
    summary.failed += len(plan.problems)
    summary.skipped += len(plan.skipped)
    _report(summary, say, f"process {rank} of {processes}: " if processes > 1 else "")
    if summary.interrupted:
        return None
    # torchrun ends all processes when one exits with anything but 0, and their pictures needn't suffer for that.
    return FAILED if summary.failed and "TORCHELASTIC_RUN_ID" not in os.environ else 0


def _make_folder(output: str, error: Callable[[str], NoReturn]) -> None:
    out = located(output)
    try:
        make_folder(out.parent if names_picture(output) else out)
    except OSError as reason:
        error(f"argument -o/--output: {output}: {why(reason)}")


def _left_out(counts: Mapping[str, int]) -> str:
    """What a run over folders passed over, and how to get it restored."""
    ways = {
        "folders": "entered with --recursive",
        "videos": "restored by `lightendiff video`",
        "other files": "of other kinds, pipes, or links that lead nowhere; a picture among them may work if it's named",
    }
    return "; ".join(
        f"{counts[kind]} {kind if counts[kind] > 1 else kind[:-1]} ({way})"
        for kind, way in ways.items()
        if counts[kind]
    )


def _share(error: Callable[[str], NoReturn]) -> tuple[int, int]:
    """Which of how many processes this is, as torchrun and job arrays say it, counted from 0."""
    rank, processes = os.environ.get("RANK"), os.environ.get("WORLD_SIZE", "1")
    if rank is None and processes == "1":
        return 0, 1
    if rank is None or not (rank.isdecimal() and processes.isdecimal() and int(rank) < int(processes)):
        got = f"RANK={rank} WORLD_SIZE={processes}" if rank is not None else f"WORLD_SIZE={processes} alone"
        error(f"expected RANK from 0 to below WORLD_SIZE in the environment, or neither of them, got {got}")
    return int(rank), int(processes)


def _report(summary: Summary, say: Callable[[str], None], who: str) -> None:
    for note, sources in summary.notes.items():
        others = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
        say(f"note: {note}: {shown(sources[0])}{others}")
    print(f"{who}{summary}")
