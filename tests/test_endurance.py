"""The benchmark of memory over many pictures, with few."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def endurance(load_script) -> ModuleType:
    return load_script(ROOT / "benchmarks" / "endurance.py")


def test_a_line_for_every_tenth(endurance, weights, capsys, monkeypatch):
    monkeypatch.setattr(endurance, "memory", lambda peak: 2**30)
    assert endurance.main(["--pictures", "20", "--side", "16", "--weights", str(weights)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:12] == [f"| {n} | 1024.0 |" for n in range(2, 21, 2)]
    assert lines[12].startswith("20 restored, 0 skipped, 0 failed")
    assert lines[13] == "+0.0 MiB between the first tenth and the end"


def test_growth_is_a_failure(endurance, weights, capsys, monkeypatch):
    grown = iter(range(2**30, 2**31, 4 * 2**20))
    monkeypatch.setattr(endurance, "memory", lambda peak: next(grown))
    assert endurance.main(["--pictures", "10", "--side", "16", "--weights", str(weights)]) == 1
    assert "+36.0 MiB between" in capsys.readouterr().out
