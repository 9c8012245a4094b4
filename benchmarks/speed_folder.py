"""`speed.py folder`: a folder restored as infer.py does it, against the model alone on the same pictures."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from speed_restore import DTYPES
from speed_timing import in_turn, made_pictures, ratio

from lightendiff import LightenPipeline
from lightendiff.batch.plan import Job, plan
from lightendiff.batch.read_ahead import MOST_TOGETHER
from lightendiff.batch.run import Restore, RestoreMany, restore_files
from lightendiff.evaluation import measure as ev
from lightendiff.images import Picture, read_picture, write_picture


def folder(args: argparse.Namespace) -> int:
    pipe = LightenPipeline.from_pretrained(args.weights, args.device, DTYPES.get(args.dtype))
    restore = pipe.bind()
    many = restore.many
    with TemporaryDirectory() as root:
        jobs = write_pictures(Path(root), args)
        dark = [read_picture(job.source).pixels for job in jobs]
        runs: dict[str, Callable[[], object]] = {"model, one by one": lambda: [pipe(picture) for picture in dark]}
        if many is not None:  # a GPU's folder has an advantage over the former
            runs["model, in batches"] = lambda: pipe(dark, batch_size=MOST_TOGETHER)
        runs["folder"] = partial(restore_all, jobs, restore, many)
        seconds = in_turn(list(runs.values()), args.repeats, pipe.device)
    size, dtype = f"{args.size[1]}x{args.size[0]}", str(pipe.dtype).removeprefix("torch.")
    lines = []
    for name, taken in zip(runs, seconds, strict=True):
        each = median(taken) / args.count
        figures = [f"{each:.4f}", f"{1 / each:.2f}", f"{100 * ratio(seconds[0], taken):.1f} %"]
        lines.append([name, str(args.count), args.format, size, dtype, pipe.device.type, *figures])
    head = ["what", "pictures", "format", "size", "precision", "device", "s/image", "images/s", "share"]
    print(ev.markdown_table(head, lines))
    return 0


def write_pictures(root: Path, args: argparse.Namespace) -> list[Job]:
    """Dark pictures in a folder of this one, to be restored to another."""
    (root / "in").mkdir()
    for number, pixels in enumerate(made_pictures(args.count, args.size)):
        write_picture(root / "in" / f"{number:04}.{args.format}", Picture(pixels))
    return plan([root / "in"], root / "out").jobs


def restore_all(jobs: Sequence[Job], restore: Restore, many: RestoreMany | None) -> None:
    """Restore the folder. A picture that fails is a ValueError, since the time is then that of fewer."""
    failures: list[str] = []
    summary = restore_files(jobs, restore, many=many, failed=failures.append)
    if summary.interrupted:
        raise KeyboardInterrupt
    if failures:
        raise ValueError(failures[0])
