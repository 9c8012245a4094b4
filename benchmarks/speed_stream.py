"""`speed.py stream`: frames one after another, without flicker, and each on its own."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from functools import partial
from itertools import cycle

import numpy as np
from speed_timing import in_turn, made_pictures, ratio

from lightendiff import LightenPipeline, Stream
from lightendiff.evaluation import measure as ev

FRAMES = 4  # different ones


def stream(args: argparse.Namespace) -> int:
    pipe = LightenPipeline.from_pretrained(args.weights, device=args.device)
    precision, lines = str(pipe.dtype).removeprefix("torch."), []
    for size in args.sizes:
        frames = made_pictures(FRAMES, size)
        for steps in args.steps:
            steady, alone = (Stream(pipe, smoothing=tau, num_inference_steps=steps) for tau in (1.0, 0.0))
            runs = [partial(feed_next, each, cycle(frames)) for each in (steady, alone)]
            seconds = in_turn(runs, args.repeats, pipe.device)
            rate, slowest = 1 / statistics.median(seconds[0]), max(seconds[0])
            number = str(pipe.restorer.config.num_inference_steps if steps is None else steps)
            share = f"{100 * (ratio(*seconds) - 1):.1f} %"
            lines.append([f"{size[1]}x{size[0]}", number, precision, f"{rate:.2f}", f"{slowest:.3f}", share])
    head = ["size", "steps", "precision", "frames/s", "slowest, s", "the smoothing's share"]
    print(ev.markdown_table(head, lines))
    return 0


def feed_next(stream: Stream, frames: Iterator[np.ndarray]) -> None:
    stream.feed(next(frames))
