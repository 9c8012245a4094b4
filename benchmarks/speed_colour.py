"""`speed.py colour`: a picture restored with its own colours and darkness, and without."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import statistics

import torch
from speed_timing import in_turn, made_picture, ratio

from lightendiff import LightenPipeline
from lightendiff.evaluation import measure as ev


def colour(args: argparse.Namespace) -> int:
    with_step = LightenPipeline.from_pretrained(args.weights, device=args.device)
    without = copy.copy(with_step)
    without.restorer = copy.copy(with_step.restorer)  # shares the weights
    without.restorer.config = dataclasses.replace(with_step.restorer.config, input_colours=False)
    with_step.restorer.config = dataclasses.replace(with_step.restorer.config, input_colours=True)
    head = ["size", "precision", "with, s/image", "without, s/image", "the step's share"]
    lines = []
    for size in args.sizes:
        picture = made_picture(size)
        runs = [lambda pipe=pipe, picture=picture: pipe(picture) for pipe in (with_step, without)]
        seconds = in_turn(runs, args.repeats, torch.device(with_step.device))
        medians = [f"{statistics.median(taken):.4f}" for taken in seconds]
        precision = str(with_step.dtype).removeprefix("torch.")
        lines.append([f"{size[1]}x{size[0]}", precision, *medians, f"{100 * (ratio(*seconds) - 1):.1f} %"])
    print(ev.markdown_table(head, lines))
    return 0
