"""Measure whether memory stays flat over thousands of pictures in one run: python benchmarks/endurance.py

Makes tiny pictures in a temporary folder, PNG, JPEG, WebP and TIFF in turn, restores them as infer.py does, and prints
what memory the process holds on the way. The exit code is 1 if it holds noticeably more at the end than after the first
tenth, or if a picture fails.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from speed_timing import memory

from lightendiff.batch.plan import plan
from lightendiff.batch.run import Summary, restore_files
from lightendiff.cli.arguments import build_parser
from lightendiff.cli.loading import load_restore
from lightendiff.evaluation import measure as ev
from lightendiff.images import Picture, write_picture

FORMATS = ("png", "jpg", "webp", "tif")
NOTICEABLE = 20 * 2**20  # bytes: what allocators keep varies by some megabytes


def make_pictures(root: Path, count: int, side: int) -> None:
    rng = np.random.default_rng(0)
    root.mkdir()
    for i in range(count):
        values = rng.integers(0, 60, (side, side, 3), dtype=np.uint8)
        write_picture(root / f"{i:06}.{FORMATS[i % len(FORMATS)]}", Picture(values))


def restore_all(source: Path, out: Path, options: Sequence[str], every: int) -> tuple[Summary, dict[int, int]]:
    """Restore a folder; what was done, and the memory in bytes after every so many pictures."""
    parser = build_parser()
    args = parser.parse_args([str(source), "-o", str(out), *options])
    restore = load_restore(args, parser.error)
    held: dict[int, int] = {}
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if done % every == 0:
            held[done] = memory(peak=False)

    jobs = plan(args.input, args.output).jobs
    return restore_files(jobs, restore, failed=lambda line: print(line, file=sys.stderr), done=tick), held


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", metavar="N", type=int, default=5000, help="(default: %(default)s)")
    parser.add_argument("--side", metavar="N", type=int, default=32, help="of a picture, in pixels (default: 32)")
    parser.add_argument("--weights", metavar="PATH", help="(default: the weights of the package)")
    args = parser.parse_args(argv)
    if args.pictures < 10:
        parser.error(f"argument --pictures: expected at least 10, got {args.pictures}")
    options = [] if args.weights is None else ["--weights", args.weights]
    with TemporaryDirectory() as temporary:
        root = Path(temporary)
        make_pictures(root / "in", args.pictures, args.side)
        summary, held = restore_all(root / "in", root / "out", options, args.pictures // 10)
    print(ev.markdown_table(["pictures", "memory, MiB"], ([str(n), f"{size / 2**20:.1f}"] for n, size in held.items())))
    print(summary)
    first, *_, last = held.values()
    print(f"{(last - first) / 2**20:+.1f} MiB between the first tenth and the end")
    return 1 if summary.failed or last - first > NOTICEABLE else 0


if __name__ == "__main__":
    sys.exit(main())
