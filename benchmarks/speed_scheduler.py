"""`speed.py scheduler`: a step of our DDIMScheduler against one of diffusers'."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch
from speed_timing import in_turn, ratio
from torch import Tensor

from lightendiff import DDIMScheduler, Restorer
from lightendiff.evaluation import measure as ev
from lightendiff.models.presets import PRESETS, PresetName


def scheduler(args: argparse.Namespace) -> int:
    device = torch.device(args.device)
    head = ["scheduler of", "latents", "ours, µs/step", "diffusers, µs/step", "diffusers / ours", "relative difference"]
    presets: tuple[PresetName, ...] = ("default", "paper")
    lines = (scheduler_line(name, batch, args, device) for name in presets for batch in (1, 16))
    print(ev.markdown_table(head, lines))
    return 0


def scheduler_line(name: PresetName, batch: int, args: argparse.Namespace, device: torch.device) -> list[str]:
    """Walks down the list of timesteps, each of whose steps is given the same output of a network."""
    import diffusers

    config, generator = PRESETS[name], torch.Generator().manual_seed(0)
    shape = Restorer(config).noise_shape(torch.empty(batch, 3, *args.size, device="meta"))
    noise, output = (torch.randn(shape, generator=generator).to(device) for _ in range(2))

    def walking(ddim: Any) -> Callable[[], list[Tensor]]:
        ddim.set_timesteps(args.steps, device=device)

        def walk() -> list[Tensor]:
            latents = [noise]
            for t in ddim.timesteps:
                latents.append(ddim.step(output, t, latents[-1]).prev_sample)
            return latents

        return walk

    ours, theirs = (walking(kind(**config.scheduler)) for kind in (DDIMScheduler, diffusers.DDIMScheduler))
    mine, others = in_turn([ours, theirs], args.repeats, device)
    each = [f"{1e6 * statistics.median(runs) / args.steps:.1f}" for runs in (mine, others)]
    a, b = torch.stack(ours()), torch.stack(theirs())
    difference = f"{((a - b).abs().max() / b.abs().max()).item():.1e}"
    return [name, "×".join(map(str, shape)), *each, f"{ratio(others, mine):.2f}", difference]
