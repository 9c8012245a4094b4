"""Both stages on the real configurations, shrunk by overrides, on pictures that they make themselves."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch.cli import LightningCLI
from torch import Tensor, distributed

from lightendiff import colour
from lightendiff.data.augment import BatchAugment
from lightendiff.data.datamodule import collate
from lightendiff.data.datasets import SelfMade
from lightendiff.diffusion.scheduler import DDIMScheduler
from lightendiff.evaluation.metrics import brightness_matched, psnr, ssim
from lightendiff.models.presets import PRESETS
from lightendiff.pipeline import SHIPPED_WEIGHTS
from lightendiff.training import ContentTransfer, LatentDiffusion
from lightendiff.training.base import RestorationTraining
from lightendiff.training.content_transfer import Reexposure
from lightendiff.training.losses import ConsistencyLoss
from lightendiff.weights.load import load_restorer

ROOT = Path(__file__).parents[1]
PAPER = replace(  # small
    PRESETS["paper"],
    channels=(8, 8, 8),
    unet_channels=(8, 8),
    unet_norm_groups=4,
    retinex_width=8,
    unet_attention_levels=(),
)
SMALL = ["--data.batch_size=2", "--data.crop=[32,32]", "--trainer.enable_progress_bar=false"]


@pytest.fixture(scope="module")
def train(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(ROOT / "train.py")


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


def config(name: str) -> str:
    return str(ROOT / "configs" / f"{name}.yaml")


@pytest.fixture(scope="module")
def smoke(train: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which both stages of smoke have run."""
    folder = tmp_path_factory.mktemp("smoke")
    with inside(folder):
        for stage in (1, 2):
            train.main(["fit", "--config", config(f"smoke_stage{stage}")])
    return folder / "runs"


def rows(run: Path) -> list[dict[str, float]]:
    """What was logged, without empty fields."""
    with open(run / "version_0" / "metrics.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def batch(size: tuple[int, int] = (32, 32), number: int = 0) -> dict[str, Any]:
    source = SelfMade(2, size)
    source.load()
    return collate([replace(pair, number=number) for pair in source.pairs()])


def paint(path: Path, size: tuple[int, int], brightness: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path))).uniform(0, 2 * brightness, (*size, 3))
    cv2.imwrite(str(path), noise.clip(0, 255).astype(np.uint8))


# the smoke configurations, whole


def test_losses_of_both_phases_are_logged_and_finite(smoke: Path) -> None:
    first, second = rows(smoke / "smoke_stage1"), rows(smoke / "smoke_stage2")
    assert all(math.isfinite(value) for row in first + second for value in row.values())
    assert [row["step"] for row in first if "train/content" in row] == [9, 19, 29, 39, 49, 59]
    assert all("train/retinex" in row for row in first if "train/content" in row)
    assert [row["step"] for row in second if "train/diffusion" in row] == [9, 19, 29]
    joint = [row for row in second if "train/transfer" in row or {"train/image", "train/latent"} <= row.keys()]
    assert [row["step"] for row in joint] == [39, 49, 59]


def test_learning_rate_warms_up_and_decays(smoke: Path) -> None:
    logged = {int(row["step"]): row["lr-Muon/pg1"] for row in rows(smoke / "smoke_stage1") if "lr-Muon/pg1" in row}
    expected = {9: 2e-3}
    for step in (19, 29, 39, 49, 59):
        expected[step] = 1e-6 + (2e-3 - 1e-6) * (1 + math.cos(math.pi * (step - 10) / 50)) / 2
    assert logged == pytest.approx(expected)


@pytest.mark.parametrize("stage", [1, 2])
def test_exported_weights_reach_the_figures_that_were_logged(smoke: Path, stage: int) -> None:
    restorer = load_restorer(smoke / f"smoke_stage{stage}" / "export")
    generator = RestorationTraining(preset="tiny").generator
    pictures = SelfMade(4, (72, 100), seed=2)  # as in the configuration
    pictures.load()
    values = []
    for index, pair in enumerate(pictures.pairs()):
        dark, reference = (torch.from_numpy(p.copy())[None] / 255.0 for p in (pair.dark, pair.target))
        with torch.inference_mode():
            one, two = restorer.transfer(dark, reference), restorer(dark, generator=generator(index))
        restored = one if stage == 1 else two
        matched = brightness_matched(restored, reference)
        values.append([psnr(restored, reference), ssim(restored, reference), psnr(matched, reference)])
    logged = [row for row in rows(smoke / f"smoke_stage{stage}") if "made/psnr" in row][-1]
    assert logged["step"] == 59
    means = torch.tensor(values).mean(dim=0).tolist()
    assert [logged["made/psnr"], logged["made/psnr_matched"]] == pytest.approx([means[0], means[2]], abs=0.005)
    assert logged["made/ssim"] == pytest.approx(means[1], abs=1e-4)


def test_second_stage_keeps_the_space_of_latents(smoke: Path) -> None:
    before, after = (load_restorer(smoke / f"smoke_stage{stage}" / "export").state_dict() for stage in (1, 2))
    # averaging rounds: 0.1·x + 0.9·x may miss x by a bit
    changed = {name for name in before if not torch.allclose(before[name], after[name], rtol=1e-5, atol=1e-8)}
    assert not any(name.startswith("model.retinex.") for name in changed)
    for part in ("model.encoder.levels", "model.encoder.to_condition", "model.decoder.head", "unet"):
        assert any(name.startswith(part) for name in changed), part


def test_picture_grids_and_logs_are_written(smoke: Path) -> None:
    for stage in (1, 2):
        run = smoke / f"smoke_stage{stage}"
        grid = cv2.imread(str(run / "pictures" / "made.jpg"))
        # four rows of dark | restored | reference, 200 pixels high, with two pixels between and around
        assert grid.shape == (4 * 202 + 2, 3 * (round(100 * 200 / 72) + 2) + 2, 3)
        dark, restored, reference = (part.mean() for part in np.array_split(grid, 3, axis=1))
        assert dark < restored
        assert dark < reference
        assert list(run.glob("events.out.tfevents.*"))
        assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_steps"] == 60


# single losses


def unpaired() -> LatentDiffusion:
    """The published method's second stage, small."""
    return LatentDiffusion("unpaired", network=PAPER)


def stages() -> dict[str, RestorationTraining]:
    return {
        "transfer": ContentTransfer(preset="tiny"),
        "diffusion": LatentDiffusion(preset="tiny"),
        "joint": LatentDiffusion(preset="tiny", joint_from_step=0),
        "unpaired": unpaired(),
    }


@pytest.mark.parametrize("name", ["transfer", "diffusion", "joint", "unpaired"])
def test_a_single_batch_is_learned(name: str) -> None:
    torch.manual_seed(0)
    module = stages()[name]
    data = module.augment(batch(), module.generator(0))
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], 3e-3)
    values = []
    for _ in range(25):
        loss = torch.stack(list(module.losses(data, module.generator(1)).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.7 * values[0]


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_diffusion_loss_knows_what_is_predicted(prediction: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = LatentDiffusion(preset="tiny")
    module.restorer.scheduler = DDIMScheduler(prediction_type=prediction)
    latent = torch.rand(3, 3, 4, 4)
    x0, noise = 2 * latent - 1, torch.randn(latent.shape, generator=module.generator(7))

    def perfect(x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        alpha = module.restorer.scheduler.alphas_cumprod[t].float().sqrt()[:, None, None, None]
        sigma = (1 - alpha**2).sqrt()
        torch.testing.assert_close(x_t, alpha * x0 + sigma * noise)
        return {"epsilon": noise, "sample": x0, "v_prediction": alpha * noise - sigma * x0}[prediction]

    monkeypatch.setattr(module.restorer, "predict", perfect)
    assert module.diffusion_loss(latent, latent, module.generator(7)).item() == pytest.approx(0.0, abs=1e-10)
    monkeypatch.setattr(module.restorer, "predict", lambda *inputs: perfect(*inputs) + 0.5)
    assert module.diffusion_loss(latent, latent, module.generator(7)).item() == pytest.approx(0.25)


def test_roll_outs_draw_timesteps_and_reach_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module = LatentDiffusion(preset="tiny", joint_from_step=0, rollout_steps=[1, 3])
    torch.nn.init.normal_(module.restorer.unet.conv_out.weight, std=0.1)  # not 0, as at first, which stops gradients
    data = module.augment(batch(), module.generator(0))
    drawn: list[list[int]] = []
    predict = module.restorer.predict

    def record(x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        assert torch.equal(t, t[:1].expand(2))
        drawn[-1].append(int(t[0]))
        return predict(x, t, condition)

    monkeypatch.setattr(module.restorer, "predict", record)
    for key in range(12):
        drawn.append([])
        losses = module.losses(data, module.generator(key))
    assert {len(steps) for steps in drawn} == {1, 3}
    assert all(steps[0] == 999 and steps == sorted(set(steps), reverse=True) and steps[-1] >= 0 for steps in drawn)
    assert len({tuple(steps) for steps in drawn if len(steps) == 3}) > 2

    losses["latent"].backward(retain_graph=True)  # flows through the sampler only
    gradients = {name: p.grad for name, p in module.restorer.named_parameters() if p.grad is not None}
    for part in ("unet.", "model.encoder.to_condition"):
        assert any(name.startswith(part) and gradient.abs().max() > 0 for name, gradient in gradients.items()), part
    assert all(name.startswith(("unet.", "model.encoder.to_condition")) for name in gradients)
    losses["image"].backward()
    gradients = {name: p.grad for name, p in module.restorer.named_parameters() if p.grad is not None}
    for part in ("model.encoder.stem", "model.encoder.levels", "model.decoder.levels", "model.decoder.modulation"):
        assert any(name.startswith(part) and gradient.abs().max() > 0 for name, gradient in gradients.items()), part
    assert not any(name.startswith("model.retinex") for name in gradients)


def test_only_the_last_step_of_a_roll_out_carries_a_gradient() -> None:
    torch.manual_seed(0)
    module = LatentDiffusion(preset="tiny", joint_from_step=0, rollout_steps=[3])
    data = module.augment(batch(), module.generator(0))
    for precision in (torch.float32, torch.bfloat16):
        module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            losses = module.losses(data, module.generator(1))
        losses["latent"].backward()
        # weights that autocast converted for the earlier steps are not taken for the last one
        assert all(p.grad is not None for p in module.restorer.unet.parameters())


def test_a_window_shows_the_same_place_of_pictures_and_latents() -> None:
    module = LatentDiffusion(preset="tiny", joint_from_step=0, detail=(32, 64))
    latent = torch.rand(2, 3, 12, 16)
    picture = latent.repeat_interleave(8, 2).repeat_interleave(8, 3)
    places = set()
    for key in range(20):
        dark, target, thumbnail = module.cut_window(picture, 1 - picture, latent, module.generator(key))
        assert dark.shape == target.shape == (2, 3, 32, 64)
        assert torch.equal(dark, thumbnail.repeat_interleave(8, 2).repeat_interleave(8, 3))
        assert torch.equal(target, 1 - dark)
        places.add(float(thumbnail[0, 0, 0, 0]))
    assert len(places) == 3 * 3  # every 32 pixels
    whole = LatentDiffusion(preset="tiny").cut_window(picture, picture, latent, module.generator(0))
    assert whole == (picture, picture, latent)


def test_only_some_pictures_of_a_batch_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    module = LatentDiffusion(preset="tiny", joint_from_step=0, detail_count=1)
    data = module.augment(batch(), module.generator(0))
    sampled, decoded = [], []
    predict, decode = module.restorer.predict, module.restorer.decode
    monkeypatch.setattr(module.restorer, "predict", lambda x, t, c: sampled.append(len(x)) or predict(x, t, c))
    monkeypatch.setattr(module.restorer, "decode", lambda z, skips: decoded.append(len(z)) or decode(z, skips))
    assert module.losses(data, module.generator(0)).keys() == {"latent", "image"}
    assert set(sampled) == {2}
    assert decoded == [1]


def test_pictures_of_tones_only_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    module = LatentDiffusion(preset="tiny", joint_from_step=0)
    data = module.augment(batch(), module.generator(0))
    decoded = []
    cut = module.cut_window
    monkeypatch.setattr(module, "cut_window", lambda dark, *rest: decoded.append(dark) or cut(dark, *rest))
    data["ignore_detail"] = torch.tensor([True, False])
    assert module.losses(data, module.generator(0)).keys() == {"latent", "image"}
    torch.testing.assert_close(decoded[0], data["dark"][1:])
    data["ignore_detail"] = torch.tensor([True, True])
    assert module.losses(data, module.generator(0)).keys() == {"latent"}


def test_pictures_are_compared_in_the_dark_ones_colours() -> None:
    compared = []

    def keep(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        compared.append((image.detach(), target))
        return image.mean()

    module = LatentDiffusion(preset="tiny", joint_from_step=0, reexpose_probability=0.0, image_loss=keep)
    data = module.augment(batch(), module.generator(0))
    data["dark"] = torch.tensor([0.4, 0.3, 0.2]).view(1, 3, 1, 1).expand_as(data["dark"])
    data["target"] = torch.tensor([0.4, 0.6, 0.7]).view(1, 3, 1, 1).expand_as(data["target"])
    module.losses(data, module.generator(0))
    dark = (colour.to_linear(data["dark"])).mean((0, 2, 3))
    for picture in compared[0]:
        light = colour.to_linear(picture).mean((0, 2, 3))
        torch.testing.assert_close(light / light.sum(), dark / dark.sum(), rtol=0.03, atol=0.0)


def test_the_unet_alone_can_be_tuned_on_its_trajectories() -> None:
    module = LatentDiffusion(preset="tiny", joint_from_step=0, detail_count=0)
    losses = module.losses(module.augment(batch(), module.generator(0)), module.generator(0))
    assert losses.keys() == {"latent"}
    losses["latent"].backward()
    trained = {name for name, p in module.restorer.named_parameters() if p.grad is not None}
    assert {name.split(".")[0] for name in trained} == {"unet", "model"}
    assert not any("decoder" in name or "levels" in name for name in trained)


def test_frozen_phase_trains_only_the_diffusion_model() -> None:
    module = LatentDiffusion(preset="tiny", joint_from_step=5)
    losses = module.losses(module.augment(batch(), module.generator(0)), module.generator(1))
    assert losses.keys() == {"diffusion"}
    losses["diffusion"].backward()
    trained = {name for name, p in module.restorer.named_parameters() if p.grad is not None}
    assert trained == {name for name, _ in module.restorer.named_parameters() if name.startswith("unet.")} | {
        f"model.encoder.to_condition.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")
    }


def test_consistency_loss_by_hand() -> None:
    torch.manual_seed(0)
    few = replace(PAPER, scheduler=PRESETS["tiny"].scheduler)
    module = LatentDiffusion("unpaired", network=few, consistency_loss=ConsistencyLoss(0.25), num_inference_steps=1)
    latent, condition = torch.rand(2, 3, 4, 8), torch.randn(2, 3, 4, 8)
    loss = module.inconsistency(latent, condition, module.generator(3))
    reflectance, illumination = module.restorer.model.decompose(latent)
    noise = torch.randn(latent.shape, generator=module.generator(3))
    # at zero terminal SNR, the single step's result is the x₀ that the network predicts from pure noise
    x0 = module.restorer.unet(noise, torch.tensor([999, 999]), condition)
    expected = 0.25 * (((x0 + 1) / 2).clamp(0, 1) - reflectance * illumination.pow(0.2)).abs().mean()
    torch.testing.assert_close(loss, expected.detach(), check_stride=False)
    loss.backward()
    assert all(p.grad is None for p in module.restorer.model.parameters())
    assert any(p.grad.abs().max() > 0 for p in module.restorer.unet.parameters())


def test_unpaired_regime_puts_the_dark_reflectance_under_the_other_illumination() -> None:
    torch.manual_seed(0)
    module = unpaired()
    data = module.augment(batch(), module.generator(0))
    model = module.restorer.model
    latent = model.latent(data["dark"])
    expected = model.decompose(latent)[0] * model.decompose(model.latent(data["target"]))[1]
    torch.testing.assert_close(module.target_latent(latent, data["target"]), expected)
    assert module.losses(data, module.generator(0)).keys() == {"diffusion", "consistency"}
    assert not any(p.requires_grad for p in model.decoder.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "huge"}, r"preset: expected one of \['default', 'paper', 'tiny'\], got 'huge'"),
        ({"preset": "tiny", "regime": "half"}, "regime: expected 'paired' or 'unpaired', got 'half'"),
        ({"preset": "tiny", "detail_count": -1}, "detail_count: expected at least 0 or null, got -1"),
        ({"preset": "tiny", "detail": (48, 64)}, r"detail: expected multiples of 32, got \(48, 64\)"),
        ({"network": PAPER, "regime": "unpaired", "joint_from_step": 5}, "joint_from_step: image losses need pairs"),
    ],
)
def test_settings_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LatentDiffusion(**options)


def test_randomness_depends_on_the_seed_and_the_number_of_the_sample() -> None:
    one, same, other = (LatentDiffusion(preset="tiny", seed=seed) for seed in (1, 1, 2))

    def draw(module: LatentDiffusion, number: int) -> list[float]:
        return torch.rand(4, generator=module.generator(number)).tolist()

    assert draw(one, 5) == draw(same, 5) != draw(one, 6)
    assert draw(one, 5) != draw(other, 5)


def test_reexposure() -> None:
    image = torch.rand(64, 3, 6, 5, generator=torch.Generator().manual_seed(0))

    def exposed(probability: float, seed: int = 0) -> Tensor:
        return Reexposure.draw(len(image), probability, torch.Generator().manual_seed(seed))(image)

    assert torch.equal(exposed(0.0), image)
    everything = exposed(1.0)
    assert torch.equal(everything, exposed(1.0))
    assert 0 <= everything.min() < everything.max() <= 1
    changed = (everything != image).flatten(1).any(dim=1)
    assert changed.all()
    stops = torch.log2(everything.mean(dim=(1, 2, 3)) / image.mean(dim=(1, 2, 3)))
    assert stops.min() < -1.5
    assert stops.max() > 0.5
    # which of two pixels is the brighter stays as it was, in each channel
    order = [x.flatten(2).argsort(dim=2) for x in (image, everything)]
    assert torch.equal(*order)
    half = (exposed(0.5) != image).flatten(1).any(dim=1).sum()
    assert 20 < half < 44


# runs


def fit(train: ModuleType, folder: Path, name: str, *arguments: str) -> LightningCLI:
    with inside(folder):
        return train.main(["fit", "--config", name if name.endswith(".yaml") else config(name), *SMALL, *arguments])


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.fixture(scope="module")
def short(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments of a short stage 2 that becomes joint within its first epoch of 4 and saves every step."""
    content = yaml.safe_load(Path(config("smoke_stage2")).read_text())
    (checkpoint,) = (c for c in content["trainer"]["callbacks"] if c["class_path"].endswith("ModelCheckpoint"))
    checkpoint["init_args"]["every_n_train_steps"] = 1
    path = tmp_path_factory.mktemp("short") / "short.yaml"
    path.write_text(yaml.safe_dump(content))
    return [
        str(path),
        f"--model.init_args.init_from={smoke / 'smoke_stage1' / 'export'}",
        "--model.init_args.joint_from_step=3",
        "--model.init_args.warmup_steps=2",
        "--trainer.max_steps=8",
        "--data.steps_per_epoch=4",
    ]


@pytest.fixture(scope="module")
def uninterrupted(train: ModuleType, short: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    fit(train, folder, *short)
    return folder / "runs" / "smoke_stage2"


@pytest.mark.parametrize("step", [2, 6])  # within the first epoch, frozen; within the second one, joint
def test_resuming_is_exact(
    step: int,
    train: ModuleType,
    short: list[str],
    uninterrupted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def power_cut(module: LatentDiffusion, *arguments: Any) -> dict[str, Tensor]:
        if module.global_step == step:
            raise RuntimeError("power cut")
        return losses(module, *arguments)

    losses = LatentDiffusion.losses
    with monkeypatch.context() as patch:
        patch.setattr(LatentDiffusion, "losses", power_cut)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(train, tmp_path, *short)
    last = tmp_path / "runs" / "smoke_stage2" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == step
    fit(train, tmp_path, *short, f"--ckpt_path={last}")
    resumed, whole = (torch.load(path / "last.ckpt", weights_only=True) for path in (last.parent, uninterrupted))
    assert whole["global_step"] == 8
    for part in (
        "global_step",
        "epoch",
        "state_dict",  # the averaged weights
        "current_model_state",
        "averaging_state",
        "optimizer_states",
        "lr_schedulers",
    ):
        assert same(resumed[part], whole[part]), part
    exports = [path / "export" / "model.safetensors" for path in (last.parent, uninterrupted)]
    assert exports[0].read_bytes() == exports[1].read_bytes()
    figures = [[row for row in rows(uninterrupted) if "made/psnr" in row][-1]]
    with open(last.parent / "version_1" / "metrics.csv", newline="") as file:
        figures.append([row for row in csv.DictReader(file) if row["made/psnr"]][-1])
    assert all(float(figures[1][key]) == value for key, value in figures[0].items())


RANKS = """
import torch
import train

if __name__ == "__main__":
    cli = train.main()
    states = {"weights": cli.model.state_dict(), "optimizer": cli.trainer.optimizers[0].state_dict()}
    torch.save(states, f"rank{cli.trainer.global_rank}.pt")
"""


@pytest.mark.skipif(not distributed.is_available() or not distributed.is_gloo_available(), reason="needs gloo")
def test_two_processes_are_one_with_accumulated_gradients(train: ModuleType, short: list[str], tmp_path: Path) -> None:
    (tmp_path / "ranks.py").write_text(RANKS)
    subprocess.run(
        [sys.executable, "ranks.py", "fit", "--config", *short, *SMALL, "--trainer.devices=2", "--trainer.max_steps=6"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=240,
        capture_output=True,
    )
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    assert same(first, second)
    # step s of rank r takes the samples that batch 2·s + r of a single process takes
    both = ["--trainer.accumulate_grad_batches=2", "--data.steps_per_epoch=8", "--trainer.max_steps=6"]
    alone = fit(train, tmp_path / "alone", *short, *both).model.state_dict()
    torch.testing.assert_close(first["weights"], alone, atol=1e-3, rtol=1e-3)  # Muon orthogonalises in bfloat16


def test_non_finite_losses_stop_the_run_and_name_the_files(
    train: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(2):
        paint(tmp_path / "dark" / f"{index}.png", (40, 40), 10)
        paint(tmp_path / "bright" / f"{index}.png", (40, 40), 100)
    source = {"dark_dir": str(tmp_path / "dark"), "target_dir": str(tmp_path / "bright")}
    pairs = [{"class_path": "lightendiff.data.datasets.PairedFolders", "init_args": source}]
    shown = []

    def spoil(module: BatchAugment, batch: dict[str, Any], generator: torch.Generator) -> dict[str, Any]:
        shown.append(batch["names"])
        augmented = forward(module, batch, generator)
        if len(shown) == 2:
            augmented["dark"][0, 0, 3, 4] = torch.nan
        return augmented

    forward = BatchAugment.forward
    monkeypatch.setattr(BatchAugment, "forward", spoil)
    with pytest.raises(FloatingPointError, match=r"^loss \{'content': nan.*\} at step 1; the batch was ") as error:
        fit(train, tmp_path, "smoke_stage1", f"--data.train={json.dumps(pairs)}", "--data.weights=null")
    assert str(error.value).endswith("the batch was " + ", ".join(shown[1]))
    assert "dark" in shown[1][0]
    assert ".png" in shown[1][0]


def test_crops_must_fit_the_network(train: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.crop: expected multiples of 32, got \(64, 72\)"):
        fit(train, tmp_path, "smoke_stage1", "--data.crop=[64,72]")


def test_a_run_does_not_replace_the_weights_that_it_starts_from(train: ModuleType, smoke: Path, tmp_path: Path) -> None:
    start = shutil.copytree(smoke / "smoke_stage1" / "export", tmp_path / "runs" / "smoke_stage2" / "export")
    with pytest.raises(ValueError, match=r"init_from: runs/smoke_stage2/export is where this run exports to"):
        fit(train, tmp_path, "smoke_stage2", "--model.init_args.init_from=runs/smoke_stage2/export")
    for file in (smoke / "smoke_stage1" / "export").iterdir():
        assert (start / file.name).read_bytes() == file.read_bytes()


def test_weights_of_another_architecture() -> None:
    with pytest.raises(ValueError, match=r"init_from: .*default isn't of the architecture of preset 'tiny'$"):
        LatentDiffusion(preset="tiny", init_from=str(SHIPPED_WEIGHTS))


def test_mixed_precision(train: ModuleType, smoke: Path, tmp_path: Path) -> None:
    cli = fit(
        train,
        tmp_path,
        "smoke_stage2",
        f"--model.init_args.init_from={smoke / 'smoke_stage1' / 'export'}",
        "--model.init_args.joint_from_step=2",
        "--trainer.precision=bf16-mixed",
        "--trainer.max_steps=4",
        "--data.steps_per_epoch=4",
        "--trainer.log_every_n_steps=1",
    )
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in cli.model.parameters())
    logged = rows(tmp_path / "runs" / "smoke_stage2")
    assert [row["step"] for row in logged if row.keys() & {"train/image", "train/transfer"}] == [2, 3]
    assert all(math.isfinite(value) for row in logged for value in row.values())
    assert [row for row in logged if "made/psnr" in row][-1]["made/psnr"] > 8  # the UNet has just begun


def test_without_validation_and_up_to_the_middle_of_an_epoch(train: ModuleType, tmp_path: Path) -> None:
    arguments = ["--data.val=null", "--trainer.max_steps=3", "--data.steps_per_epoch=2"]
    cli = fit(train, tmp_path, "smoke_stage1", *arguments)
    exported = load_restorer(tmp_path / "runs" / "smoke_stage1" / "export").state_dict()
    own = {n: t for n, t in cli.model.restorer.state_dict().items() if not n.startswith("model.retinex.")}
    assert same(dict(exported), own)  # after training, the module holds the average


def test_paper_recipe_on_brackets_and_unpaired_folders(train: ModuleType, tmp_path: Path) -> None:
    for scene in range(2):
        for exposure in (10, 40, 110):
            paint(tmp_path / "brackets" / f"scene{scene}" / f"{exposure}.png", (40, 48), exposure)
    for index in range(3):
        paint(tmp_path / "dark" / f"{index}.png", (40, 50), 15)
        paint(tmp_path / "normal" / f"other{index}.png", (60, 44), 110)
    path = "lightendiff.data.datasets."
    options = {"root": str(tmp_path / "brackets"), "target": "frames", "exclude": []}
    brackets = {"class_path": path + "Brackets", "init_args": options}
    folders = {"dark_dir": str(tmp_path / "dark"), "normal_dir": str(tmp_path / "normal")}
    unpaired = {"class_path": path + "UnpairedFolders", "init_args": folders}
    common = [
        "--trainer.accelerator=cpu",
        "--trainer.max_steps=2",
        "--trainer.log_every_n_steps=1",
        f"--model.init_args.network={json.dumps(PAPER.to_dict())}",
        "--data.crop=[64,64]",
        "--data.steps_per_epoch=2",
        "--data.num_workers=0",
        "--data.val_limits=null",
    ]
    first = [f"--data.train={json.dumps([brackets])}", f"--data.val={json.dumps({'frames': brackets})}"]
    fit(train, tmp_path, "paper_stage1", *common, *first)
    second = [f"--data.train={json.dumps([unpaired])}", first[1], "--model.init_args.num_inference_steps=3"]
    fit(train, tmp_path, "paper_stage2", *common, *second)
    logged = rows(tmp_path / "runs" / "paper_stage1") + rows(tmp_path / "runs" / "paper_stage2")
    names = {"train/content", "train/retinex", "train/diffusion", "train/consistency", "frames/psnr", "frames/ssim"}
    assert names <= {name for row in logged for name in row}
    assert all(math.isfinite(value) for row in logged for value in row.values())
    assert load_restorer(tmp_path / "runs" / "paper_stage2" / "export").config.num_inference_steps == 3
