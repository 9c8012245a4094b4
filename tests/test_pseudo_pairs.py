"""Pseudo-pairs of dark and normal-light pictures, and the weights that they don't need."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lightendiff.data.augment import BatchAugment
from lightendiff.data.datamodule import LowLightData, collate
from lightendiff.data.datasets import PairedFolders, UnpairedFolders
from lightendiff.data.degradations import SensorModel
from lightendiff.data.pseudo_pairs import CONTRAST, log_tones, pseudo_dark
from lightendiff.models.presets import PRESETS
from lightendiff.restorer import Restorer
from lightendiff.training import ContentTransfer, LatentDiffusion
from lightendiff.weights.folder import save_restorer
from lightendiff.weights.load import load_restorer

QUIET = SensorModel(shot=(1e-12, 1e-12), read=(1e-9, 1e-9), rows=(0.0, 0.0), jpeg=0.0)


def picture(seed: int, bright: float, deviation: float, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    """Code values (h,w,3) whose linear light has about this mean and deviation of logs."""
    rng = np.random.default_rng(seed)
    logs = np.log(bright) + deviation * cv2.resize(rng.normal(0, 1, (8, 8, 3)), size[::-1])
    linear = np.exp(logs).clip(0, 1)
    codes = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (255 * codes).round().astype(np.uint8)


def tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    paths = {name: tmp_path / name for name in ("dark_dir", "normal_dir")}
    for (name, path), (bright, size) in zip(paths.items(), [(0.01, (64, 96)), (0.3, (72, 80))], strict=True):
        path.mkdir()
        for index in range(3):
            cv2.imwrite(str(path / f"{name}{index}.png"), picture(index, bright, 0.4, size)[..., ::-1])
    return paths


def data(source: Any, **options: Any) -> LowLightData:
    return LowLightData([source], **{"crop": (32, 32), "batch_size": 2, "steps_per_epoch": 2, **options})


def drawn(source: Any) -> dict[str, Any]:
    source.load()
    module = data(source)
    return collate([module.stream[number] for number in range(2)])


def test_log_tones_are_of_linear_light() -> None:
    pixels = np.full((4, 4, 3), 188, np.uint8)  # half of the light
    pixels[:2] = 137  # a quarter
    mean, deviation = log_tones(pixels)
    np.testing.assert_allclose(mean, np.log(0.5) - np.log(2) / 2, atol=0.01)
    np.testing.assert_allclose(deviation, np.log(2) / 2, atol=0.01)
    np.testing.assert_allclose(log_tones((pixels.astype(np.uint16)) * 257), [mean, deviation], atol=1e-5)


def test_a_pseudo_dark_picture_has_the_other_ones_tones() -> None:
    dark, normal = picture(0, 0.02, 0.4), picture(1, 0.3, 0.35)
    tones = torch.from_numpy(np.stack([log_tones(dark), log_tones(normal)]))[None]
    made = pseudo_dark(tensor(normal), tones, QUIET, torch.Generator().manual_seed(0))
    codes = made[0].permute(1, 2, 0).mul(255).round().byte().numpy()
    np.testing.assert_allclose(log_tones(codes), log_tones(dark), atol=0.03)


def test_contrast_stays_that_of_one_scene() -> None:
    even, normal = picture(0, 0.02, 0.01), picture(1, 0.3, 0.35)
    tones = torch.from_numpy(np.stack([log_tones(even), log_tones(normal)]))[None]
    made = pseudo_dark(tensor(normal), tones, QUIET, torch.Generator().manual_seed(0))
    deviation = log_tones(made[0].permute(1, 2, 0).mul(255).round().byte().numpy())[1]
    np.testing.assert_allclose(deviation, CONTRAST[0] * log_tones(normal)[1], rtol=0.1)


def test_pictures_of_different_scenes_become_pairs(folders: dict[str, Path]) -> None:
    batch = drawn(UnpairedFolders(**folders))
    assert batch["paired"].tolist() == [False, False]
    out = BatchAugment(QUIET, flips=False)(batch, torch.Generator().manual_seed(0))
    assert "paired" not in out
    torch.testing.assert_close(out["target"], batch["target"] / 255)
    ratio = out["dark"].flatten(1).mean(1) / out["target"].flatten(1).mean(1)
    assert (ratio < 0.35).all()
    stacked = torch.stack([out["dark"].flatten(1), out["target"].flatten(1)], 1)
    for pair in stacked:  # one scene
        assert torch.corrcoef(pair)[0, 1] > 0.9


def test_noise_is_the_sensors(folders: dict[str, Path]) -> None:
    batch = drawn(UnpairedFolders(**folders))

    def dark(sensor: SensorModel) -> Tensor:
        return BatchAugment(sensor, flips=False)(batch, torch.Generator().manual_seed(0))["dark"]

    noise = dark(replace(QUIET, read=(2e-3, 2e-3))) - dark(QUIET)
    assert noise.std() > 2 / 255


@pytest.mark.parametrize("options", [{}, {"joint_from_step": 0}])
def test_the_unpaired_regime_has_the_losses_of_pairs(options: dict[str, Any], folders: dict[str, Path]) -> None:
    module = LatentDiffusion("unpaired", preset="tiny", **options)
    batch = module.augment(drawn(UnpairedFolders(**folders)), module.generator(0))
    names = {"latent", "image"} if options else {"diffusion"}
    assert module.losses(batch, module.generator(0)).keys() == names


def test_stage_1_learns_from_pseudo_pairs(folders: dict[str, Path]) -> None:
    module = ContentTransfer(preset="tiny")
    batch = module.augment(drawn(UnpairedFolders(**folders)), module.generator(0))
    assert batch["dark"].mean() < 0.5 * batch["target"].mean()
    assert torch.isfinite(module.losses(batch, module.generator(0))["content"])


def test_pairs_may_be_among_them(folders: dict[str, Path], tmp_path: Path) -> None:
    for name in ("low", "high"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "1.png"), picture(5, 0.02 if name == "low" else 0.2, 0.3)[..., ::-1])
    pairs, unpaired = PairedFolders(tmp_path / "low", tmp_path / "high"), UnpairedFolders(**folders)
    pairs.load()
    unpaired.load()
    module = data(pairs)
    samples = [data(unpaired).stream[0], module.stream[1]]
    out = BatchAugment(QUIET, flips=False)(collate(samples), torch.Generator().manual_seed(0))
    torch.testing.assert_close(out["dark"][1], torch.from_numpy(samples[1].dark) / 255)


def test_the_paired_regime_refuses_them(folders: dict[str, Path]) -> None:
    module = LatentDiffusion(preset="tiny")
    batch = module.augment(drawn(UnpairedFolders(**folders)), module.generator(0))
    with pytest.raises(ValueError, match="regime: expected 'unpaired' for dark and normal-light pictures of different"):
        module.losses(batch, module.generator(0))


# what isn't shipped


def test_weights_are_stored_without_a_decomposition_that_nothing_asks_for(tmp_path: Path) -> None:
    restorer = Restorer(PRESETS["tiny"]).eval()
    save_restorer(restorer, tmp_path)
    stored, own = load_file(tmp_path / "model.safetensors"), restorer.state_dict()
    assert stored.keys() == {name for name in own if not name.startswith("model.retinex.")}
    assert all(torch.equal(own[name], tensor) for name, tensor in stored.items())
    assert json.loads((tmp_path / "config.json").read_text())["retinex_width"] == 0
    loaded = load_restorer(tmp_path)
    dark, noise = torch.rand(1, 3, 40, 48), torch.randn(restorer.noise_shape(torch.rand(1, 3, 40, 48)))
    with torch.no_grad():
        assert torch.equal(loaded(dark, noise=noise), restorer(dark, noise=noise))
    with pytest.raises(
        ValueError, match="decompose: expected a network with a decomposition, got one of retinex_width 0"
    ):
        loaded.model.decompose(torch.rand(1, 3, 4, 4))


def test_the_papers_decomposition_is_stored(tmp_path: Path) -> None:
    small = {"channels": (8, 8, 8), "unet_channels": (8, 8), "unet_norm_groups": 4, "retinex_width": 8}
    restorer = Restorer(replace(PRESETS["paper"], **small, unet_attention_levels=()))
    save_restorer(restorer, tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() == restorer.state_dict().keys()


@pytest.mark.parametrize("width", [0, 8])
def test_training_goes_on_from_weights_with_and_without(width: int, tmp_path: Path) -> None:
    save_restorer(Restorer(PRESETS["tiny"]), tmp_path)
    network = None if width else replace(PRESETS["tiny"], retinex_width=0)
    module = LatentDiffusion(preset="tiny", network=network, init_from=str(tmp_path))
    own = module.restorer.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in load_file(tmp_path / "model.safetensors").items())
