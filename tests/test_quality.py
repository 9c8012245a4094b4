"""The quality benchmark, on a small self-made tree of pictures laid out like the real one."""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from lightendiff.data.pictures import Sample
from lightendiff.models.presets import PRESETS

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "quality.py"
SIZE = (24, 32)


@pytest.fixture(scope="module")
def quality(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(SCRIPT)


@pytest.fixture(scope="module")
def kept(quality):
    return quality.read_kept_out()


def write(path: Path, value: float, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    grain = np.random.default_rng(seed).normal(0, 3, (*SIZE, 3))
    Image.fromarray((value + grain).clip(0, 255).round().astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def data(kept, tmp_path_factory) -> Path:
    """3 validation pairs, the kept-out training pairs and one more, 2 dark frames in each kept-out scene, 2 wild."""
    root = tmp_path_factory.mktemp("data")
    for stems, part in (("1", "2", "3"), "val"), ([*kept.pictures, "9999"], "train"):
        for stem in stems:
            write(root / "lol_v1" / part / "low" / f"{stem}.png", 20)
            write(root / "lol_v1" / part / "high" / f"{stem}.png", 120)
    for scene in kept.scenes:
        for number, value in enumerate((15, 50, 110, 245), start=1):
            write(root / "brackets" / scene / f"{number}_mean{value:03}.png", value)
        write(root / "brackets" / scene / "reference.png", 130)
    write(root / "wild" / "night.png", 12)
    write(root / "wild" / "snow.png", 252)
    return root


def run(quality: ModuleType, capsys: pytest.CaptureFixture[str], *argv: object) -> dict[str, list[str]]:
    """The cells of every line of the printed tables, by the first."""
    assert quality.main([str(arg) for arg in argv]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    return {cells[0]: cells[1:] for cells in ([c.strip() for c in line.split("|")[1:-1]] for line in lines)}


def test_kept_out_pictures_are_those_of_the_configuration(kept):
    assert len(set(kept.pictures)) == len(set(kept.scenes)) == 20
    assert kept.dark_mean == (8, 60)
    assert all(isinstance(stem, str) for stem in kept.pictures)


def test_every_set(quality, data, weights, tmp_path, capsys):
    table = run(quality, capsys, "--data", data, "--weights", weights, "--sheet", tmp_path, "--wild", data / "wild")
    pictures = {name: int(table[name][1]) for name in quality.SETS}
    assert pictures == {"lol_val": 3, "brackets_val": 40, "lol_kept": 20, "well_lit": 23}
    for name in quality.SETS:
        assert table[name][0] == str(PRESETS["tiny"].num_inference_steps)
        assert all(math.isfinite(float(cell)) for cell in table[name][2:])
        with Image.open(tmp_path / f"{name}.jpg") as sheet:
            assert sheet.width == 3 * 488 + 8
    assert table["**wild: all 2**"][0] == table["snow"][0] == str(SIZE[0] * SIZE[1])
    assert table["night"][:2] == ["0", "–"]
    assert int(table["**brackets_bright: all 20**"][0]) > 0
    assert f"{quality.brightest_frame(data / 'brackets' / 'scene040').stem}" == "4_mean245"
    assert {path.name for path in tmp_path.glob("wild*")} == {"wild_1.jpg"}
    assert len(list(tmp_path.glob("brackets_bright_*.jpg"))) == 5


def test_outputs_of_another_program(quality, data, tmp_path, capsys):
    shutil.copytree(data / "lol_v1" / "val" / "high", tmp_path / "lol_val")
    shutil.copytree(data / "wild", tmp_path / "wild")
    for scene in (data / "brackets").iterdir():
        for frame in scene.glob("[12]_*"):
            write(tmp_path / "brackets_val" / scene.name / frame.name, 130)
        shutil.copytree(scene, tmp_path / "brackets_bright" / scene.name)
    sets = ("--sets", "lol_val", "brackets_val")
    table = run(quality, capsys, "--data", data, "--outputs", tmp_path, *sets, "--wild", data / "wild")
    assert table["lol_val"] == ["–", "3", "inf", "1.000", "inf", "0.00", "–"]
    assert table["brackets_val"] == ["–", "40", "inf", "1.000", "inf", "0.00", "–"]
    assert table["night"][-1] == "1.00"
    assert table["snow"][1] == "0.00 %"
    # A single set's outputs may lie in the folder itself; the dark pictures as outputs give the figure of the input.
    low = data / "lol_v1" / "val" / "low"
    table = run(quality, capsys, "--data", data, "--outputs", low, "--sets", "lol_val")
    assert float(table["lol_val"][2]) == pytest.approx(20 * math.log10(255 / 100), abs=0.02)


def test_every_pictures_figures_are_listed(quality, data, weights, tmp_path, capsys):
    argv = ("--data", data, "--weights", weights, "--sets", "lol_val", "brackets_val", "--seeds", 2)
    table = run(quality, capsys, *argv, "--csv", tmp_path / "figures.csv")
    with (tmp_path / "figures.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["picture"] for line in lines[:6]] == ["1", "2", "3"] * 2
    assert [line["seed"] for line in lines[:6]] == list("000111")
    assert lines[6]["picture"] == "scene040/1_mean015"
    for name in ("lol_val", "brackets_val"):
        mine = [float(line["psnr"]) for line in lines if line["set"] == name]
        assert float(table[name][2]) == pytest.approx(sum(mine) / len(mine), abs=0.01)


def test_tone_curves_are_the_best_there_are(quality, data, tmp_path, capsys):
    shutil.copytree(data / "brackets", tmp_path / "brackets")
    scene = tmp_path / "brackets" / "scene001"
    scene.mkdir()
    values = np.random.default_rng(0).integers(8, 60, (*SIZE, 3)).astype(np.uint8)
    Image.fromarray(values).save(scene / "1.png")
    curve = np.random.default_rng(1).permutation(256).astype(np.uint8)
    Image.fromarray(curve[values]).save(scene / "reference.png")
    table = run(quality, capsys, "--data", tmp_path, "--tone-curves", "--sets", "brackets_train", "brackets_val")
    assert table["brackets_train"][:3] == ["–", "1", "inf"]  # what a curve can do, it does
    assert table["brackets_val"][1] == "40"

    dark = np.array([[[7, 7], [7, 200]]] * 3, np.uint8)
    target = np.array([[[10, 20], [30, 90]]] * 3, np.uint8)  # what it can't, it does on average
    output = quality.with_tone_curves(Sample(dark, target, float(dark.mean()) / 255, "x"))
    np.testing.assert_array_equal(output, np.array([[[20, 20], [20, 90]]] * 3).transpose(1, 2, 0))
    with pytest.raises(SystemExit, match="2"):
        quality.main(["--tone-curves", "--wild", str(data)])


def test_missing_output_is_named(quality, data, tmp_path, capsys):
    shutil.copytree(data / "lol_v1" / "val" / "high", tmp_path / "lol_val")
    (tmp_path / "lol_val" / "2.png").unlink()
    assert quality.main(["--data", str(data), "--outputs", str(tmp_path), "--sets", "lol_val"]) == 1
    assert "expected one picture 2.*, found 0" in capsys.readouterr().err


def test_steps_and_seeds(quality, data, weights, capsys):
    argv = ("--data", data, "--weights", weights, "--sets", "lol_val")
    assert quality.main([str(arg) for arg in (*argv, "--steps", 1, 3, "--seeds", 2)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| lol_val")]
    assert [line.split("|")[2].strip() for line in lines] == ["1", "3"]
    for line in lines:
        whole, single = map(float, line.split("|")[-3].split("/"))
        assert line.split("|")[-2].strip() in ("0 %", "50 %", "100 %")  # of two pictures
        assert 0 <= whole <= single * math.sqrt(2) + 1e-3
    with pytest.raises(SystemExit, match="2"):
        quality.main(["--outputs", "x", "--seeds", "3"])


def test_kept_out_pictures_that_are_not_there_are_an_error(quality, data, weights, tmp_path, capsys):
    for part in ("low", "high"):
        shutil.copytree(data / "lol_v1" / "train" / part, tmp_path / "lol_v1" / "train" / part)
        (tmp_path / "lol_v1" / "train" / part / "776.png").unlink()
    assert quality.main(["--data", str(tmp_path), "--weights", str(weights), "--sets", "lol_kept"]) == 1
    assert "776" in capsys.readouterr().err
