"""The one rule for windows, and what it is told of memory."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lightendiff import limits
from lightendiff.models.presets import PRESETS
from lightendiff.runtime.memory import WINDOW, budget, fit, held, needed
from lightendiff.tiling import largest_window, smallest_side, split

CONFIG = PRESETS["default"]
SMALLEST = smallest_side(CONFIG.halo, CONFIG.multiple)


def test_what_was_measured_is_less_than_what_is_reckoned_with() -> None:
    """Peak memory beside the loaded networks, in float32, on two cores of an AMD EPYC with torch 2.14."""
    measured = {
        ("default", 512, 512, None): 135, ("default", 1024, 1024, None): 502, ("default", 1536, 1536, None): 993,
        ("default", 2048, 2048, None): 1488, ("default", 1024, 4096, 1024): 579, ("tiny", 1024, 1024, None): 191,
        ("paper", 512, 512, None): 231, ("paper", 768, 768, None): 474,
    }  # fmt: skip
    for (preset, height, width, side), mebibytes in measured.items():
        assert 1 < needed(PRESETS[preset], 1, height, width, side) / 2**20 / mebibytes < 3


@pytest.mark.parametrize(
    ("size", "windows"),
    [((400, 600), 1), ((2048, 2048), 1), ((2160, 3840), 3), ((3000, 4000), 4), ((1024, 16384), 5), ((9000, 9000), 36)],
)
def test_with_memory_to_spare_windows_have_four_megapixels(size: tuple[int, int], windows: int) -> None:
    height, width = (-(-length // CONFIG.multiple) * CONFIG.multiple for length in size)
    for count in (1, 5):
        assert fit(CONFIG, count, *size, math.inf)[0] == count
    _, side = fit(CONFIG, 1, *size, math.inf)
    assert len(split(height, width, side, CONFIG.halo, CONFIG.multiple)) == windows
    assert largest_window(height, width, side, CONFIG.halo, CONFIG.multiple) <= WINDOW**2
    assert (side is None) == (windows == 1)


@pytest.mark.parametrize("size", [(400, 600), (1080, 1920), (2160, 3840), (3000, 300)])
@pytest.mark.parametrize("gigabytes", [0.5, 0.9, 1.5, 2, 8, 100])
def test_windows_are_the_largest_that_fit(size: tuple[int, int], gigabytes: float) -> None:
    limit = gigabytes * 1e9
    count, side = fit(CONFIG, 4, *size, limit, largest=math.inf)
    fits = needed(CONFIG, count, *size, side) <= limit
    assert fits or (count == 1 and side == SMALLEST)
    if fits and side is not None:
        assert needed(CONFIG, 1, *size, side + CONFIG.multiple) > limit
    if fits and count < 4:
        assert needed(CONFIG, count + 1, *size, side) > limit


def test_too_little_means_the_smallest_windows() -> None:
    assert fit(CONFIG, 3, 3000, 3000, 0) == (1, SMALLEST)
    assert fit(CONFIG, 3, 3000, 3000, -1e9) == (1, SMALLEST)


def test_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=8000))
    monkeypatch.setattr(limits, "_control_group_rooms", lambda *_: [9000, 4000])
    assert budget(torch.device("cpu")) == 3000
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # processes that torchrun started on this machine
    assert budget(torch.device("cpu")) == 1500
    monkeypatch.setattr(limits, "_control_group_rooms", lambda *_: [])  # as on macOS and Windows
    assert budget(torch.device("cpu")) == 3000


def control_group(folder: Path, version: int, limit: str, used: int, cache: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = limits._CONTROLLERS[version]
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {cache}\nfile 7\n")


def test_limits_of_containers(tmp_path: Path) -> None:
    groups, root = tmp_path / "cgroup", tmp_path / "root"
    groups.write_text("0::/outer/inner\n")
    control_group(root / "outer" / "inner", 2, "max", 100, 0)
    control_group(root / "outer", 2, "1000", 600, 50)
    assert limits._control_group_rooms(groups, root) == [450]
    groups.write_text("5:cpu,cpuacct:/x\n4:memory:/job\n")
    control_group(root / "memory" / "job", 1, "5000", 1000, 200)
    control_group(root / "memory", 1, "9223372036854771712", 1000, 0)
    assert limits._control_group_rooms(groups, root) == [4200, 9223372036854771712 - 1000]
    assert limits._control_group_rooms(tmp_path / "none", root) == []


def test_what_this_process_holds() -> None:
    before = held(torch.device("cpu"))
    block = torch.ones(2**28, dtype=torch.uint8)
    assert held(torch.device("cpu")) - before > 2**27
    del block
