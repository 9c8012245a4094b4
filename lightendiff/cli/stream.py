"""One picture from standard input or to standard output, for pipes: `lightendiff restore - -o -`."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Hashable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from ..batch.plan import output_name
from ..files import storage
from ..files.locations import Location, located
from ..images import FORMATS, ImageError, Picture, decode_picture, encode_picture, read_picture, shown, write_picture
from ..images.formats import written_as
from ..images.reading import Check
from ..limits import most_bytes
from .arguments import file_limits
from .outputs import STREAM, maker, names_picture

if TYPE_CHECKING:
    from ..pipeline import BoundPipeline

_INPUT = "standard input"


def restore_stream(
    args: argparse.Namespace, load: Callable[[], BoundPipeline], error: Callable[[str], NoReturn]
) -> int:
    """Restore the one picture of `args` (those of `arguments.build_parser`), where input, output or both are `-`.

    Only the picture goes to standard output; everything else that is printed meanwhile goes to standard error.

    Returns:
        The exit code: 1 if the picture can't be read or written, else 0.
    """
    _check(args, error)
    # The stream is asked for before everything else that prints is turned away from it.
    output = sys.stdout.buffer if args.output == STREAM else None
    with contextlib.redirect_stdout(sys.stderr):
        try:
            notes = _restore(args, load, output)
        except Exception as reason:  # as in a folder, whatever the restorer raises is told in one line
            line = f"{_named(args)}: {type(reason).__name__}: {reason}"
            print(f"failed: {reason if isinstance(reason, ImageError) else line}".splitlines()[0])
            if args.debug:
                traceback.print_exc()
            return 1
        for note in notes:
            print(f"note: {note}: {_named(args)}")
    return 0


def _restore(args: argparse.Namespace, load: Callable[[], BoundPipeline], output: BinaryIO | None) -> tuple[str, ...]:
    loaded = cache(load)
    picture = _read(args, lambda height, width: loaded().check(int(args.max_megapixels * 1e6))(height, width))
    if output is None:
        target = _target(picture, args)
        if args.skip_existing and storage.present([target]):
            return ()
        given = _identity_of_input()
        if given is not None and storage.identity(target) == given:
            raise ImageError(f"{shown(target)}: expected another file than the input, which is never overwritten")
        storage.make_folder(target.parent)
        result = maker(args)(picture, loaded())
        return result.notes + write_picture(target, result, quality=args.quality)
    result = maker(args)(picture, loaded())
    kind = None if args.format is None else FORMATS[f".{args.format}"]
    data, notes = encode_picture(result, format=kind, quality=args.quality)
    try:
        output.write(data)
        output.flush()
    except BrokenPipeError:
        # Python flushes once more when it ends, and would fail there with a message and an exit code of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
        raise
    return result.notes + notes


def _check(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> None:
    if len(args.input) > 1:
        what = "INPUT -" if STREAM in args.input else "-o -"
        error(f"{what}: expected a single INPUT, got {len(args.input)}")
    if os.path.isdir(args.input[0]):
        error(f"-o -: expected a picture as INPUT, {shown(args.input[0])} is a folder")
    if args.output == STREAM and sys.__stdout__ is None:
        error("-o -: standard output is closed")
    if args.input[0] == STREAM and sys.stdin is None:
        error("INPUT -: standard input is closed")
    if args.input[0] == STREAM and sys.stdin.isatty():
        error("INPUT -: expected a picture on standard input, which is a terminal")
    if args.output == STREAM and sys.stdout.isatty():
        error("-o -: would write a picture to standard output, which is a terminal: redirect it into a file")


def _read(args: argparse.Namespace, check: Check) -> Picture:
    limits = file_limits(args)
    if args.input[0] == STREAM:
        most = limits["max_bytes"] or most_bytes(limits["max_pixels"])
        return decode_picture(sys.stdin.buffer.read(most + 1), _INPUT, check=check, **limits)
    return read_picture(args.input[0], check=check, **limits)


def _identity_of_input() -> Hashable:
    """As `storage.identity`, of what comes from standard input; None where that is no file of the system."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        status = os.fstat(sys.stdin.fileno())
        return status.st_dev, status.st_ino
    return None


def _target(picture: Picture, args: argparse.Namespace) -> Location:
    """The file for a picture from standard input, which has no name, in the folder of outputs unless that is a file."""
    if names_picture(args.output):
        return located(args.output)
    extension = written_as(picture.format).suffixes[0]
    return located(args.output) / output_name(Path(f"stdin{extension}"), args.format, args.suffix)


def _named(args: argparse.Namespace) -> str:
    return _INPUT if args.input[0] == STREAM else shown(args.input[0])
