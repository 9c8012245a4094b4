"""What the commands of speed.py share: a clock that waits for the device, stages, memory, turns, a picture."""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lightendiff import Restorer

STAGES = ("read", "encode", "sample", "decode", "write")

Size = tuple[int, int]  # height, width


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class Stopwatch:
    """Adds up the seconds of stages. A stage within another one is part of that."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._running = False

    def now(self) -> float:
        synchronise(self.device)
        return time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        if self._running:
            yield
            return
        self._running, start = True, self.now()
        try:
            yield
        finally:
            self.seconds[name] += self.now() - start
            self._running = False

    def attach(self, restorer: Restorer) -> None:
        """Count this restorer's stages from now on, those of every tile where it works in tiles."""
        model = restorer.model
        for method in ("encode", "latent", "condition"):
            self._time(model, method, "encode")
        self._time(restorer, "sample_latent", "sample")
        self._time(restorer, "decode", "decode")

    def _time(self, owner: object, method: str, stage: str) -> None:
        original = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(stage):
                return original(*args, **kwargs)

        setattr(owner, method, timed)


def memory(peak: bool) -> int:
    """Bytes of memory that this process holds or, with `peak`, has held at most."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage begins with the peak of the process that started this one
        return 1024 * int(re.findall(r"VmHWM:\s*(\d+) kB" if peak else r"VmRSS:\s*(\d+) kB", status.read_text())[0])
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_turn(runs: Sequence[Callable[[], object]], repeats: int, device: torch.device) -> list[list[float]]:
    """Seconds of each of them, after one round that isn't counted; every other round goes in reverse order."""
    seconds: list[list[float]] = [[] for _ in runs]
    for number in range(repeats + 1):
        for run, taken in list(zip(runs, seconds, strict=True))[:: 1 if number % 2 else -1]:
            synchronise(device)
            start = time.perf_counter()
            run()
            synchronise(device)
            taken.append(time.perf_counter() - start)
    return [taken[1:] for taken in seconds]


def ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """How many times as long these took as those: the median over the rounds."""
    return statistics.median(a / b for a, b in zip(these, those, strict=True))


def made_picture(size: Size) -> np.ndarray:
    """A dark picture (h, w, 3) uint8."""
    return made_pictures(1, size)[0]


def made_pictures(count: int, size: Size) -> list[np.ndarray]:
    """So many different ones."""
    from lightendiff.data.datasets import SelfMade

    source = SelfMade(count, size)
    source.load()
    return [np.ascontiguousarray(source.pair(i).dark.transpose(1, 2, 0)) for i in range(count)]
