from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lightendiff.data.datasets import Brackets
from lightendiff.data.pictures import to_code
from lightendiff.data.synthesis.night import find_sky, night
from lightendiff.data.synthesis.scenes import between, bracket, main


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


def test_a_room_is_lifted_everywhere() -> None:
    photo = landscape()
    for seed in range(5):
        scene = night(photo, np.zeros((120, 160), np.float32), np.random.default_rng(seed))
        assert scene is not None
        dark = scene.frames[0].mean(2)
        darkest_third = dark <= np.quantile(dark, 1 / 3)
        assert scene.reference.mean(2)[darkest_third].mean() > 1.5 * dark[darkest_third].mean()


def two_exposures(stops: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """A window beside a dim wall, exposed for the one and for the other."""
    rng = np.random.default_rng(0)
    light = cv2.resize(rng.uniform(0.01, 0.03, (12, 16, 3)), (160, 120), interpolation=cv2.INTER_LINEAR)
    light[30:70, 20:60] = cv2.resize(rng.uniform(0.2, 0.6, (8, 8, 3)), (40, 40), interpolation=cv2.INTER_LINEAR)
    light[90:110, 100:140] = 0.1
    dark, bright = (to_code(np.clip(light * gain, 0, 1) ** (1 / 2.2)) for gain in (1, 2**stops))
    return dark, bright


def test_between_two_exposures_there_are_others() -> None:
    dark, bright = two_exposures()
    scene = between(bright, dark)  # in any order
    assert scene is not None
    assert np.array_equal(scene.frames[0], dark)
    means = [frame.mean() for frame in scene.frames]
    assert len(means) >= 3
    assert means == sorted(means)
    window, wall = np.s_[35:65, 25:55], np.s_[:20]
    assert bright[window].min() == 255
    for part in (window, wall):  # the one is known from the dark frame only, the other mostly from the bright one
        brighter = np.minimum(dark[part] * 2 ** (5 / 6 / 2.2), 255)  # six steps of the same size lie between both
        assert scene.frames[1][part].mean() == pytest.approx(brighter.mean(), rel=0.05)
    assert scene.reference[wall].mean() > 3 * dark[wall].mean()


def test_exposures_must_overlap_and_be_of_one_size() -> None:
    black, white = np.zeros((60, 80, 3), np.uint8), np.full((60, 80, 3), 255, np.uint8)
    assert between(black, white) is None
    with pytest.raises(ValueError, match=r"\(60, 80\) and \(60, 40\)"):
        between(black, white[:, :40])


def test_pairs_are_read_from_their_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("hall", "attic", "mixed"):
        (tmp_path / name).mkdir()
        for exposure, photo in zip("AB", two_exposures(), strict=True):
            cv2.imwrite(str(tmp_path / name / f"{name}_{exposure}.png"), photo)
    (tmp_path / "mixed" / "mixed_B.png").unlink()
    photos = str(tmp_path / "*" / "*_[AB].png")
    assert main(["pairs", photos, "-o", str(tmp_path / "out")]) == 1
    assert "mixed has 1 exposures instead of two" in capsys.readouterr().err
    assert main(["pairs", photos, "--exclude", "mixed", "-o", str(tmp_path / "out")]) == 0
    assert "2 scenes written" in capsys.readouterr().out
    assert main(["pairs", photos, "--exclude", "mixed", "-o", str(tmp_path / "out")]) == 1
    assert "File exists" in capsys.readouterr().err  # nothing is mixed with what is there
    source = Brackets(tmp_path / "out", dark_mean=(3, 60))
    source.load()
    assert len(source) >= 2


def test_the_command_names_a_damaged_photo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    assert main(["brackets", str(tmp_path), "-o", str(tmp_path / "out")]) == 1
    assert "torn.jpg" in capsys.readouterr().err


def test_the_command_writes_what_brackets_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, photo in (("one", landscape()), ("two", landscape(sky=0.0))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), photo[..., ::-1])
    cv2.imwrite(str(tmp_path / "three.png"), landscape())
    for kind, count in (("brackets", 4), ("rooms", 4), ("night", 2)):  # only one of them has a sky
        out = tmp_path / kind
        assert main([kind, str(tmp_path), "-o", str(out), "--variants", "2", "--exclude", "three"]) == 0
        assert f"{count} scenes written" in capsys.readouterr().out
        source = Brackets(out, dark_mean=(3, 130), blend=True, ignore_detail=True)
        source.load()
        assert len(source) >= count
        for number in range(4):
            sample = source.draw(np.random.default_rng(number))
            assert sample.ignore_detail
            assert sample.dark.mean() < sample.target.mean()
