"""With which options the pictures of an output folder were made, so that --skip-existing can say when they differ.

The record lies in the user's cache, since nothing but pictures belongs among the outputs. It knows of this machine's
runs alone, and is lost without harm.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..files.locations import is_address
from .arguments import restoration_options
from .loading import cache_folder


def others_options(args: argparse.Namespace, folders: Iterable[str]) -> list[str]:
    """The options of earlier runs into the folders that aren't this one's, as they are written in a command."""
    own = _options(args)
    return sorted({_written(each) for folder in folders for each in _read(folder) if each != own})


def note_options(args: argparse.Namespace, folders: Iterable[str]) -> None:
    """Keep this run's options. Those of before are forgotten where nothing was left out, since all was made anew."""
    own = _options(args)
    for folder in folders:
        before = [each for each in _read(folder) if each != own] if args.skip_existing else []
        with suppress(OSError, RuntimeError):
            path = _path(folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps([*before, own]), encoding="utf-8")


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """What makes a difference to the pixels."""
    given = {name: value for name, value in restoration_options(args).items() if name not in ("tile", "max_memory")}
    if args.weights is not None:
        given["weights"] = args.weights
    return {name: value for name, value in sorted(given.items()) if (name, value) != ("seed", 0)}


def _written(options: dict[str, Any]) -> str:
    names = {"num_inference_steps": "steps"}
    return " ".join(f"--{names.get(name, name)} {value}" for name, value in options.items()) or "none"


def _read(folder: str) -> list[dict[str, Any]]:
    with suppress(OSError, RuntimeError, ValueError):
        runs = json.loads(_path(folder).read_text(encoding="utf-8"))
        return [each for each in runs if isinstance(each, dict)]
    return []


def _path(folder: str) -> Path:
    name = folder if is_address(folder) else str(Path(folder).absolute())
    return cache_folder() / "runs" / f"{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:32]}.json"
