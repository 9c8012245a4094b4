"""Sheets of several exposures: what is on them, where they go, and that they replace nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightendiff import LightenPipeline, Picture, read_picture, write_picture
from lightendiff.batch.preview import LABEL, SIDE, STOPS, TILE, exposures_around, preview, sheet
from lightendiff.cli.main import main
from lightendiff.models.presets import PRESETS
from lightendiff.restorer import Restorer


@pytest.fixture(scope="module")
def pipe() -> LightenPipeline:
    torch.manual_seed(0)
    return LightenPipeline(Restorer(PRESETS["tiny"]), device="cpu", dtype=torch.float32)


def dark(height: int = 40, width: int = 60, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    values = np.random.default_rng(0).random((height, width, channels)) * 0.2
    return (values * np.iinfo(dtype).max).astype(dtype)


def tile(picture: np.ndarray, number: int, height: int = 40, width: int = 60) -> np.ndarray:
    """The picture at that place of a sheet whose pictures are smaller than their places."""
    top, left = 8 + (number // 4) * (height + 20 + 8), 8 + (number % 4) * 208
    return picture[top : top + height, left : left + width]


def test_each_picture_is_what_its_option_gives(pipe: LightenPipeline) -> None:
    picture = Picture(dark())
    made = preview(picture, pipe.bind(strength=0.9, seed=3)).pixels
    assert np.array_equal(tile(made, 0), picture.pixels)
    for number, stops in enumerate(STOPS, 1):
        expected = pipe(picture.pixels, exposure=stops, strength=0.9, seed=3)
        assert np.array_equal(tile(made, number), expected)


def test_exposures_lie_around_the_one_that_is_asked_for() -> None:
    assert exposures_around(0.0) == list(STOPS)
    assert exposures_around(0.7) == [-0.8, -0.3, 0.2, 0.7, 1.2, 1.7, 2.2]
    assert exposures_around(2.5) == [1.0, 1.5, 2.0, 2.5, 3.0]


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (3, np.uint16), (1, np.uint16)])
def test_grey_and_16_bits(pipe: LightenPipeline, channels: int, dtype: type) -> None:
    made = preview(Picture(dark(channels=channels, dtype=dtype)), pipe.bind()).pixels
    assert (made.dtype, made.shape[2]) == (np.uint8, 3)
    expected = dark(channels=channels, dtype=dtype) / np.iinfo(dtype).max * 255
    assert np.abs(tile(made, 0) - expected).max() <= 0.51


def test_profiles_are_followed(pipe: LightenPipeline) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made = preview(Picture(dark(), icc_profile=profile, exif=b""), pipe.bind())
    assert made.icc_profile == b""
    assert np.array_equal(tile(made.pixels, 0), dark())


def test_large_pictures_are_shrunk_before(pipe: LightenPipeline) -> None:
    sizes: list[tuple[int, ...]] = []
    handle = pipe.restorer.register_forward_pre_hook(lambda module, inputs: sizes.append(tuple(inputs[0].shape[2:])))
    try:
        preview(Picture(dark(20, 2 * SIDE)), pipe.bind(exposure=3))
    finally:
        handle.remove()
    assert set(sizes) == {(10, SIDE)}


@pytest.mark.parametrize(("size", "columns"), [((900, 600), 267), ((600, 900), TILE), ((900, 90), LABEL)])
def test_columns_are_as_wide_as_the_pictures(size: tuple[int, int], columns: int) -> None:
    assert sheet([dark(*size)] * 5, ["x"] * 5).shape[1] == 4 * (columns + 8) + 8


def test_labels_are_drawn() -> None:
    pictures = [dark()] * 5
    plain, told = sheet(pictures, [""] * 4 + ["x"]), sheet(pictures, ["--exposure 0.5"] + [""] * 3 + ["x"])
    assert told.shape[0] == plain.shape[0] + 20
    assert (told[8 + 40 : 8 + 60, 8:120] > 150).any()


def test_the_command(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "photo.tif"
    write_picture(photo, Picture(dark(dtype=np.uint16)))
    options = ["--preview", "--weights", str(weights), "--device", "cpu"]
    assert main([str(photo), *options]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.tif", "photo_preview.jpg"]
    assert read_picture(tmp_path / "photo_preview.jpg").pixels.shape[1] == 4 * 208 + 8
    assert main([str(photo), *options, "--format", "png"]) == 0
    made = np.asarray(Image.open(tmp_path / "photo_preview.png"))
    assert np.abs(tile(made, 0) - read_picture(photo).pixels / 257).max() <= 0.51
    assert main([str(photo), *options, "-o", str(tmp_path / "sheet.webp")]) == 0
    assert Image.open(tmp_path / "sheet.webp").format == "WEBP"
    assert main([str(photo), *options, "-o", str(tmp_path / "out")]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo_preview.jpg"]
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([str(photo), *options, "--compare"])
    assert "--compare: not allowed with argument --preview" in capsys.readouterr().err
