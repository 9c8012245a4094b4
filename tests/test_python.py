"""What people write in Python: files, paths, alpha, habits from diffusers, and what each is told that can't work."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import lightendiff
from lightendiff import ImageError, LightenPipeline, Picture, read_picture, restore_file, write_picture
from lightendiff.batch.run import restored
from lightendiff.integrations.opencv import lighten
from lightendiff.models.presets import PRESETS
from lightendiff.restorer import Restorer
from lightendiff.runtime import habits

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def pipe() -> LightenPipeline:
    torch.manual_seed(0)
    return LightenPipeline(Restorer(PRESETS["tiny"]), device="cpu", dtype=torch.float32)


def dark(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    values = np.random.default_rng(0).random(shape or (20, 28, 3)) * 0.2
    return (values * (np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1)).astype(dtype)


def turned_photo(path: Path) -> Path:
    """28×20 as stored, upright 20×28, with a profile, a camera's name and a resolution."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera"
    Image.fromarray(dark()).save(path, exif=exif.tobytes(), icc_profile=SRGB, dpi=(300, 300))
    return path


# ---- files


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_a_file_keeps_what_the_command_keeps(pipe: LightenPipeline, tmp_path: Path, name: str) -> None:
    source, target = turned_photo(tmp_path / name), tmp_path / "new" / name
    assert restore_file(source, str(target), pipe, exposure=0.5) == ()
    picture, result = read_picture(source), read_picture(target)
    expected = restored(picture, pipe.bind(exposure=0.5))
    if name != "a.jpg":
        assert np.array_equal(result.pixels, expected.pixels)
    assert result.pixels.shape == (28, 20, 3)
    assert (result.icc_profile, result.dpi, result.exif) == (picture.icc_profile, picture.dpi, picture.exif)
    assert b"Camera" in result.exif


def test_a_file_in_another_format(pipe: LightenPipeline, tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    write_picture(source, Picture(dark(dtype=np.uint16), alpha=np.full((20, 28), 30000, np.uint16)))
    notes = restore_file(source, tmp_path / "a.jpg", pipe, quality=80)
    assert notes == ("JPEG holds no transparency: it is left out", "JPEG holds 8 bit: 16 bit is rounded")
    restore_file(source, tmp_path / "b.png", pipe, format="TIF")
    assert Image.open(tmp_path / "b.png").format == "TIFF"
    restore_file(source, tmp_path / "c.png", pipe, compare=True)
    assert read_picture(tmp_path / "c.png").pixels.shape == (20, 56, 3)


def test_what_goes_wrong_with_a_file(pipe: LightenPipeline, tmp_path: Path) -> None:
    source = turned_photo(tmp_path / "a.png")
    (tmp_path / "damaged.png").write_bytes(source.read_bytes()[:200])
    before = source.read_bytes()
    cases: list[tuple[Any, Any, dict[str, Any], type[Exception], str]] = [
        ("missing.png", "b.png", {}, ImageError, "missing.png: No such file"),
        ("damaged.png", "b.png", {}, ImageError, "damaged.png: "),
        ("a.png", "a.png", {}, ImageError, "a.png: expected another file than the input, which is never overwritten"),
        ("a.png", "../" + tmp_path.name + "/a.png", {}, ImageError, "expected another file than the input"),
        ("a.png", ".", {}, ImageError, "expected a file to write, got a folder"),
        ("a.png", "b.png", {"max_pixels": 100}, ImageError, "a.png: "),
        ("a.png", "b.png", {"format": "docx"}, ValueError, "format: expected the end of a picture's name, .*'docx'"),
        ("a.png", "b.png", {"quality": 101}, ValueError, "quality: expected 1 to 100, got 101"),
        ("a.png", "b.png", {"exposure": 4}, ValueError, "exposure: expected a number from -3.0 to 3.0, got 4"),
        ("a.png", "b.png", {"steps": 4}, TypeError, "steps"),
        ("a.png", "a.png/b.png", {}, ImageError, "b.png: "),
    ]
    for given, target, options, error, message in cases:
        with pytest.raises(error, match=message) as raised:
            restore_file(tmp_path / given, tmp_path / target, pipe, **options)
        assert "\n" not in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "damaged.png"]
    assert source.read_bytes() == before


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_gives_an_upright_pil_image(pipe: LightenPipeline, tmp_path: Path, kind: type) -> None:
    path = turned_photo(tmp_path / "a.png")
    result = pipe(kind(path))
    assert isinstance(result, Image.Image)
    assert (result.mode, result.size) == ("RGB", (20, 28))
    assert np.array_equal(np.asarray(result), restored(read_picture(path), pipe.bind()).pixels)
    assert result.info["icc_profile"] == SRGB
    assert result.getexif()[0x010F] == "Camera"
    assert result.getexif().get(0x0112, 1) == 1
    result.save(tmp_path / "b.jpg", exif=result.info["exif"])
    assert Image.open(tmp_path / "b.jpg").getexif()[0x010F] == "Camera"
    both = pipe([kind(path), dark()])
    assert np.array_equal(np.asarray(both[0]), np.asarray(result))
    assert np.array_equal(np.asarray(pipe(kind(path), strength=0)), read_picture(path).pixels)


@pytest.mark.parametrize(
    ("channels", "alpha", "dtype", "mode"),
    [
        (1, False, np.uint8, "L"),
        (1, True, np.uint8, "LA"),
        (3, True, np.uint8, "RGBA"),
        (3, False, np.uint16, "RGB"),
        (3, True, np.uint16, "RGBA"),
        (1, False, np.uint16, "I;16"),
        (1, True, np.uint16, "LA"),
    ],
)
def test_paths_of_all_kinds(
    pipe: LightenPipeline, tmp_path: Path, channels: int, alpha: bool, dtype: type, mode: str
) -> None:
    given = Picture(dark(20, 28, channels, dtype=dtype), alpha=dark(20, 28, dtype=dtype) if alpha else None)
    write_picture(tmp_path / "a.png", given)
    result = pipe(tmp_path / "a.png")
    assert result.mode == mode
    expected = restored(read_picture(tmp_path / "a.png"), pipe.bind()).pixels
    values = np.atleast_3d(np.asarray(result))[..., :channels]
    white = {"I;16": 65535}.get(mode, 255)
    assert np.abs(values / white - expected / np.iinfo(dtype).max).max() <= 0.51 / white


def test_a_picture_gives_a_picture(pipe: LightenPipeline, tmp_path: Path) -> None:
    picture = read_picture(turned_photo(tmp_path / "a.png"))
    result = pipe(picture)
    assert isinstance(result, Picture)
    assert np.array_equal(result.pixels, restored(picture, pipe.bind()).pixels)
    assert (result.exif, result.icc_profile, result.format) == (picture.exif, picture.icc_profile, picture.format)


def test_a_path_without_a_picture(pipe: LightenPipeline, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nothing.jpg: No such file or directory"):
        pipe(tmp_path / "nothing.jpg")
    (tmp_path / "a.txt").write_text("no picture")
    with pytest.raises(ImageError, match=r"a.txt: not a .* image"):
        pipe(str(tmp_path / "a.txt"))


# ---- arrays


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_of_arrays_and_tensors_is_kept(pipe: LightenPipeline, dtype: type, channels: int) -> None:
    array = dark(20, 28, channels, dtype=dtype)
    white = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    array[..., -1] = np.linspace(0.1, 1, 28).astype(np.float64) * white
    before, result = array.copy(), pipe(array)
    assert np.array_equal(array, before)
    assert (result.shape, result.dtype) == (array.shape, array.dtype)
    assert np.array_equal(result[..., -1], array[..., -1])
    colours = array[..., :-1]
    assert np.array_equal(result[..., :-1], pipe(np.ascontiguousarray(colours)))
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    assert np.array_equal(pipe(tensor).permute(1, 2, 0).numpy(), result)
    batch = pipe(torch.stack([tensor, tensor]))
    assert np.array_equal(batch[1].permute(1, 2, 0).numpy(), result)
    assert np.array_equal(pipe(array, strength=0), array)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_what_lies_behind_alpha_makes_no_difference(pipe: LightenPipeline, dtype: type) -> None:
    first = dark(20, 28, 4, dtype=dtype)
    first[..., 3] = 1 if dtype is np.float32 else 255
    first[:8, :8, 3] = 0
    second = first.copy()
    second[:8, :8, :3] = 1 if dtype is np.float32 else 255
    assert np.array_equal(pipe(first)[8:], pipe(second)[8:])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_half_precision_comes_back(pipe: LightenPipeline, dtype: torch.dtype, channels: int) -> None:
    given = torch.full((channels, 20, 28), 0.1, dtype=dtype)
    result = pipe(given)
    assert (result.dtype, result.shape) == (dtype, given.shape)


def test_what_opencv_could_not_read(pipe: LightenPipeline) -> None:
    with pytest.raises(TypeError, match=r"^image: expected .*, got None, which cv2.imread returns"):
        pipe(None)
    with pytest.raises(TypeError, match=r"^bgr: expected a NumPy array, got NoneType, which cv2.imread returns"):
        lighten(None, pipe)  # type: ignore[arg-type]
    assert pipe([]) == []
    with pytest.raises(TypeError, match=r"^image: expected an array of uint8, .*, got bool$"):
        pipe(dark() > 3)


# ---- one exposure for each


@pytest.mark.parametrize("batch_size", [1, 4])
def test_an_exposure_for_each_picture(pipe: LightenPipeline, batch_size: int) -> None:
    pictures: list[Any] = [
        dark(),
        dark(9, 12, 3),
        dark(),
        torch.from_numpy(dark()).permute(2, 0, 1).expand(2, 3, 20, 28),
    ]
    exposures = [-1.0, 0.0, 1.5, 0.5, -1.0]  # a batch has as many as pictures
    together = pipe(pictures, exposure=exposures, batch_size=batch_size)
    alone = [*pictures[:3], *pictures[3]]
    flat = [*together[:3], *together[3]]
    for picture, stops, result in zip(alone, exposures, flat, strict=True):
        expected = np.asarray(pipe(picture, exposure=stops)).astype(int)
        assert np.abs(np.asarray(result).astype(int) - expected).max() <= (0 if batch_size == 1 else 1)
    assert np.array_equal(pipe([dark()], exposure=np.array([0.5]))[0], pipe(dark(), exposure=0.5))


@pytest.mark.parametrize(
    ("exposure", "error", "message"),
    [
        ([0.5], ValueError, "exposure: expected one, or one per picture, 2 of them, got 1"),
        ([0.5, 4], ValueError, "exposure: expected a number from -3.0 to 3.0, got 4"),
        ([0.5, "bright"], TypeError, "exposure: expected a number, got"),
        ("bright", TypeError, "exposure: expected a number, got 'bright'"),
        ([], ValueError, "exposure: expected one, or one per picture, 2 of them, got 0"),
    ],
)
def test_other_exposures(pipe: LightenPipeline, exposure: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        pipe([dark(), dark()], exposure=exposure)


# ---- habits


def test_what_it_is_made_of_is_printed(weights: Path, pipe: LightenPipeline) -> None:
    loaded = LightenPipeline.from_pretrained(weights, "cpu")
    assert repr(loaded) == (
        f"LightenPipeline(weights={str(weights)!r}, architecture='lean', num_inference_steps=2, device='cpu', "
        f"dtype={loaded.dtype})"
    )
    assert "weights='given as a restorer'" in str(pipe)


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
def test_both_names_of_the_precision(weights: Path, name: str) -> None:
    assert LightenPipeline.from_pretrained(weights, "cpu", **{name: torch.bfloat16}).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="dtype: expected it alone"):
        LightenPipeline.from_pretrained(weights, dtype=torch.float32, torch_dtype=torch.float32)
    with pytest.raises(TypeError, match="from_pretrained got an unexpected argument 'device_map': write device="):
        LightenPipeline.from_pretrained(weights, device_map="cuda")


def test_moving_and_converting(weights: Path) -> None:
    pipe = LightenPipeline.from_pretrained(weights, "cpu", torch.float32)
    for arguments, options in [(("cpu", torch.bfloat16), {}), ((torch.bfloat16,), {}), ((), {"dtype": torch.bfloat16})]:
        assert pipe.to("cpu", torch.float32).dtype == torch.float32
        assert pipe.to(*arguments, **options) is pipe
        assert (pipe.dtype, pipe.device.type) == (torch.bfloat16, "cpu")
    assert pipe.to("cpu").dtype == torch.bfloat16  # as it was chosen
    with pytest.raises(ValueError, match="device: expected one that this machine has, got 'gpu'"):
        pipe.to("gpu")
    with pytest.raises(ValueError, match=r"dtype: expected None, torch.float32, .*, got torch.float64"):
        pipe.to(torch.float64)


@pytest.mark.parametrize("name", habits.ATTRIBUTES)
def test_attributes_of_diffusers_say_what_to_write(pipe: LightenPipeline, name: str) -> None:
    assert not hasattr(pipe, name)
    with pytest.raises(AttributeError) as raised:
        getattr(pipe, name)
    assert str(raised.value) == f"'LightenPipeline' object has no attribute {name!r}: {habits.ATTRIBUTES[name]}"


@pytest.mark.parametrize("name", habits.CALLING)
def test_arguments_of_diffusers_say_what_to_write(pipe: LightenPipeline, name: str) -> None:
    with pytest.raises(TypeError) as raised:
        pipe(dark(), **{name: 1})
    assert str(raised.value) == f"the pipeline got an unexpected argument {name!r}: {habits.CALLING[name]}"


def test_other_names_are_plain_errors(pipe: LightenPipeline) -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'lighten'$"):
        pipe.lighten  # noqa: B018
    with pytest.raises(TypeError, match=r"unexpected argument 'brightness'$"):
        pipe(dark(), brightness=2)
    for other in (copy.copy(pipe), copy.deepcopy(pipe), pickle.loads(pickle.dumps(pipe))):
        assert np.array_equal(other(dark()), pipe(dark()))


def test_lists_draw_a_bar(
    pipe: LightenPipeline, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [dark(9, 9, 3)] * 3
    try:
        pipe(pictures)
        assert capsys.readouterr().err == ""  # no terminal
        pipe.set_progress_bar_config(disable=False, delay=0, desc="bright", mininterval=0, leave=True)
        shares: list[float] = []
        pipe(pictures, progress=shares.append)
        shown = capsys.readouterr().err
        assert "100%|" in shown
        assert "3/3" in shown
        assert shares[-1] == 1
        pipe(pictures[0])
        pipe.bind()(pictures)
        pipe.set_progress_bar_config(disable=True)
        pipe(pictures)
        assert capsys.readouterr().err == ""
    finally:
        pipe.set_progress_bar_config()


# ---- the package


def test_public_names() -> None:
    assert dir(lightendiff) == sorted(lightendiff.__all__)
    for name in lightendiff.__all__:
        assert getattr(lightendiff, name) is not None
    assert {"LightenPipeline", "Stream", "restore_file", "read_picture", "write_picture", "Stopped"} <= set(
        lightendiff.__all__
    )


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, lightendiff; dir(lightendiff); print({'torch', 'numpy', 'PIL', 'tqdm'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
    code = "import sys; from lightendiff import read_picture, write_picture; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
