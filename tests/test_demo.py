"""The demo: its dark photos, and its sheet from a tiny random model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from lightendiff import Restorer
from lightendiff.evaluation.measure import measure
from lightendiff.models.presets import PRESETS
from lightendiff.weights.folder import save_restorer

EXAMPLE = Path(__file__).parents[1] / "examples" / "demo.py"


@pytest.fixture(scope="module")
def demo(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(EXAMPLE)


def test_photos_are_dark_and_the_same_every_time(demo):
    dark, original = demo.dark_photo("chelsea", -5.0, seed=1)
    again, _ = demo.dark_photo("chelsea", -5.0, seed=1)
    other, _ = demo.dark_photo("chelsea", -5.0, seed=2)
    assert dark.shape == original.shape == (300, 451, 3)
    assert dark.dtype == np.uint8
    assert dark.mean() < 0.35 * original.mean()
    np.testing.assert_array_equal(dark, again)
    assert (dark != other).any()


def test_demo_writes_a_sheet_and_a_table(demo, tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    save_restorer(Restorer(PRESETS["tiny"]), tmp_path / "weights")
    monkeypatch.setattr(demo, "PHOTOS", {"chelsea": -5.0, "rocket": -3.0})
    demo.main(["-o", str(tmp_path / "out"), "--weights", str(tmp_path / "weights")])
    printed = capsys.readouterr().out
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
    assert [line[0] for line in table] == ["photo", "---", "chelsea", "rocket"]
    dark, original = demo.dark_photo("chelsea", -5.0, seed=0)
    assert table[2][2] == f"{measure(dark, original).psnr:.2f}"
    sheet = tmp_path / "out" / "contact_sheet.jpg"
    assert str(sheet) in printed
    with Image.open(sheet) as stored:
        assert stored.size == (3 * 408 + 8, stored.height)
        pixels = np.asarray(stored).astype(float)
    # The original's column is brighter than the dark one's.
    assert pixels[40:280, -408:-8].mean() > 2 * pixels[40:280, 8:408].mean()


def test_weights_that_do_not_load_are_an_error_of_one_line(demo, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        demo.main(["-o", str(tmp_path), "--weights", str(tmp_path / "none")])
    assert "cannot load" in capsys.readouterr().err.splitlines()[-1]


def test_photos_lie_in_the_installed_package(demo):
    import skimage.data

    files = {path.stem for path in Path(skimage.data.data_dir).iterdir()}
    assert set(demo.PHOTOS) <= files
