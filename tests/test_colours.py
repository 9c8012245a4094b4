"""benchmarks/colours.py: what it counts, on pictures whose figures are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(ROOT / "benchmarks" / "colours.py")


def plain(*code: int) -> np.ndarray:
    return np.full((96, 128, 3), code, np.uint8)


def test_more_light_turns_no_colour(script: ModuleType) -> None:
    found = script.colours(plain(140, 90, 40), plain(188, 124, 60))  # twice the light, roughly
    assert found.keys() == {"orange", "all"}
    assert abs(found["orange"][0]) < 1
    assert found["orange"][1] > 1  # chroma grows with lightness


def test_a_turn_is_measured_in_degrees_of_lab(script: ModuleType) -> None:
    from skimage.color import lab2rgb

    def of_hue(hue: float) -> np.ndarray:
        angle = np.radians(hue)
        return plain(*(255 * lab2rgb([60, 30 * np.cos(angle), 30 * np.sin(angle)])).round().astype(int).tolist())

    turned, chroma = script.colours(of_hue(270), of_hue(260))["blue"]
    assert turned == pytest.approx(-10, abs=0.5)
    assert chroma == pytest.approx(1, abs=0.02)


def test_what_is_dark_or_grey_has_no_colour_to_turn(script: ModuleType) -> None:
    assert script.colours(plain(30, 10, 5), plain(200, 100, 50)) == {}
    assert script.colours(plain(120, 120, 120), plain(200, 100, 50)) == {}


def test_empty_places_and_the_edge(script: ModuleType) -> None:
    dark, restored = plain(1, 2, 3), plain(20, 20, 20)
    assert script.emptiness(dark, restored) == pytest.approx((20, 0), abs=1e-3)
    assert script.emptiness(plain(9, 9, 9), restored) is None
    restored[:48, :, 0] = 255
    assert script.at_the_edge(dark, restored) == 0.5
    assert script.at_the_edge(plain(245, 0, 0), restored) == 0


def test_command(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, image in (("dark", plain(60, 80, 130)), ("made", plain(100, 130, 210))):
        (tmp_path / folder).mkdir()
        Image.fromarray(image).save(tmp_path / folder / "a.png")
    assert script.main([str(tmp_path / "dark"), "--outputs", str(tmp_path / "made")]) == 0
    assert "| blue: hue, chroma | 1 |" in capsys.readouterr().out
    assert script.main([str(tmp_path / "dark")]) == 0
    assert "| at white: mean, worst | 1 | 0.00 % | 0.00 % |" in capsys.readouterr().out
    assert script.main([str(tmp_path / "made"), "--outputs", str(tmp_path)]) == 1
