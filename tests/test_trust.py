"""Runs that are killed at any moment, and damaged weights. TRIALS=200 or 10000 in the environment tries as often."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lightendiff.checkpoints import CheckpointError, load_restorer, save_restorer
from lightendiff.images import Picture, read_picture, write_picture
from lightendiff.models.presets import PRESETS
from lightendiff.restorer import Restorer

TRIALS = int(os.environ.get("TRIALS", "20"))
PICTURES = 24
KINDS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

# The real command with everything but the network, which inverts and takes its time.
COMMAND = """
import sys, time, types
import numpy as np

class LightenPipeline:
    @classmethod
    def from_pretrained(cls, *args, **options):
        return cls()

    def __call__(self, array, **options):
        time.sleep(0.004)
        return 255 - array

module = types.ModuleType("lightendiff.pipeline")
module.LightenPipeline = LightenPipeline
sys.modules["lightendiff.pipeline"] = module
sys.modules["torch"] = types.SimpleNamespace(cuda=types.SimpleNamespace(is_available=lambda: False))
from lightendiff import folder, images
from lightendiff.command import main
print("ready", flush=True)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(PICTURES):
        values = np.random.default_rng(i).integers(0, 90, (60, 80, 3), dtype=np.uint8)
        write_picture(folder / f"{i:02}.png", Picture(values))
    return folder


def start(source: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", COMMAND, str(source), "-o", str(out), "--skip-existing"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def whole(source: Path, out: Path) -> list[str]:
    """Names of what is there, all of which must be whole and right."""
    names = sorted(path.name for path in out.glob("*.png"))
    for name in names:
        assert np.array_equal(read_picture(out / name).pixels, 255 - read_picture(source / name).pixels), name
    return names


def test_a_run_killed_at_any_moment_leaves_whole_files_and_the_next_one_completes_it(
    pictures: Path, tmp_path: Path
) -> None:
    moments, interrupted = random.Random(0), 0
    for trial in range(TRIALS):
        out = tmp_path / str(trial)
        kind = KINDS[trial % len(KINDS)]
        process = start(pictures, out)
        time.sleep(moments.uniform(0.0, 0.15))
        process.send_signal(kind)
        told = time.perf_counter()
        output = process.communicate(timeout=30)[0]
        done = whole(pictures, out)
        if kind != signal.SIGKILL and process.returncode:
            assert time.perf_counter() - told < 5  # a second, on a machine that has nothing else to do
            if "restored" in output:  # otherwise it had not begun
                assert f"{len(done)} restored" in output
        interrupted += 0 < len(done) < PICTURES
        again = start(pictures, out)
        output = again.communicate(timeout=60)[0]
        assert again.returncode == 0
        assert output.startswith(f"{PICTURES - len(done)} restored, {len(done)} skipped, 0 failed")
        assert len(whole(pictures, out)) == PICTURES
    assert interrupted > TRIALS // 4  # most moments were within the run


def mutated(content: bytes, draw: random.Random) -> bytes:
    """`content` with bytes changed, cut, doubled or put in; most often near its beginning, where the structure is."""
    place = draw.randrange(min(len(content), draw.choice([16, 200, 4000, len(content)])))
    match draw.randrange(5):
        case 0:
            return content[:place]
        case 1:
            return content[:place] + draw.randbytes(draw.randint(1, 9)) + content[place:]
        case 2:
            return content[:place] + content[place + draw.randint(1, 99) :]
        case 3:
            changed = bytearray(content)
            changed[place] ^= 1 << draw.randrange(8)
            return bytes(changed)
        case _:
            length = draw.randint(1, 40)
            return content[:place] + draw.randbytes(length) + content[place + length :]


@pytest.mark.parametrize("kind", ["model.safetensors", "config.json", "stage2_weight.pth.tar"])
def test_damaged_weights_give_a_clean_error_or_weights(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_restorer(Restorer(PRESETS["tiny"]), tmp_path)
    path = tmp_path / kind
    if kind.endswith("tar"):  # a small one: what is damaged is the container
        torch.save({"state_dict": {f"module.{name}": torch.zeros(2) for name in "abc"}, "step": 5}, path)
    errors: list[str] = []
    content, draw = path.read_bytes(), random.Random(1)
    for _ in range(TRIALS):
        path.write_bytes(mutated(content, draw))
        try:
            load_restorer(path if kind.endswith("tar") else tmp_path)
        except CheckpointError as error:
            errors.append(str(error))
    assert len(errors) > TRIALS // 3
    assert all("\n" not in error and str(tmp_path) in error for error in errors)
