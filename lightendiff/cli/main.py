"""`lightendiff COMMAND …`: which arguments there are, which module runs them, and how errors are told."""

from __future__ import annotations

import argparse
import glob
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence
from functools import partial
from types import ModuleType

from .. import __version__
from ..files.locations import is_address, shown
from . import app, convert, evaluate, export, info, restore, train, video
from .arguments import Parser, add_debug
from .completion import add_completion
from .loading import FAILED, ended_by
from .messages import never_fail

COMMANDS: dict[str, ModuleType] = {
    "restore": restore,
    "video": video,
    "evaluate": evaluate,
    "train": train,
    "convert": convert,
    "export": export,
    "app": app,
    "info": info,
}
EXIT_CODES = "Exit code: 0 when all went well, 1 when something failed, 2 for wrong arguments, 130 after Ctrl-C."


def build_parser(argv: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of the whole command, for `argv`; `args.run(args)` of what it parses returns the exit code."""
    parser = Parser(
        prog="lightendiff",
        description="Restore photos and videos that are too dark.",
        epilog="`lightendiff photo.jpg` restores it to photo_restored.jpg beside it. "
        f"`lightendiff COMMAND --help` shows a command's options and examples. {EXIT_CODES}",
    )
    parser.add_argument("--version", action="version", version=f"lightendiff {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        _add(commands.add_parser(name, help=module.HELP), module)
    add_completion(parser, argv)
    return parser


def _add(parser: argparse.ArgumentParser, module: ModuleType) -> None:
    parser.description = module.HELP[0].upper() + module.HELP[1:] + "."
    module.add_arguments(parser)
    if "--debug" not in parser._option_string_actions:  # infer.py has it, and so its arguments
        add_debug(parser)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter  # so that each example keeps its line
    parser.description = _filled(parser.description)
    examples = textwrap.indent(module.EXAMPLES.strip(), "  ")
    parser.epilog = f"examples:\n{examples}\n\n{_filled(parser.epilog or EXIT_CODES)}"
    parser.set_defaults(run=partial(_run, module=module, parser=parser))


def _filled(text: str) -> str:
    return textwrap.fill(text, width=100)


def _run(args: argparse.Namespace, module: ModuleType, parser: argparse.ArgumentParser) -> int:
    with ended_by() as signals:
        try:
            code: int = module.run(args, parser.error)
            return code
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 128 + signals[-1]
        except Exception as error:
            if args.debug:
                traceback.print_exc()
            print(f"{parser.prog}: {shown(one_line(error))}", file=sys.stderr)
            return FAILED


def one_line(error: Exception) -> str:
    """What went wrong, for the user: with the error's type where its message wasn't written for one."""
    if isinstance(error, OSError) and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename else error.strerror
    lines = str(error).strip().splitlines() or [""]
    meant = isinstance(error, (OSError, ValueError, TypeError, ImportError, RuntimeError)) and lines[0]
    return lines[0] if meant else f"{type(error).__name__}: {lines[0]} (--debug shows where)"


def _with_command(argv: Sequence[str]) -> list[str]:
    """`lightendiff photo.jpg` is `lightendiff restore photo.jpg`, unless that is the name of a command."""
    first = argv[0] if argv else ""
    # A missing one is told by `restore`. With a suffix or a folder in it, no command was meant.
    given = os.path.lexists(first) or is_address(first) or glob.has_magic(first) or bool(os.path.splitext(first)[1])
    given = given or os.path.dirname(first) != ""
    return ["restore", *argv] if given and first not in COMMANDS and not first.startswith("-") else list(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. Wrong arguments raise SystemExit(2), as argparse does."""
    never_fail()
    argv = _with_command(sys.argv[1:] if argv is None else argv)
    args = build_parser(argv).parse_args(argv)
    code: int = args.run(args)
    return code
