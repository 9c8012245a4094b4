"""What a training run tells, refuses and leaves behind, beside the losses and the exactness of test_training.py."""

from __future__ import annotations

import csv
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightendiff.cli.train import main
from lightendiff.data.augment import Augmentation, BatchAugment
from lightendiff.data.datamodule import LowLightData, WholePictures, collate
from lightendiff.data.datasets import SelfMade
from lightendiff.models.presets import PRESETS
from lightendiff.training import ContentTransfer, LatentDiffusion, PictureGrid
from lightendiff.training.base import RestorationTraining, check_precision
from lightendiff.training.callbacks import ramped
from lightendiff.training.losses import RetinexLoss, decomposition_figures
from lightendiff.weights.load import read_weights

ROOT = Path(__file__).parents[1]
PAPER = replace(  # small
    PRESETS["paper"],
    channels=(8, 8, 8),
    unet_channels=(8, 8),
    unet_norm_groups=4,
    retinex_width=8,
    unet_attention_levels=(),
)


def unpaired() -> LatentDiffusion:
    """The published method's second stage, small."""
    return LatentDiffusion("unpaired", network=PAPER)


def batch(count: int = 2, size: tuple[int, int] = (32, 32)) -> dict[str, Any]:
    source = SelfMade(count, size)
    source.load()
    return collate(list(source.pairs()))


def trainer(**options: Any) -> lightning.Trainer:
    return lightning.Trainer(
        **{
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "max_steps": 2,
            "num_sanity_val_steps": 0,
            **options,
        }
    )


def data(**options: Any) -> LowLightData:
    return LowLightData(
        **{"train": [SelfMade(4, (32, 32))], "crop": (32, 32), "batch_size": 2, "steps_per_epoch": 2, **options}
    )


# the decomposition


def test_muon_leaves_the_first_and_last_layers_of_the_decomposition_alone() -> None:
    restorer = LatentDiffusion(preset="default").restorer
    names = {name for name, _ in restorer.named_parameters()}
    ends = {name for name in restorer.first_and_last if "retinex" in name}
    assert len(ends) == 4
    assert ends <= names


def test_figures_of_a_decomposition() -> None:
    latent = torch.rand(2, 3, 4, 5)
    flat, steps = torch.full_like(latent, 0.5), torch.rand_like(latent)
    figures = decomposition_figures(
        [latent, flat], [(steps, 0.2 * torch.ones_like(latent)), (flat, 0.7 * torch.ones_like(latent))]
    )
    assert figures["latent_std"] == figures["reflectance_std"] == 0
    assert figures["illumination_gain"].item() == pytest.approx(0.5)
    figures = decomposition_figures([latent, latent], [(steps, steps), (steps, steps)])
    torch.testing.assert_close(figures["reflectance_std"], steps.std(dim=(2, 3)).mean())
    parts = [(steps, 0.7 * torch.ones_like(latent)), (steps, 0.2 * torch.ones_like(latent))]
    assert decomposition_figures([latent, latent], parts, -torch.ones(2))["illumination_gain"] == pytest.approx(0.5)


@pytest.mark.parametrize("stage", [ContentTransfer(preset="tiny"), unpaired()])
def test_the_decomposition_is_told_about(stage: RestorationTraining) -> None:
    stage.losses(stage.augment(batch(), stage.generator(0)), stage.generator(0))
    assert stage.figures.keys() == {"latent_std", "reflectance_std", "illumination_gain"}
    assert all(value.isfinite() and not value.requires_grad for value in stage.figures.values())


@pytest.mark.parametrize("part", ["reflectance", "illumination"])
def test_the_unpaired_regime_refuses_a_saturated_decomposition(part: str) -> None:
    stage = unpaired()
    getattr(stage.restorer.model.retinex, f"{part}_out")[1].bias.data.fill_(200.0)
    with pytest.raises(
        ValueError, match=rf"init_from: expected a decomposition with {part}_std of at least 0\.002, got 0"
    ):
        stage.losses(stage.augment(batch(), stage.generator(0)), stage.generator(0))


def test_retinex_losses_reach_the_encoder_from_a_step_on(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = RetinexLoss(shapes_latent_from=3)
    stage = ContentTransfer(preset="paper", retinex_loss=loss)
    given = stage.augment(batch(1, (64, 64)), stage.generator(0))
    for step, reached in ((2, False), (3, True)):
        monkeypatch.setattr(ContentTransfer, "global_step", step)
        stage.zero_grad()
        stage.losses(given, stage.generator(0))["retinex"].backward()
        assert (stage.restorer.model.encoder.stem[0].weight.grad is not None) == reached


def test_what_a_new_networks_latent_says_reaches_its_pictures() -> None:
    """At 0.0001, as with PyTorch's initialisation, training never finds it."""
    torch.manual_seed(0)
    model = ContentTransfer(preset="paper").restorer.model
    picture = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8), size=64, mode="bilinear")
    with torch.no_grad():
        latent, skips = model.encode(picture)
        image, other = model.decode(latent, skips), model.decode(torch.rand_like(latent), skips)
    assert latent.std(dim=(2, 3)).mean() > 0.02
    assert (image - other).std() > 0.02 * image.std()


def test_consistency_is_of_latents_within_0_and_1(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = unpaired()
    latent, condition = torch.rand(1, 3, 4, 4), torch.randn(1, 3, 4, 4)
    reflectance, illumination = stage.restorer.model.decompose(latent)
    monkeypatch.setattr(stage.restorer, "sample_latent", lambda *_, **__: torch.full_like(latent, 30.0))
    loss = stage.inconsistency(latent, condition, stage.generator(0))
    torch.testing.assert_close(loss, 0.001 * (1.0 - reflectance * illumination**0.2).mean())


# pictures


def test_nothing_turns_the_sky_where_nothing_is_upside_down() -> None:
    rows = torch.linspace(0, 255, 16).byte()[:, None].expand(3, 16, 16)[None].repeat(200, 1, 1, 1)
    given = {"dark": rows, "target": rows, "darken": torch.zeros(200, dtype=torch.bool), "mean": torch.ones(200)}
    given |= {"ignore_detail": torch.zeros(200, dtype=torch.bool), "names": [""] * 200}
    out = BatchAugment(augmentation=Augmentation(upside_down=0.0))(given, torch.Generator().manual_seed(0))
    torch.testing.assert_close(out["dark"], rows.float() / 255)


# averages


def test_a_short_run_exports_little_of_its_start() -> None:
    update, average = ramped(0.995), torch.ones(1)
    for count in range(100):
        average = update(average, torch.zeros(1), count)
    assert average.item() < 0.01  # 0.995^100 is 0.61
    assert update(torch.ones(1), torch.zeros(1), 10_000).item() == pytest.approx(0.995)


# own loaders, loggers, precision, seeds


def test_own_dataloaders(tmp_path: Path) -> None:
    pictures = SelfMade(4, (32, 32))
    pictures.load()
    loader = DataLoader(WholePictures(pictures), 1, collate_fn=collate)
    run = trainer(max_steps=4)  # an epoch of the loader
    run.fit(ContentTransfer(preset="tiny"), loader, loader)
    assert {"val0/psnr", "val0/ssim"} <= run.callback_metrics.keys()


class Pictures(lightning.pytorch.loggers.CSVLogger):
    shown: list[tuple[str, list[Tensor], int]]

    def log_image(self, key: str, images: list[Tensor], step: int) -> None:
        self.shown.append((key, images, step))


def test_any_logger_that_takes_pictures_gets_the_grid(tmp_path: Path) -> None:
    logger = Pictures(tmp_path)
    logger.shown = []
    grid = PictureGrid(str(tmp_path / "pictures"), count=1, height=20)
    trainer(logger=logger, callbacks=[grid], log_every_n_steps=1).fit(
        ContentTransfer(preset="tiny"), datamodule=data(val={"made": SelfMade(1, (32, 32))})
    )
    ((key, (image,), step),) = logger.shown
    assert (key, image.shape[0], step) == ("made/dark-restored-reference", 3, 2)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true", "16-true"])
def test_precisions_other_than_mixed_are_refused(precision: Any) -> None:
    with pytest.raises(ValueError, match=f"trainer.precision: expected '32-true', .*, got '{precision}'"):
        trainer(precision=precision).fit(ContentTransfer(preset="tiny"), datamodule=data())


@pytest.mark.parametrize("native", [True, False])
def test_emulated_bfloat16_is_warned_of(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightendiff.training.base.has_native_bfloat16", lambda device: native)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_precision("bf16-mixed", torch.device("cpu"))
    assert bool(caught) is not native


def test_seed_everything_reaches_data_and_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    assert (data().seed, ContentTransfer(preset="tiny").seed) == (7, 7)
    assert (data(seed=0).seed, ContentTransfer(preset="tiny", seed=1).seed) == (0, 1)


@pytest.mark.parametrize(
    "change", [{"crop": (64, 32)}, {"train": [SelfMade(4, (32, 32)), SelfMade(4, weight=0.5)]}, {"seed": 3}]
)
def test_resuming_with_other_data_is_told(change: dict[str, Any]) -> None:
    stored = data(train=[SelfMade(4, (32, 32)), SelfMade(4)], seed=0).train_dataloader().state_dict()
    loader = data(**{"train": [SelfMade(4, (32, 32)), SelfMade(4)], "seed": 0, **change}).train_dataloader()
    with pytest.warns(UserWarning, match="other samples follow"):
        loader.load_state_dict(stored)


def test_resuming_with_another_seed_of_the_model_is_told(tmp_path: Path) -> None:
    run = trainer()
    run.fit(ContentTransfer(preset="tiny", seed=1), datamodule=data())
    run.save_checkpoint(tmp_path / "one.ckpt")
    with pytest.warns(UserWarning, match="resumed with model seed 2 where the checkpoint has 1"):
        trainer(max_steps=3).fit(
            ContentTransfer(preset="tiny", seed=2), datamodule=data(), ckpt_path=tmp_path / "one.ckpt"
        )


@pytest.mark.parametrize("network", [None, replace(PRESETS["tiny"], channels=(8, 8, 8, 8))])
@pytest.mark.parametrize("stage", [ContentTransfer, LatentDiffusion])
def test_checkpoints_load_whatever_the_architecture(stage: Any, network: Any, tmp_path: Path) -> None:
    module, run = stage(preset="tiny", network=network, num_inference_steps=3), trainer()
    run.fit(module, datamodule=data())
    run.save_checkpoint(tmp_path / "one.ckpt")
    loaded = stage.load_from_checkpoint(tmp_path / "one.ckpt")
    assert loaded.restorer.config == module.restorer.config
    for name, tensor in module.restorer.state_dict().items():
        assert torch.equal(loaded.restorer.state_dict()[name], tensor)
    if network is not None:  # which nothing beside the checkpoint tells
        converted = read_weights(tmp_path / "one.ckpt").restorer
        assert converted.config == module.restorer.config
        assert all(torch.equal(converted.state_dict()[n], t) for n, t in module.restorer.state_dict().items())


def test_an_architecture_of_ones_own_on_the_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    network = PRESETS["tiny"].to_dict() | {"channels": [8, 8, 8, 8]}
    options = ["--model.init_args.network", json.dumps(network)]
    cli = main(["--config", str(ROOT / "configs" / "smoke_stage1.yaml"), *options], run=False)
    assert cli.model.restorer.config.channels == (8, 8, 8, 8)


# the command line


def test_the_console_shows_steps_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--data.batch_size=2", "--data.crop=[32,32]", "--data.steps_per_epoch=2", "--trainer.max_steps=4"]
    main(["fit", "--config", str(ROOT / "configs" / "smoke_stage1.yaml"), *options, "--trainer.logger=false"])
    shown = "".join(capfd.readouterr())
    assert "step 0: made psnr " in shown
    assert "step 4: made psnr " in shown
    assert " 4/4 " in shown
    assert "-2" not in shown
    assert "lr-" not in shown


def logged(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_figures_begin_at_step_0_and_any_logger_takes_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--data.batch_size=2", "--data.crop=[32,32]", "--data.steps_per_epoch=2", "--trainer.max_steps=2"]
    options += ["--trainer.logger", "lightning.pytorch.loggers.CSVLogger", "--trainer.logger.save_dir=elsewhere"]
    main(["fit", "--config", str(ROOT / "configs" / "smoke_stage1.yaml"), *options])
    rows = logged(tmp_path / "elsewhere" / "lightning_logs" / "version_0")
    assert [row["step"] for row in rows if row["made/psnr"]] == ["0", "1"]  # after step 1
    assert not (tmp_path / "runs" / "smoke_stage1" / "version_0").exists()


@pytest.mark.parametrize("command", ["test", "predict"])
def test_commands_that_do_nothing_here_are_refused(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main([command, "--config", str(ROOT / "configs" / "smoke_stage1.yaml")])
    assert command in capsys.readouterr().err.splitlines()[-1]
