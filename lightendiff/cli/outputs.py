"""Where the outputs of restoring go: into a folder, to one file, or beside the inputs where nothing is named."""

from __future__ import annotations

import argparse
import glob
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from ..files import storage
from ..files.locations import is_address, located, why
from ..images.formats import FORMATS

if TYPE_CHECKING:
    from ..batch.plan import Plan
    from ..batch.run import Make

STREAM = "-"
BESIDE = "_restored"  # in the names of outputs that lie beside their inputs
COMPARED = "_compare"  # of dark | restored, which so never takes a restored photo's name
PREVIEW = "_preview"  # of a sheet of exposures


def settle(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> None:
    """Expand patterns among the inputs, and find out which the output is: None is beside the inputs.

    `IN OUT` without -o becomes one input and its output. What can't be meant is given to `error`.
    """
    if args.compare:
        args.suffix += COMPARED
    if args.preview:
        args.suffix += PREVIEW
    args.input = [found for given in args.input for found in _expanded(given)]
    first, last = args.input[0], args.input[-1]
    pair = args.output is None and len(args.input) == 2 and names_picture(last) and not os.path.lexists(last)
    if pair and (first == STREAM or os.path.isfile(first)):
        args.input, args.output = [first], last
    if args.output is not None:
        _check(args, error)
    elif STREAM in args.input:
        error("INPUT -: expected -o OUT beside it: a folder, a file's name or -")
    if args.preview and args.format is None and not (args.output and names_picture(args.output)):
        args.format = "jpg"  # whatever the picture's is: the sheet is only looked at


def names_picture(output: str) -> bool:
    """Whether it has a picture's name, and is no folder."""
    return os.path.splitext(output)[1].lower() in FORMATS and not os.path.isdir(output)


def maker(args: argparse.Namespace) -> Make:
    """What is made of each picture."""
    from ..batch.run import restored

    if args.preview:
        from ..batch.preview import preview

        return preview
    return partial(restored, compare=args.compare)


def planned(args: argparse.Namespace, share: tuple[int, int]) -> Plan:
    """The plan of a run whose arguments are settled. Raises what `plan` does."""
    from ..batch.plan import Plan, plan

    options = {"share": share, "recursive": args.recursive, "format": args.format, "skip_existing": args.skip_existing}
    if args.output is not None and names_picture(args.output):
        out = located(args.output)
        return plan(args.input, out.parent, named=out.name, **options)
    if args.output is not None:
        return plan(args.input, args.output, suffix=args.suffix, **options)
    whole = Plan()
    for (output, suffix), inputs in _beside(args.input, args.suffix).items():
        part = plan(inputs, output, suffix=suffix, **options)
        whole.jobs += part.jobs
        whole.skipped += part.skipped
        whole.problems += part.problems
        whole.left_out += part.left_out
    return whole


def folders(args: argparse.Namespace) -> list[str]:
    """The folders that such a run writes to."""
    if args.output is None:
        return sorted({folder for folder, _ in _beside(args.input, args.suffix)})
    return [os.path.dirname(args.output) if names_picture(args.output) else args.output]


def _check(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> None:
    output = args.output
    if output == STREAM or os.path.isdir(output):
        return
    if is_address(output):
        try:
            located(output)
        except (ImportError, ValueError, OSError) as reason:
            error(f"argument -o/--output: {output}: {why(reason)}")
    several = len(args.input) > 1 or os.path.isdir(args.input[0])
    extension = os.path.splitext(output)[1].lower()
    if names_picture(output) and several:
        error(f"argument -o/--output: expected a folder, {output} looks like a picture's name")
    if names_picture(output) and args.format and FORMATS[extension] != FORMATS[f".{args.format}"]:
        error(f"argument -o/--output: expected a name of a {args.format} file, as --format says, got {output}")
    if os.path.lexists(output) and not (names_picture(output) and os.path.isfile(output)):
        error(f"argument -o/--output: {output} is not a folder")


def _beside(inputs: list[str], suffix: str) -> dict[tuple[str, str], list[str]]:
    """Inputs by the folder that their outputs go to and what is added to their names there: a file's own folder, and
    a folder's neighbour. An earlier run's output isn't restored along with the picture that it was made from."""
    ending = suffix or BESIDE
    stems = {os.path.splitext(given)[0] for given in inputs}
    places: dict[tuple[str, str], list[str]] = {}
    for given in inputs:
        if _is_folder(given):
            path = given.rstrip("/") if is_address(given) else os.path.normpath(given)
            path = os.path.abspath(path) if os.path.basename(path) in ("", ".", "..") else path
            places.setdefault((path + BESIDE, suffix), []).append(given)
            continue
        stem = os.path.splitext(given)[0]
        if not (stem.endswith(ending) and stem.removesuffix(ending) in stems):
            folder = given.rpartition("/")[0] if is_address(given) else os.path.dirname(given)
            places.setdefault((folder or ".", ending), []).append(given)
    return places


def _is_folder(given: str) -> bool:
    """False also where nothing is, which planning tells."""
    with suppress(OSError, ValueError, ImportError):
        return storage.kind(located(given)) == "folder"
    return False


def _expanded(given: str) -> list[str]:
    """What a pattern finds that the shell left alone; the text itself where it finds nothing or isn't one."""
    if is_address(given) or os.path.lexists(given) or not glob.has_magic(given):
        return [given]
    return sorted(glob.glob(given, recursive=True)) or [given]
