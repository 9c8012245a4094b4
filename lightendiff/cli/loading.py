"""What several commands share: the pipeline and its options as their arguments have it, and ending on a signal."""

from __future__ import annotations

import argparse
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, cast

from .arguments import restoration_options

if TYPE_CHECKING:
    from ..batch.run import Restore, RestoreMany
    from ..pipeline import LightenPipeline

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
        return pipe.compile() if args.compile else pipe
    except (OSError, ValueError, ImportError, RuntimeError, AssertionError) as reason:  # the last for devices, by torch
        if args.debug:
            traceback.print_exc()
        error(f"cannot load {args.weights or 'the weights'}: {reason}")


def load_restore(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> Restore:
    """`load_pipeline`'s pipeline with the options of `arguments.add_restoration`."""
    restore = restoring(load_pipeline(args, error), args)
    try:
        cast(Any, restore)([])  # no picture, to check the options once rather than at every picture
    except ValueError as reason:
        error(str(reason))
    return restore


def restoring(pipe: LightenPipeline, args: argparse.Namespace) -> Restore:
    """The pipeline with the options of `arguments.add_restoration`."""
    return partial(pipe, **restoration_options(args))


def together(restore: Restore) -> RestoreMany | None:
    """Several pictures at a time, for GPUs; on a CPU each takes as long as alone."""
    device = getattr(getattr(restore, "func", None), "device", None)
    if device is None or device.type != "cuda":
        return None
    return lambda pictures: cast(Any, restore)(pictures, batch_size=len(pictures))
