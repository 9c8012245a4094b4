"""Damaged pictures, videos, weights and configurations: each is restored, or refused in one line of our own.

FUZZ=1 in the environment tries 500 files of each picture format, 300 videos, and 1,500 of each kind of weights; other
numbers try that share of them. The cases are the same every time.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzzing import PICTURES, VIDEOS, WEIGHTS

SHARE = float(os.environ.get("FUZZ", "0.02"))
NEEDED = {"heic": "pillow_heif"} | dict.fromkeys(VIDEOS, "av")
MOST_REPORTED = 5

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory as Linux has them")


def tried(kind: str, count: int, folder: Path) -> list[str]:
    """The outcomes of the cases; a crash, a hang or an error that isn't ours is told with the number of its case."""
    outcomes: list[str] = []
    wrong: list[str] = []
    first = 0
    while first < count and len(wrong) < MOST_REPORTED:
        line = [sys.executable, str(Path(__file__).with_name("fuzzing.py")), kind, str(first), str(count - first)]
        quiet = os.environ | {"OPENCV_LOG_LEVEL": "SILENT"}  # as the command line has it
        done = subprocess.run([*line, str(folder)], env=quiet, capture_output=True, text=True, errors="replace")
        at = first
        for entry in map(json.loads, done.stdout.splitlines()):
            at = entry.get("begins", at)
            if "case" in entry:
                outcomes.append(entry["outcome"])
                wrong += [f"{kind} {at}: {entry['wrong']}"] if entry["wrong"] else []
        if done.returncode:  # it began a case, and hasn't ended it
            wrong.append(f"{kind} {at}: ended with {done.returncode}: {done.stderr[-2000:]}")
        elif done.stderr:
            wrong.append(f"{kind}: native libraries print {done.stderr[-2000:]}")
        first = at + 1
    assert not wrong, "\n".join(wrong)
    return outcomes


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures(kind: str, tmp_path: Path) -> None:
    if kind in NEEDED and importlib.util.find_spec(NEEDED[kind]) is None:
        pytest.skip(f"no {NEEDED[kind]}")
    outcomes = tried(kind, round(500 * SHARE), tmp_path)
    assert len(outcomes) == round(500 * SHARE)


@pytest.mark.parametrize("kind", VIDEOS)
def test_videos(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("av")
    count = round(300 * SHARE / len(VIDEOS)) or 1
    assert len(tried(kind, count, tmp_path)) == count


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights(kind: str, tmp_path: Path) -> None:
    count = round(1500 * SHARE)
    outcomes = tried(kind, count, tmp_path)
    assert len(outcomes) == count
    assert sum(outcome != "restored" for outcome in outcomes) > count // 3
