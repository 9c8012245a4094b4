"""Completion of commands, options and file names in shells, by shtab, which writes a script for them once.

A script needs no Python at each press of the key, and knows its shell's own ways of completing file names.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")
FILES = ("INPUT", "OUT", "PATH", "FILE", "DARK", "REFERENCE")  # arguments that are shown as one of these are files


class PrintCompletion(argparse.Action):
    """Prints the script for the shell that is named, and exits."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        try:
            script = completion(parser, str(values))
        except (ImportError, ValueError) as error:
            parser.exit(1, f"{parser.prog}: {error}\n")
        print(script)
        parser.exit()


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for `shell`, one of SHELLS.

    Raises:
        ImportError: shtab is missing.
        ValueError: it is too old to know the shell.
    """
    try:
        import shtab
    except ImportError as error:
        raise ImportError("completion needs shtab: pip install 'lightendiff[completion]'") from error
    if shell not in shtab.SUPPORTED_SHELLS:
        raise ValueError(f"shell: expected one that shtab knows, {', '.join(shtab.SUPPORTED_SHELLS)}, got {shell}")
    for action in _actions(parser):
        if action.metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # where shtab looks for it
    return shtab.complete(parser, shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _actions(each)
