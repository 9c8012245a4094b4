"""Completion of commands, options and file names in shells, by shtab, which writes a script for them once.

A script needs no Python at each press of the key, and knows its shell's own ways of completing file names.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")
FILES = ("INPUT", "OUT", "PATH", "FILE", "DARK", "REFERENCE")  # arguments that are shown as one of these are files
OPTION = "--print-completion"


def add_completion(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Give a parser that has all of its commands the option that prints a shell's script, and exits.

    Where `argv` asks for it, it is shtab's own; else one that is only shown by --help, so that shtab isn't imported.
    """
    about = f"print what makes a shell complete these commands: {', '.join(SHELLS)}"
    if not any(word.startswith("--print") for word in argv):  # argparse takes the beginning of an option for it
        parser.add_argument(OPTION, choices=SHELLS, metavar="SHELL", help=about)
        return
    try:
        import shtab
    except ImportError:
        parser.exit(1, f"{parser.prog}: completion needs shtab: pip install 'lightendiff[completion]'\n")
    shtab.add_argument_to(parser, OPTION, help=about)
    for action in _actions(parser):
        if action.metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # where shtab looks for it


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _actions(each)
