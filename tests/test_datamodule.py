from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import cv2
import lightning
import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import ModelCheckpoint

from lightendiff.data.datamodule import LowLightData, StepSampler, TrainingStream, crop_sample
from lightendiff.data.datasets import Brackets, Darkened, PairedFolders, SelfMade, WellLit
from lightendiff.data.pictures import Sample


def sample(dark: tuple[int, int], target: tuple[int, int] | None = None) -> Sample:
    """Each pixel holds its row in channel 0 and its column in channel 1."""

    def picture(size: tuple[int, int]) -> np.ndarray:
        rows, columns = np.mgrid[: size[0], : size[1]].astype(np.uint8)
        return np.stack([rows, columns, np.zeros_like(rows)])

    return Sample(picture(dark), picture(target or dark), 0.1, "x", paired=target is None)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def data(**options: Any) -> LowLightData:
    sources = [SelfMade(20, (24, 32)), SelfMade(20, (24, 32), seed=1, darken=True)]
    return LowLightData(**{"train": sources, "crop": (16, 16), "batch_size": 2, "steps_per_epoch": 4, **options})


def test_crop_cuts_one_window_from_both() -> None:
    tops, lefts = set(), set()
    for seed in range(100):
        crop = crop_sample(sample((6, 9)), (4, 5), rng(seed))
        np.testing.assert_array_equal(crop.dark, crop.target)
        top, left = crop.dark[:2, 0, 0]
        assert crop.dark[:2, -1, -1].tolist() == [top + 3, left + 4]
        assert crop.dark.flags["C_CONTIGUOUS"]
        tops.add(int(top))
        lefts.add(int(left))
    assert (tops, lefts) == ({0, 1, 2}, {0, 1, 2, 3, 4})


def test_crop_scale_takes_larger_windows() -> None:
    crop = crop_sample(sample((40, 40)), (10, 10), rng(), (2.0, 2.0))
    assert crop.dark.shape == (3, 10, 10)
    np.testing.assert_array_equal(np.diff(crop.dark[0].astype(int), axis=0), 2)  # every pixel is the mean of 2×2
    widths = [int(np.ptp(crop_sample(sample((40, 40)), (10, 10), rng(s), (1.0, 4.0)).dark[0])) for s in range(50)]
    assert min(widths) < 14
    assert max(widths) > 28


@pytest.mark.parametrize("size", [(5, 20), (20, 5), (3, 3)])
def test_small_pictures_are_enlarged_without_distortion(size: tuple[int, int]) -> None:
    crop = crop_sample(sample(size), (10, 10), rng(), (1.0, 3.0))
    assert crop.dark.shape == crop.target.shape == (3, 10, 10)
    shown = min(size)  # a square window, as large as fits
    assert np.ptp(crop.dark[0]) == np.ptp(crop.dark[1]) == shown - 1


def test_unpaired_pictures_get_windows_of_their_own() -> None:
    crops = [crop_sample(sample((20, 20), (30, 40)), (8, 8), rng(seed)) for seed in range(20)]
    assert all(crop.dark.shape == crop.target.shape == (3, 8, 8) for crop in crops)
    assert any((crop.dark != crop.target).any() for crop in crops)


def test_pairs_of_different_size_are_refused() -> None:
    odd = Sample(np.zeros((3, 8, 8), np.uint8), np.zeros((3, 8, 9), np.uint8), 0, "odd.png")
    with pytest.raises(ValueError, match=r"odd\.png: sizes differ, \(8, 8\) and \(8, 9\)"):
        crop_sample(odd, (4, 4), rng())


def test_stream_is_a_function_of_seed_and_number() -> None:
    source = SelfMade(20, (24, 32))
    source.load()
    one, same, other = (TrainingStream(source, (8, 8), seed=seed) for seed in (3, 3, 4))
    backwards = [same[n] for n in reversed(range(10))][::-1]
    for n in range(10):
        np.testing.assert_array_equal(one[n].dark, backwards[n].dark)
        assert one[n].number == n
    assert any(one[n].name != other[n].name for n in range(10))
    assert len({(one[n].name, one[n].dark.tobytes()) for n in range(30)}) > 25


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_the_numbers_of_each_step(world: int) -> None:
    start = 5
    numbers = np.array([list(StepSampler(4, 3, rank, world, lambda: start)) for rank in range(world)])
    steps = numbers.reshape(world, 3, 4).transpose(1, 0, 2).reshape(3, -1)
    expected = np.arange(start * 4 * world, (start + 3) * 4 * world).reshape(3, -1)
    np.testing.assert_array_equal(steps, expected)
    assert len(StepSampler(4, 3, 0, world)) == 12


@pytest.mark.parametrize("workers", [0, 2])
def test_batches(workers: int) -> None:
    module = data(num_workers=workers, weights=[1, 1])
    module.setup("fit")
    batches = list(module.train_dataloader())
    assert len(batches) == 4
    for step, batch in enumerate(batches):
        assert batch["dark"].shape == batch["target"].shape == (2, 3, 16, 16)
        assert batch["dark"].dtype == batch["target"].dtype == torch.uint8
        assert (batch["darken"].dtype, batch["darken"].shape) == (torch.bool, (2,))
        assert batch["mean"].dtype == torch.float32
        assert batch["number"] == 2 * step
        for i, name in enumerate(batch["names"]):
            assert batch["darken"][i] == name.startswith("self-made 1/")
            assert torch.equal(batch["dark"][i], batch["target"][i]) == bool(batch["darken"][i])


def test_validation_shows_whole_pictures_in_order() -> None:
    val = {"few": SelfMade(10, (24, 32), seed=5), "all": SelfMade(3, (9, 11), seed=6)}
    module = data(val=val, val_limits={"few": 4})
    module.setup("fit")
    assert module.val_names == ["few", "all"]
    few, whole = (list(loader) for loader in module.val_dataloader())
    assert [batch["names"] for batch in few] == [[f"self-made 5/{i}"] for i in (0, 2, 5, 7)]  # evenly over 10
    assert [batch["names"] for batch in whole] == [[f"self-made 6/{i}"] for i in range(3)]
    assert whole[0]["dark"].shape == (1, 3, 9, 11)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"steps_per_epoch": -1}, "steps_per_epoch: expected at least 1, got -1"),
        ({"crop": (0, 8)}, r"crop: expected a positive \(height, width\), got \(0, 8\)"),
        ({"scale": (2, 1)}, r"scale: expected 0 < min ≤ max, got \(2, 1\)"),
        ({"weights": [1]}, "weights: expected one entry for each of the 2 sources"),
        ({"val_limits": {"lol": 3}}, r"val_limits names sets that are not in val: \['lol'\]"),
        ({"val": {"v": Darkened("x")}}, "val: v has no dark pictures"),
    ],
)
def test_settings_are_checked(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data(**options)


def test_bad_files_are_found_at_setup(tmp_path: Path) -> None:
    for folder in ("dark", "bright"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "1.png"), np.zeros((4, 4, 3), np.uint8))
        (tmp_path / folder / "2.png").write_bytes(b"broken")
    module = data(val={"v": PairedFolders(tmp_path / "dark", tmp_path / "bright")})
    with pytest.raises(ValueError, match=r"2 of 4 pictures can't be read: .*dark.2\.png.*bright.2\.png"):
        module.setup("fit")


def test_validation_files_in_training_are_reported(tmp_path: Path) -> None:
    for name in ("dark", "bright"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "1.png"), np.zeros((4, 4, 3), np.uint8))
    val = PairedFolders(tmp_path / "dark", tmp_path / "bright")
    with pytest.warns(UserWarning, match="1 files of validation set 'v' are trained on"):
        data(train=[WellLit(str(tmp_path / "bright"))], val={"v": val}).setup("fit")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data(val={"v": val}).setup("fit")


class Recorder(lightning.LightningModule):
    """Keeps what it is shown; stops with an error in step `crash`."""

    def __init__(self, crash: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.crash = crash
        self.seen: list[tuple[int, list[str], int]] = []

    def training_step(self, batch: dict, index: int) -> torch.Tensor:
        if self.global_step == self.crash:
            raise RuntimeError("power cut")
        self.seen.append((batch["number"], batch["names"], int(batch["dark"].sum())))
        return self.weight.sum()

    def validation_step(self, batch: dict, index: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(module: Recorder, folder: Path, workers: int = 0, resume: Path | None = None, **every: Any) -> list:
    trainer = lightning.Trainer(
        max_steps=10,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ModelCheckpoint(folder, "{step}", save_top_k=-1, **every)],
    )
    val = {"v": SelfMade(2, (16, 16), seed=7)}
    trainer.fit(module, datamodule=data(num_workers=workers, val=val), ckpt_path=resume, weights_only=False)
    return module.seen


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("step", [3, 4, 7])  # within the first epoch of 4 steps, at its end, within the second
def test_resumed_run_sees_the_batches_of_an_uninterrupted_one(tmp_path: Path, step: int, workers: int) -> None:
    whole = fit(Recorder(), tmp_path / "whole", every_n_train_steps=1)
    assert [number for number, _, _ in whole] == list(range(0, 20, 2))
    resumed = fit(Recorder(), tmp_path / "resumed", workers, tmp_path / "whole" / f"step={step}.ckpt")
    assert resumed == whole[step:]


def test_resuming_after_a_crash(tmp_path: Path) -> None:
    whole = fit(Recorder(), tmp_path / "whole")
    crashed = Recorder(crash=6)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(crashed, tmp_path / "crashed", save_on_exception=True)
    checkpoint = tmp_path / "crashed" / "step=6.ckpt"
    assert crashed.seen + fit(Recorder(), tmp_path / "resumed", resume=checkpoint) == whole


def test_resuming_with_another_batch_size_warns() -> None:
    module = data()
    module.setup("fit")
    loader = module.train_dataloader()
    state = loader.state_dict()
    loader.load_state_dict(state)
    with pytest.warns(UserWarning, match="other samples follow"):
        loader.load_state_dict({**state, "batch_size": 99})


YAML = """
data:
  train:
    - class_path: lightendiff.data.datasets.Brackets
      init_args: {root: somewhere, exclude: [scene001], dark_mean: [5, 130]}
    - class_path: lightendiff.data.datasets.PairedFolders
      init_args: {dark_dir: low, target_dir: high, exclude: [12, "013"]}
    - class_path: lightendiff.data.datasets.WellLit
      init_args: {paths: [a, "b/*.jpg"]}
  weights: [1, 2, 0.5]
  crop: [32, 48]
  val:
    made: {class_path: lightendiff.data.datasets.SelfMade, init_args: {count: 2}}
"""


def test_configuration_from_yaml() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(LowLightData, "data")
    module = parser.instantiate_classes(parser.parse_string(YAML)).data
    brackets, pairs, lit = module.source.sources
    assert isinstance(brackets, Brackets)
    assert brackets.dark_mean == (5, 130)
    assert [str(stem) for stem in pairs.exclude] == ["12", "013"]
    assert lit.paths == ["a", "b/*.jpg"]
    assert module.stream.crop == (32, 48)
    assert module.val_names == ["made"]
