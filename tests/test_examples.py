"""The examples, with a tiny network and few pictures; test_demo.py has the demo."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from lightendiff.integrations.kornia import LightenModule
from lightendiff.models.presets import PRESETS
from lightendiff.restorer import Restorer

FOLDER = Path(__file__).parents[1] / "examples"


@pytest.fixture
def load(load_script: Callable[[Path], ModuleType]) -> Callable[[str], Any]:
    return lambda name: load_script(FOLDER / f"{name}.py")


# ---- torchvision


def test_boxes_and_masks_follow_the_picture(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    example = load("torchvision_pipeline")
    monkeypatch.setattr(example, "PHOTOS", {"rocket": -3.0})
    batch = example.batch_of(example.pipeline(v2.Identity()), workers=0)
    # (300, 60, 350, 340) in 640×427: mirrored, scaled by 256/427, and 63.5 less on the left in the square crop
    expected = np.array(
        [(640 - 350) * 256 / 427 - 63.5, 60 * 256 / 427, (640 - 300) * 256 / 427 - 63.5, 340 * 256 / 427]
    )
    np.testing.assert_allclose(batch["boxes"][0][0].numpy(), expected, atol=1.5)
    rows, columns = batch["masks"][0, 0].nonzero(as_tuple=True)
    mask = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(np.array(mask), expected, atol=1.5)
    assert batch["image"].shape == (1, 3, 256, 256)


def test_torchvision_example(
    load: Any, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    example = load("torchvision_pipeline")
    monkeypatch.setattr(example, "PHOTOS", {"coffee": -4.0})
    example.main(["-o", str(tmp_path), "--weights", str(weights), "--workers", "0"])
    words = capsys.readouterr().out.split()
    before, after = float(words[2]), float(words[4])
    assert after > 1.5 * before
    assert cv2.imread(str(tmp_path / "torchvision.jpg")).shape[1] == 2 * 264 + 8
    example.main(["-o", str(tmp_path), "--weights", str(weights), "--workers", "0", "--dark-below", "0"])
    words = capsys.readouterr().out.split()
    assert words[2] == words[4]  # none is that dark


# ---- kornia


def test_the_gain_is_learned_through_the_module(load: Any) -> None:
    example = load("kornia_pipeline")
    torch.manual_seed(0)
    restorer = Restorer(PRESETS["tiny"])
    restorer = Restorer(restorer.config.from_dict({**restorer.config.to_dict(), "context": 256}))
    lighten = LightenModule(restorer)
    dark = torch.rand(1, 3, 32, 48) * torch.tensor([0.3, 0.1, 0.05])[:, None, None]
    before = [p.clone() for p in lighten.parameters()]
    gain, losses = example.learn_gain(lighten, dark, steps=8)
    assert losses[-1] < 0.7 * losses[0]
    red, _, blue = gain.stops.flatten().tolist()
    assert red < 0 < blue  # towards grey
    assert all(torch.equal(old, new) for old, new in zip(before, lighten.parameters(), strict=True))


def test_kornia_example(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = load("kornia_pipeline")
    monkeypatch.setattr(example, "PHOTOS", {"coffee": -4.0})
    monkeypatch.setattr(example, "SIZE", (48, 64))
    example.main(["-o", str(tmp_path), "--steps", "1"])
    assert cv2.imread(str(tmp_path / "kornia.jpg")).shape[1] == 3 * 72 + 8


# ---- OpenCV


def test_a_video_and_a_picture(load: Any, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    example, clip, out = load("opencv_camera"), str(tmp_path / "clip.avi"), tmp_path / "out" / "clip.avi"
    writer = cv2.VideoWriter(clip, cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (64, 48))
    for level in (20, 30, 40):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    example.main([clip, "-o", str(out), "--weights", str(weights), "--height", "24"])
    assert capsys.readouterr().out.startswith("3 restored")
    found = list(example.frames(str(out)))
    assert [(frame.shape, rate) for frame, rate in found] == [((24, 32, 3), 12.0)] * 3
    means = [frame.mean() for frame, _ in found]
    assert means[0] > 40  # twice as bright as it came
    photo = tmp_path / "photo.png"
    bgra = np.random.default_rng(0).integers(0, 9000, (20, 30, 4), dtype=np.uint16)
    cv2.imwrite(str(photo), bgra)
    example.main([str(photo), "-o", str(tmp_path / "new.png"), "--weights", str(weights)])
    restored = cv2.imread(str(tmp_path / "new.png"), cv2.IMREAD_UNCHANGED)
    assert restored.dtype == np.uint16
    np.testing.assert_array_equal(restored[..., 3], bgra[..., 3])
    assert restored[..., :3].mean() > 1.5 * bgra[..., :3].mean()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.avi", "-o", "out.avi"], 1, "can't be opened as a video: none.avi"),
        (["none.png", "-o", "out.png"], 1, "can't be read as a picture: none.png"),
        (["a.png", "-o", "out.avi"], 2, "expected .bmp, .jpeg, .jpg, .png, .tif, .tiff, .webp, got out.avi"),
        (["a.avi", "-o", "out.avi", "--height", "1"], 2, "expected at least 2, got 1"),
    ],
)
def test_errors_of_one_line(
    arguments: list[str],
    code: int,
    message: str,
    load: Any,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        load("opencv_camera").main([*arguments, "--weights", str(weights)])
    assert stop.value.code == code
    assert message in capsys.readouterr().err.splitlines()[-1]


# ---- the classifier


@pytest.fixture
def classifier(load: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    example = load("classifier")
    monkeypatch.setattr(example, "PHOTOS", ("brick", "coffee"))
    monkeypatch.setattr(example, "STOPS", (-3.0,))
    monkeypatch.setattr(example, "STEPS", 25)
    return example


def test_patches_of_the_test_are_kept_out(classifier: Any) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (130, 200, 3), dtype=np.uint8)
    cut = classifier.blocks(picture)
    assert cut.shape == (6, 3, 64, 64)
    np.testing.assert_array_equal(cut[4], picture[64:128, 64:128].transpose(2, 0, 1))
    photos = [classifier.photo(name) for name in classifier.PHOTOS]  # 512×512 and 400×600: 64 and 54 blocks
    patches, labels = classifier.test_patches(photos)
    assert patches.shape == (4 * (16 + 13), 3, 32, 32)
    assert labels.bincount().tolist() == [64, 52]
    first = int(np.flatnonzero(classifier.is_test("brick"))[0])
    expected = classifier.blocks(photos[0])[first][:, :32, 32:] / 255
    np.testing.assert_allclose(patches[1].numpy(), expected, atol=1e-6)


def test_gain_restores_the_mean_of_the_light(classifier: Any) -> None:
    bright = classifier.photo("coffee")
    gain = classifier.with_light_of(classifier.darkened(bright, -3.0, seed=0), bright)
    means = [((picture / 255.0) ** classifier.GAMMA).mean() for picture in (gain, bright)]
    assert means[0] == pytest.approx(means[1], rel=0.01)


def test_accuracy_by_hand(classifier: Any) -> None:
    class Always(torch.nn.Module):
        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            return torch.tensor([0.0, 1.0]).expand(len(patches), 2)

    photos = [classifier.photo(name) for name in classifier.PHOTOS]
    assert classifier.accuracy([Always()], photos) == pytest.approx(52 / 116)
    assert classifier.most_frequent(classifier.test_patches(photos)[1]) == pytest.approx(64 / 116)


def test_classifier_example(classifier: Any, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    classifier.main(["-o", str(tmp_path), "--weights", str(weights), "--networks", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("% of 116 patches")
    assert float(lines[0].split("bright: ")[1].split(" ")[0]) > 90  # grey brick and red coffee are soon told apart
    head, _, row = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:5])
    assert head == ["stops", *classifier.TREATMENTS]
    assert row[0] == "-3"
    assert all(0 <= float(cell) <= 100 for cell in row[1:])
    assert float(row[2]) > 70  # brightened, colour still tells them apart
    assert cv2.imread(str(tmp_path / "classifier.jpg")).shape[1] == 5 * 168 + 8


# ---- DDIM


def test_ddim_example(load: Any, capsys: pytest.CaptureFixture) -> None:
    example = load("ddim")
    scheduler = example.DDIMScheduler(clip_sample=False, prediction_type="sample")
    # the perfect denoiser's samples have the distribution that the pictures were drawn from
    for eta in (0.0, 1.0):
        grey = example.sampled(example.Perfect(scheduler), scheduler, 50, eta).mean(dim=(1, 2, 3))
        assert grey.mean().item() == pytest.approx(0.2, abs=0.06)
        assert grey.std().item() == pytest.approx(0.3, abs=0.05)
    assert example.main(["--steps", "2"]) == 0
    assert capsys.readouterr().out.count("trained: grey") == 4


# ---- training.ipynb


def test_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = json.loads((FOLDER / "training.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    for number, cell in enumerate(cell for cell in cells if cell["cell_type"] == "code"):
        assert not cell["outputs"]
        exec(compile(cell["source"], f"cell {number}", "exec"), names)
    lines = [line for line in cells[1]["source"].splitlines() if line]
    assert len(lines) <= 10
    assert names["after"][0]["made/psnr"] > names["before"][0]["made/psnr"] + 0.5
    assert names["restored"].mean() > 1.5 * names["dark"].mean()


# ---- Ray


def test_ray_example(
    load: Any, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    ray = pytest.importorskip("ray", reason="pip install 'ray[data]'")
    pytest.importorskip("pyarrow")
    example = load("ray_data")
    ray.cloudpickle.register_pickle_by_value(example)  # the actors can't import it
    monkeypatch.setattr(example, "BLOCK", 3)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    dark = np.random.default_rng(0).integers(0, 40, (16, 24, 3), dtype=np.uint8)
    for name in ("a.png", "b.png", "sub/c.png", "sub/d.jpg", "e.png"):
        cv2.imwrite(str(tmp_path / "in" / name), dark)
    (tmp_path / "in" / "f.png").write_bytes(b"no picture")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        arguments = [str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--weights", str(weights), "--actors", "2"]
        assert example.main(arguments) == 1
        said = capsys.readouterr()
        assert "5 restored, 0 skipped, 1 failed" in said.out
        assert f"failed: {tmp_path / 'in' / 'f.png'}: not a" in said.err
        assert cv2.imread(str(tmp_path / "out" / "sub" / "c.png")).mean() > dark.mean()
        (tmp_path / "in" / "f.png").unlink()
        assert example.main(arguments) == 0
        assert "0 restored, 5 skipped, 0 failed" in capsys.readouterr().out
    finally:
        ray.shutdown()
