"""`speed.py restore`: a picture from file to file; a line for every preset, size, number of steps, precision, device.

Each line is measured in a process of its own: this module, run with a `Setting` as JSON, prints a `Timing` as JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from speed_timing import STAGES, Stopwatch, made_picture, memory
from tqdm import tqdm

from lightendiff import LightenPipeline, Restorer
from lightendiff.evaluation import measure as ev
from lightendiff.images import Picture, read_picture, write_picture
from lightendiff.models.presets import PRESETS

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Setting:
    """What to measure: a picture file, the network that restores it, and how often. None: what the pipeline chooses."""

    source: str
    preset: str
    weights: str | None
    steps: int | None
    dtype: str | None
    device: str | None
    batch_size: int
    repeats: int
    limit: float


@dataclass(frozen=True)
class Timing:
    """Seconds of a picture in the median run and in its stages, peak of memory in bytes, and what was chosen."""

    seconds: float
    stages: dict[str, float]
    memory: int
    steps: int
    dtype: str
    device: str


def make_pipeline(setting: Setting) -> LightenPipeline:
    dtype = None if setting.dtype is None else DTYPES[setting.dtype]
    if setting.preset == "default":
        return LightenPipeline.from_pretrained(setting.weights, setting.device, dtype)
    torch.manual_seed(0)
    return LightenPipeline(Restorer(PRESETS["paper"]), setting.device, dtype)


def measure(setting: Setting) -> Timing:
    libraries = memory(peak=False)
    pipe = make_pipeline(setting)
    watch = Stopwatch(pipe.device)
    watch.attach(pipe.restorer)
    runs: list[tuple[float, dict[str, float]]] = []
    with TemporaryDirectory() as folder:
        begin = time.perf_counter()
        while len(runs) <= setting.repeats and (len(runs) < 2 or time.perf_counter() - begin < setting.limit):
            runs.append(run_once(pipe, setting, watch, Path(folder) / "restored.png"))
    counted = sorted(runs[1:], key=lambda run: run[0])
    seconds, stages = counted[(len(counted) - 1) // 2]
    cuda = pipe.device.type == "cuda"
    return Timing(
        seconds=seconds / setting.batch_size,
        stages={name: value / setting.batch_size for name, value in stages.items()},
        memory=torch.cuda.max_memory_allocated(pipe.device) if cuda else memory(peak=True) - libraries,
        steps=setting.steps or pipe.restorer.config.num_inference_steps,
        dtype=str(pipe.dtype).removeprefix("torch."),
        device=torch.cuda.get_device_name(pipe.device) if cuda else pipe.device.type,
    )


def run_once(pipe: LightenPipeline, setting: Setting, watch: Stopwatch, target: Path) -> tuple[float, dict[str, float]]:
    """Restore the picture, or a batch of it, from file to file: seconds in all, and of every stage."""
    watch.seconds = dict.fromkeys(STAGES, 0.0)
    start = watch.now()
    with watch.stage("read"):
        pictures = [read_picture(setting.source) for _ in range(setting.batch_size)]
    dark = [picture.pixels for picture in pictures]
    restored = pipe(dark, num_inference_steps=setting.steps, batch_size=setting.batch_size)
    with watch.stage("write"):
        for picture, pixels in zip(pictures, restored, strict=True):
            write_picture(target, replace(picture, pixels=pixels))
    return watch.now() - start, watch.seconds


def measure_apart(setting: Setting) -> Timing:
    """`measure` in a new process, so that no other measurement's memory counts. ValueError says why it failed."""
    command = [sys.executable, str(Path(__file__).resolve()), json.dumps(asdict(setting))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise ValueError(said[-1] if said else f"the process ended with status {done.returncode}")
    return Timing(**json.loads(done.stdout.splitlines()[-1]))


def restore(args: argparse.Namespace) -> int:
    combinations = list(product(args.presets, args.sizes, args.steps, args.dtypes, args.devices))
    failures: list[str] = []

    def lines() -> Iterator[list[str]]:
        with TemporaryDirectory() as folder:
            for preset, size, steps, dtype, device in tqdm(combinations, unit="line", disable=None, leave=False):
                source = Path(folder) / f"{size[1]}x{size[0]}.png"
                if not source.exists():
                    write_picture(source, Picture(made_picture(size)))
                often = (args.batch_size, args.repeats, args.limit)
                setting = Setting(str(source), preset, args.weights, steps, dtype, device, *often)
                try:
                    yield [preset, source.stem, *timing_cells(measure_apart(setting))]
                except ValueError as error:  # the other lines can still be measured
                    asked = [preset, source.stem, *(str(value or "–") for value in (steps, dtype, device))]
                    failures.append(f"{', '.join(asked)}: {error}")
                    yield asked + ["–"] * (len(head) - len(asked))

    head = ["preset", "size", "steps", "precision", "device", "s/image", "images/s", "peak MiB", *STAGES, "other"]
    print(ev.markdown_table(head, lines()))
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def timing_cells(t: Timing) -> list[str]:
    whole = [f"{t.seconds:.4f}", f"{1 / t.seconds:.2f}", f"{t.memory / 2**20:.0f}"]
    split = [*t.stages.values(), t.seconds - sum(t.stages.values())]
    return [str(t.steps), t.dtype, t.device, *whole, *(f"{seconds:.4f}" for seconds in split)]


if __name__ == "__main__":
    print(json.dumps(asdict(measure(Setting(**json.loads(sys.argv[1]))))))
