"""Processes that are forked from one that has restored something: they compute, and don't wait for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import multiprocessing, sys, numpy as np, torch
from lightendiff import LightenPipeline
torch.set_num_threads(2)
pipe = LightenPipeline.from_pretrained(sys.argv[1], device="cpu")
dark = np.full((256, 256, 3), 12, np.uint8)
def work(_): return torch.get_num_threads(), pipe(dark).astype(int).mean()
threads, mean = work(0)
with multiprocessing.get_context("fork").Pool(2) as pool:
    for forked, same in pool.map_async(work, range(2)).get(60):
        assert (threads, forked) == (2, 1)
        assert abs(same - mean) < 1
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_forks_restore_in_one_thread(weights: Path):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    line = [sys.executable, "-c", PROGRAM, str(weights)]
    subprocess.run(line, check=True, timeout=100, env=environment)
