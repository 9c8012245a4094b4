from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lightendiff.data.datasets import Brackets
from lightendiff.data.synthesis.panoramas import ANGLES, read_panorama, view
from lightendiff.data.synthesis.scenes import main

HEIGHT = 256


def directions() -> np.ndarray:
    """A panorama (h, 2h, 3) whose light tells where it comes from: 2 + the unit vector to the right, down and ahead."""
    latitude = (np.arange(HEIGHT, dtype=np.float32)[:, None] + 0.5) / HEIGHT * np.pi - np.pi / 2  # downwards
    longitude = (np.arange(2 * HEIGHT, dtype=np.float32) + 0.5) / HEIGHT * np.pi
    across = np.cos(latitude)
    vector = across * np.sin(longitude), np.sin(latitude) + 0 * longitude, across * np.cos(longitude)
    return 2 + np.stack(vector, 2)


def angle(one: np.ndarray, other: np.ndarray) -> float:
    """Degrees between two vectors."""
    return float(np.degrees(np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other))))


def test_a_view_is_what_a_pinhole_camera_sees() -> None:
    seen = set()
    for seed in range(40):  # among them views across the panorama's left and right edge
        light = view(directions(), np.random.default_rng(seed))
        assert light.dtype == np.float32
        seen.add(light.shape)
        h, w = light.shape[:2]
        ray = light - 2
        assert np.linalg.norm(ray, axis=2) == pytest.approx(1, abs=2e-3)
        longer = (ray[h // 2, 0], ray[h // 2, -1]) if w > h else (ray[0, w // 2], ray[-1, w // 2])
        assert ANGLES[0] - 1 < angle(*longer) < ANGLES[1] + 1
        assert abs(np.degrees(np.arcsin(ray[h // 2, w // 2, 1]))) < 25  # looks ahead …
        assert (np.diff(ray[..., 1], axis=0) > 0).mean() > 0.99  # … and upright
        # rays of one row lie in one plane: straight lines stay straight
        left, middle, right = ray[h // 4, 0], ray[h // 4, w // 3], ray[h // 4, -1]
        assert abs(np.linalg.det(np.stack([left, middle, right]))) < 3e-3
    assert seen == {(384, 512, 3), (512, 384, 3)}


def test_directions_differ_and_repeat() -> None:
    one, other, again = (view(directions(), np.random.default_rng(seed)) for seed in (0, 1, 0))
    assert np.array_equal(one, again)
    assert one.shape != other.shape or not np.allclose(one, other, atol=0.1)


def test_nothing_between_the_pixels_of_a_large_panorama_is_lost() -> None:
    """A grating finer than a view's pixels becomes grey instead of stripes."""
    panorama = np.zeros((2048, 4096, 3), np.float32)
    panorama[:, ::2] = 1
    light = view(panorama, np.random.default_rng(0))
    assert light == pytest.approx(0.5, abs=0.25)


def test_radiance_files_are_read_as_linear_rgb(tmp_path: Path) -> None:
    panorama = directions()
    panorama[0, 0] = 1000, 10, 0.5
    cv2.imwrite(str(tmp_path / "here.hdr"), panorama[..., ::-1])
    read = read_panorama(tmp_path / "here.hdr")
    assert (read.shape, read.dtype) == (panorama.shape, np.float32)
    assert read[1:] == pytest.approx(panorama[1:], rel=0.02)
    assert read[0, 0] == pytest.approx(panorama[0, 0], abs=4)  # one exponent for all three channels


def test_what_is_no_panorama_is_named(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "square.hdr"), directions()[:, :HEIGHT])
    with pytest.raises(ValueError, match=r"square\.hdr is 256×256, but an equirectangular"):
        read_panorama(tmp_path / "square.hdr")
    (tmp_path / "empty.hdr").touch()
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((8, 16, 3), np.uint8))
    (tmp_path / "photo.png").rename(tmp_path / "photo.hdr")
    for name in ("empty.hdr", "photo.hdr"):
        with pytest.raises(ValueError, match=rf"{name} can't be read as an HDR picture"):
            read_panorama(tmp_path / name)


def test_the_command_makes_brackets_of_panoramas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    light = (directions() - 1) ** 4  # 1 : 81 from one side to the other
    cv2.imwrite(str(tmp_path / "plain.hdr"), light)
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.zeros((8, 16, 3), np.uint8))  # isn't taken
    out = tmp_path / "out"
    assert main(["panoramas", str(tmp_path), "-o", str(out), "--variants", "3"]) == 0
    assert "3 scenes written" in capsys.readouterr().out
    source = Brackets(out, dark_mean=(4, 130), ignore_detail=True)
    source.load()
    for number in range(3):
        sample = source.draw(np.random.default_rng(number))
        assert sample.dark.mean() < 0.92 * sample.target.mean()
    assert main(["panoramas", str(tmp_path / "photo.jpg"), "-o", str(out)]) == 1
    assert "no pictures match" in capsys.readouterr().err
