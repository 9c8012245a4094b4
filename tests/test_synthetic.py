from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lightendiff.data.datasets import Brackets
from lightendiff.data.synthetic import bracket, find_sky, main, night


def landscape(size: tuple[int, int] = (120, 160), sky: float = 0.4) -> np.ndarray:
    """A pale blue sky above ground of brown and green patches, (h, w, 3) uint8."""
    rng = np.random.default_rng(0)
    h, w = size
    patches = rng.integers(20, 110, (h // 8, w // 8, 3)).astype(np.uint8)
    patches[..., 2] //= 2
    photo = cv2.resize(patches, (w, h), interpolation=cv2.INTER_NEAREST)
    photo[: round(sky * h)] = (170, 190, 230)
    return photo


def test_a_bracket_rises_from_dark_frames_to_its_fusion() -> None:
    photo = landscape()
    for seed in range(5):
        scene = bracket(photo, np.random.default_rng(seed))
        means = [frame.mean() for frame in scene.frames]
        assert all(frame.shape == photo.shape and frame.dtype == np.uint8 for frame in scene.frames)
        assert len(means) >= 2
        assert means == sorted(means)
        assert means[0] >= 4
        assert means[-1] <= 130
        assert 60 < scene.reference.mean() < 190
        # the same scene: what is brighter in the photo is brighter in the reference
        rank = np.corrcoef(photo.mean(2).ravel(), scene.reference.astype(float).mean(2).ravel())[0, 1]
        assert rank > 0.7
    again = bracket(photo, np.random.default_rng(4))
    assert np.array_equal(again.reference, scene.reference)


def test_sky_is_found_where_there_is_one() -> None:
    sky = find_sky(landscape(sky=0.4))
    assert sky is not None
    assert (sky.shape, sky.dtype) == ((120, 160), np.float32)
    assert sky[:44].min() > 0.95
    assert sky[56:].max() < 0.05


@pytest.mark.parametrize("photo", [landscape(sky=0.0), landscape(sky=0.9), landscape()[::-1].copy()])
def test_no_sky_where_there_is_none_or_nothing_else(photo: np.ndarray) -> None:
    assert find_sky(photo) is None


def test_night_lifts_the_ground_and_leaves_the_sky() -> None:
    photo = landscape()
    sky = np.zeros((120, 160), np.float32)
    sky[:48] = 1
    for seed in range(5):
        scene = night(photo, sky, np.random.default_rng(seed))
        assert scene is not None
        [dark] = scene.frames
        assert (dark.shape, dark.dtype) == (photo.shape, np.uint8)
        assert scene.reference[56:].mean() > 1.3 * dark[56:].mean()
        assert np.median(scene.reference[:30]) <= np.median(dark[:30]) + 8
        assert dark.max() > 150  # a lamp


def test_night_needs_ground() -> None:
    assert night(landscape(), np.ones((120, 160), np.float32), np.random.default_rng(0)) is None


def test_the_command_writes_what_brackets_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, photo in (("one", landscape()), ("two", landscape(sky=0.0))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), photo[..., ::-1])
    cv2.imwrite(str(tmp_path / "three.png"), landscape())
    for kind, count in (("brackets", 4), ("night", 2)):  # only one of them has a sky
        out = tmp_path / kind
        assert main([kind, str(tmp_path), "-o", str(out), "--variants", "2", "--exclude", "three"]) == 0
        assert f"{count} scenes written" in capsys.readouterr().out
        source = Brackets(out, dark_mean=(3, 130), blend=True, tones_only=True)
        source.load()
        assert len(source) >= count
        for number in range(4):
            sample = source.draw(np.random.default_rng(number))
            assert sample.tones_only
            assert sample.dark.mean() < sample.target.mean()
