"""`lightendiff restore`: infer.py under another name."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from .. import arguments, command

HELP = "restore photos, or folders of them"
EXAMPLES = """
lightendiff restore photo.jpg -o restored
lightendiff restore holiday/ -o restored --recursive --skip-existing
lightendiff restore photo.jpg -o restored --strength 0.7 --exposure 0.5
lightendiff restore photo.jpg -o compare --compare
lightendiff restore - -o - < dark.png > restored.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.build_parser(parser)


def run(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> int:
    return command.run(args, error)
