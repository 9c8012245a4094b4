"""Training runs that are killed at any moment or find the disk full: nothing saved is lost, and they go on exactly.

TRIALS=200 in the environment kills as often. All runs are forks of one process that has imported everything.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from lightendiff.weights.load import load_restorer

ROOT = Path(__file__).parents[1]
TRIALS = int(os.environ.get("TRIALS", "3"))
STEPS = 6  # of a run, in two epochs, with a checkpoint after each

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and limits of the size of files")

# Takes a run as a line of JSON: the folder, the arguments, and perhaps
#   limit: bytes that a file may have. The write that passes it fails half-way or, with `deadly`, ends the process.
#   die: [NAME, n]: the process is killed before the n-th time that a whole file is renamed to NAME; with a third
#        entry, so many seconds after that, or after the start where n is 0.
# Prints the run's exit code or minus the signal.
SERVER = """
import json, os, resource, signal, sys, threading, traceback
import torch, train
from lightendiff import training

def run(folder, arguments, limit=None, deadly=False, die=("", -1)):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.alarm(90)
    os.chdir(folder)
    log = os.open("log.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(log, 1), os.dup2(log, 2)
    torch.set_num_threads(1)
    if deadly:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    name, times, *seconds = die
    def end():
        if seconds:
            threading.Timer(seconds[0], os.kill, (os.getpid(), signal.SIGKILL)).start()
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    def watch(event, details):
        nonlocal times
        if event == "os.rename" and os.path.basename(os.fspath(details[1])) == name:
            times -= 1
            if times == 0:
                end()
    if times == 0:
        end()
    sys.addaudithook(watch)
    code = 0
    try:
        train.main(arguments)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(code)

print("ready", flush=True)
for line in sys.stdin:
    print(run(**json.loads(line)), flush=True)
"""


class Runs:
    """Starts runs in folders of their own."""

    def __init__(self, config: Path) -> None:
        self.config = config
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        assert self.server.stdout is not None
        assert self.server.stdout.readline() == "ready\n"

    def __call__(self, folder: Path, *more: str, **how: Any) -> int:
        """The exit code of a run, which goes on from the folder's checkpoint if there is one."""
        folder.mkdir(exist_ok=True)
        arguments = ["fit", "--config", str(self.config), *more]
        if (folder / "runs" / "last.ckpt").exists():
            arguments.append("--ckpt_path=runs/last.ckpt")
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        print(json.dumps({"folder": str(folder), "arguments": arguments, **how}), file=self.server.stdin, flush=True)
        return int(self.server.stdout.readline())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    content = yaml.safe_load((ROOT / "configs" / "smoke_stage1.yaml").read_text())
    export, _, checkpoint, _ = content["trainer"]["callbacks"]
    export["init_args"]["folder"] = "runs/export"
    checkpoint["init_args"] |= {"dirpath": "runs", "every_n_train_steps": 1}
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    content["trainer"] |= {"callbacks": [export, checkpoint], "max_steps": STEPS, **quiet}
    content["model"]["init_args"]["warmup_steps"] = 2
    content["data"] |= {"batch_size": 2, "crop": [32, 32], "steps_per_epoch": STEPS // 2, "val_limits": {"made": 1}}
    path = tmp_path_factory.mktemp("config") / "short.yaml"
    path.write_text(yaml.safe_dump(content))
    started = Runs(path)
    yield started
    started.server.communicate()


@pytest.fixture(scope="module")
def whole(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an uninterrupted run leaves."""
    folder = tmp_path_factory.mktemp("whole")
    assert runs(folder) == 0, log(folder)[-3:]
    return folder / "runs"


def log(folder: Path) -> list[str]:
    return (folder / "log.txt").read_text().strip().splitlines()


def saved(folder: Path) -> dict[str, bytes]:
    """The files of a run's folder `runs` and its export, by name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def load(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "last.ckpt", weights_only=True)


def assert_equal(resumed: Path, whole: Path) -> None:
    """Weights, averages and the optimizer's state, bit for bit, and what was exported."""
    one, other = load(resumed), load(whole)
    assert [one[part] for part in ("global_step", "epoch")] == [other[part] for part in ("global_step", "epoch")]
    for part in ("state_dict", "current_model_state", "averaging_state", "optimizer_states"):
        torch.testing.assert_close(one[part], other[part], rtol=0, atol=0)
    for name in ("model.safetensors", "config.json"):
        assert (resumed / "export" / name).read_bytes() == (whole / "export" / name).read_bytes()


# ---- the disk is full


def test_a_disk_that_is_full_half_way_keeps_the_checkpoint(runs: Runs, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "runs")
    before = saved(tmp_path / "runs")
    (tmp_path / "runs" / "last.ckpt").rename(tmp_path / "last.ckpt")  # not to go on from it
    assert runs(tmp_path, die=["last.ckpt", 2]) == -signal.SIGKILL
    first = load(tmp_path / "runs")
    assert first["global_step"] == 1
    limit = len(before["last.ckpt"]) // 2
    assert limit > len(before["export/config.json"])
    assert runs(tmp_path, limit=limit) == 1
    assert log(tmp_path)[-1] == (
        f"OSError: [Errno 27] File too large; what was saved before is unchanged: '{tmp_path / 'runs' / 'last.ckpt'}'"
    )
    torch.testing.assert_close(load(tmp_path / "runs")["state_dict"], first["state_dict"], rtol=0, atol=0)
    assert saved(tmp_path / "runs").keys() == before.keys()  # nothing partial
    assert runs(tmp_path) == 0  # there is room again
    assert_equal(tmp_path / "runs", whole)


def test_a_disk_that_is_full_half_way_keeps_the_export(runs: Runs, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "export", tmp_path / "runs" / "export")
    before = saved(tmp_path / "runs")
    export = {"class_path": "lightendiff.training.AveragedExport", "init_args": {"folder": "runs/export"}}
    limit = len(before["export/model.safetensors"]) // 2
    assert runs(tmp_path, f"--trainer.callbacks={json.dumps([export])}", limit=limit) == 1
    message = "OSError: [Errno 27] File too large; what was saved before is unchanged: 'runs/export/model.safetensors'"
    assert log(tmp_path)[-1] == message
    assert saved(tmp_path / "runs") == before


# ---- the run is killed


def test_a_kill_while_a_checkpoint_is_written_or_renamed(runs: Runs, whole: Path, tmp_path: Path) -> None:
    last = tmp_path / "runs" / "last.ckpt"
    assert runs(tmp_path, die=["last.ckpt", 3]) == -signal.SIGKILL
    assert load(last.parent)["global_step"] == 2
    content = last.read_bytes()
    assert runs(tmp_path, limit=len(content) // 2, deadly=True) == -signal.SIGXFSZ
    assert last.read_bytes() == content
    assert 0 < (last.parent / ".last.ckpt.tmp").stat().st_size <= len(content) // 2
    assert runs(tmp_path) == 0
    assert_equal(last.parent, whole)
    assert saved(last.parent).keys() == saved(whole).keys()  # the torn file was taken over


def test_a_kill_between_the_last_checkpoint_and_the_export(runs: Runs, whole: Path, tmp_path: Path) -> None:
    assert runs(tmp_path, die=["model.safetensors", 2]) == -signal.SIGKILL
    assert load(tmp_path / "runs")["global_step"] == STEPS
    exported = tmp_path / "runs" / "export" / "model.safetensors"
    assert exported.read_bytes() != (whole / "export" / "model.safetensors").read_bytes()  # the first epoch's
    assert runs(tmp_path) == 0
    assert_equal(tmp_path / "runs", whole)


def test_a_kill_at_any_moment(runs: Runs, whole: Path, tmp_path: Path) -> None:
    moments, killed = random.Random(0), 0
    for trial in range(TRIALS):
        folder = tmp_path / str(trial)
        moment = ["last.ckpt", moments.randint(0, STEPS), moments.uniform(0, 0.15)]  # a step takes about 0.1 s
        killed += runs(folder, die=moment) == -signal.SIGKILL
        if moment[1] > 1:
            assert load(folder / "runs")["global_step"] >= moment[1] - 1
        if (folder / "runs" / "export" / "config.json").exists():
            load_restorer(folder / "runs" / "export")
        assert runs(folder) == 0, log(folder)[-3:]
        assert_equal(folder / "runs", whole)
    assert killed > TRIALS // 3


# ---- the data is damaged (losses that aren't finite: test_training.py)


def test_a_damaged_picture_is_named_before_training(runs: Runs, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for folder in ("dark", "bright"):
        (tmp_path / folder).mkdir()
        for name in ("1.png", "2.png"):
            cv2.imwrite(str(tmp_path / folder / name), draw.integers(0, 255, (40, 40, 3), dtype=np.uint8))
    torn = tmp_path / "bright" / "2.png"
    torn.write_bytes(torn.read_bytes()[:2000])
    source = {"dark_dir": str(tmp_path / "dark"), "target_dir": str(torn.parent)}
    pairs = [{"class_path": "lightendiff.data.datasets.PairedFolders", "init_args": source}]
    assert runs(tmp_path, f"--data.train={json.dumps(pairs)}", "--data.weights=null") == 1
    assert log(tmp_path)[-1] == f"ValueError: 1 of 4 pictures can't be read: {torn} (ImageError)"
    assert not (tmp_path / "runs").exists()
