"""What several commands share: the pipeline and its options as their arguments have it, and ending on a signal."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .arguments import restoration_options

if TYPE_CHECKING:
    from ..pipeline import BoundPipeline, LightenPipeline
    from ..progress import Progress

LICENCE = "weights: research use"  # of those that come with the package
FAILED = 1  # exit codes: this, argparse's 2, and 128 + the number of the signal that ended the run


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


def cache_folder() -> Path:
    """Where small things are remembered from run to run. RuntimeError where the user has no home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "lightendiff")


def tell_licence() -> None:
    """Say once on a machine, when the package's own weights are first used, what they are for."""
    with suppress(OSError, RuntimeError):  # there may be no home, or none to write to
        told = cache_folder() / "licence-told"
        if told.exists():
            return
        told.parent.mkdir(parents=True, exist_ok=True)
        told.touch()
    print(f"{LICENCE} (`lightendiff info` says more)", file=sys.stderr)


def load_pipeline(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> LightenPipeline:
    """The pipeline that --weights, --device and --dtype ask for."""
    import torch

    from ..pipeline import LightenPipeline

    dtype = None if args.dtype is None else getattr(torch, args.dtype)
    try:
        device = args.device
        if device is None and torch.cuda.is_available():
            device = f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
        pipe = LightenPipeline.from_pretrained(args.weights, device=device, dtype=dtype)
        pipe = pipe.compile() if args.compile else pipe
    except (OSError, ValueError, ImportError, RuntimeError, AssertionError) as reason:  # the last for devices, by torch
        if args.debug:
            traceback.print_exc()
        error(f"cannot load {args.weights or 'the weights'}: {reason}")
    if args.weights is None:
        tell_licence()
    return pipe


def load_restore(
    args: argparse.Namespace, error: Callable[[str], NoReturn], progress: Progress | None = None
) -> BoundPipeline:
    """`load_pipeline`'s pipeline with the options of `arguments.add_restoration`, checked. `progress` is the call's."""
    pipe = load_pipeline(args, error)
    try:
        return pipe.bind(**restoration_options(args), progress=progress)
    except ValueError as reason:
        error(str(reason))
