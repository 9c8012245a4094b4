"""Every file in configs/ parses and builds, and says what it must; no picture or weight file is needed for that."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from lightendiff.pipeline import SHIPPED_WEIGHTS, LightenPipeline
from lightendiff.training import AveragedExport, ContentTransfer, LatentDiffusion, PictureGrid
from lightendiff.training.earlier import load_configuration
from lightendiff.training.losses import ConsistencyLoss, ImageLoss, LatentLoss

ROOT = Path(__file__).parents[1]
# folders of photos from elsewhere
OTHER_PHOTOS = ("data/published", "data/synthetic", "data/views", "data/pairs", "data/rooms", "data/night")
CONFIGS = {path.stem: path for path in sorted((ROOT / "configs").glob("*.yaml"))}
CONTENTS: dict[str, dict[str, Any]] = {name: yaml.safe_load(path.read_text()) for name, path in CONFIGS.items()}


@pytest.fixture(scope="module")
def train(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(ROOT / "train.py")


@pytest.fixture
def build(train: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Builds what a configuration describes, with further arguments, but not the weights that it starts from."""
    monkeypatch.chdir(tmp_path)

    def build(name: str, *arguments: str) -> LightningCLI:
        return train.main(["--config", str(CONFIGS[name]), "--model.init_args.init_from=null", *arguments], run=False)

    return build


def callbacks(name: str) -> dict[str, dict[str, Any]]:
    entries = CONTENTS[name]["trainer"]["callbacks"]
    return {entry["class_path"].split(".")[-1]: entry.get("init_args", {}) for entry in entries}


def test_the_promised_configurations_exist() -> None:
    assert CONFIGS.keys() >= {f"{name}_stage{stage}" for name in ("default", "paper", "smoke") for stage in (1, 2)}


@pytest.mark.parametrize("name", CONFIGS)
def test_builds(name: str, build: Any) -> None:
    cli = build(name)
    trainer, data = cli.trainer, cli.datamodule
    assert isinstance(cli.model, ContentTransfer if name.endswith("stage1") else LatentDiffusion)
    assert {AveragedExport, PictureGrid, ModelCheckpoint} <= {type(callback) for callback in trainer.callbacks}
    assert {type(logger) for logger in trainer.loggers} == {TensorBoardLogger, CSVLogger}
    assert trainer.gradient_clip_val > 0
    assert trainer.checkpoint_callback.save_last
    assert data.val_names or name == "finetune"  # whose pictures are the user's
    # the last weights are validated and stored, too
    assert trainer.max_steps % data.steps_per_epoch == 0
    assert trainer.max_steps % callbacks(name)["ModelCheckpoint"]["every_n_train_steps"] == 0
    assert sum(p.requires_grad for p in cli.model.parameters()) > 0


@pytest.mark.parametrize("name", CONFIGS)
def test_writes_into_a_folder_of_its_own(name: str) -> None:
    assert callbacks(name)["AveragedExport"]["folder"] == f"runs/{name}/export"
    assert callbacks(name)["PictureGrid"]["folder"] == f"runs/{name}/pictures"
    assert callbacks(name)["ModelCheckpoint"]["dirpath"] == f"runs/{name}"
    assert {entry["init_args"]["name"] for entry in CONTENTS[name]["trainer"]["logger"]} == {name}


@pytest.mark.parametrize("name", [name for name in CONFIGS if name[-1] > "1" and "stage" in name])
def test_later_stages_start_from_the_export_of_the_one_before(name: str) -> None:
    before = f"{name[:-1]}{int(name[-1]) - 1}"
    model = CONTENTS[name]["model"]["init_args"]
    assert model["init_from"] == callbacks(before)["AveragedExport"]["folder"]
    assert (
        model["preset"]
        == CONTENTS[before]["model"]["init_args"]["preset"]
        == name.split("_")[0].replace("smoke", "tiny")
    )


@pytest.mark.parametrize("name", [name for name in CONFIGS if name.startswith("default")])
def test_default_keeps_the_same_scenes_out_in_all_stages(name: str) -> None:
    def kept_out(data: dict[str, Any]) -> list[Any]:
        return [source["init_args"]["exclude"] for source in data["train"][:2]]

    data = CONTENTS[name]["data"]
    assert kept_out(data) == kept_out(CONTENTS["default_stage1"]["data"])
    pictures, scenes = kept_out(data)
    assert data["val"]["brackets_val"]["init_args"]["scenes"] == scenes
    for source in data["train"]:
        if source["init_args"].get("root") in OTHER_PHOTOS:
            continue  # see the next tests
        assert source["init_args"]["exclude"] == (scenes if "brackets" in str(source) else pictures)


def test_scenes_are_made_of_no_picture_that_is_kept_out() -> None:
    pictures, scenes = (source["init_args"]["exclude"] for source in CONTENTS["default_stage2"]["data"]["train"][:2])
    photos = (ROOT / "configs" / "night_photos.txt").read_text().split()
    assert len(photos) == 33
    assert not {Path(photo).parent.name for photo in photos} & set(scenes)
    training = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert training.count("synthetic brackets data/lol_v1") == 1
    assert training.count(f"--exclude {' '.join(pictures)}") == 2  # of the brackets and of the rooms
    assert " Museum1 " in training  # the same scene as scene067


def test_unpaired_pictures_are_of_different_scenes() -> None:
    """The list is of half of the scenes; what it doesn't name is bright."""
    stems = (ROOT / "configs" / "unpaired_dark.txt").read_text().split()
    assert len(set(stems)) == len(stems) == 238
    assert all(stem.isdigit() for stem in stems)
    model = CONTENTS["unpaired"]["model"]["init_args"]
    assert "init_from" not in model
    assert model["regime"] == "unpaired"


def listed(name: str) -> list[dict[str, str]]:
    """The rows of a table in docs/."""
    with open(ROOT / "docs" / f"{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_published_brackets_are_as_many_as_the_documents_say() -> None:
    rows = listed("published_brackets")
    assert len({row["scene"] for row in rows}) == len(rows) == 160
    assert len({row["repository"] for row in rows}) == 69
    assert all(len(row["frames"].split("; ")) > 1 for row in rows)


def test_panoramas_are_as_many_as_the_documents_say() -> None:
    rows = listed("panoramas")
    assert len({row["panorama"] for row in rows}) == len(rows) == 110
    assert len({row["repository"] for row in rows}) == 45
    assert all(row["file"].endswith(".hdr") for row in rows)


def test_paper_is_trained_as_published(build: Any) -> None:
    first, second = build("paper_stage1").model, build("paper_stage2").model
    assert (first.image_loss.ssim, first.retinex_loss.weight, first.retinex_loss.shapes_latent_from) == (0, 0.1, 300)
    assert first.reexpose_probability == 0
    assert (second.regime, second.consistency_loss.weight, second.joint_from_step) == ("unpaired", 0.001, None)
    assert second.restorer.config.num_inference_steps == 20
    assert second.learning_rate == second.final_learning_rate == 2e-5
    assert first.weight_decay == second.weight_decay == 0  # AdamW without decay is Adam
    assert first.augment.augmentation.upside_down == second.augment.augmentation.upside_down == 0
    for stage in (1, 2):
        data = CONTENTS[f"paper_stage{stage}"]["data"]
        assert (data["batch_size"], data["crop"]) == (12, [512, 512])
        assert callbacks(f"paper_stage{stage}")["AveragedExport"]["decay"] == 0.999


def test_fields_can_be_overridden(build: Any) -> None:
    cli = build("smoke_stage1", "--model.init_args.learning_rate=1e-5", "--data.batch_size=3", "--trainer.max_steps=7")
    assert (cli.model.learning_rate, cli.datamodule.batch_size, cli.trainer.max_steps) == (1e-5, 3, 7)
    assert cli.model.warmup_steps == 10  # all else stays


@pytest.mark.parametrize(
    ("where", "key"),
    [
        ([], "modle"),
        (["trainer"], "max_step"),
        (["trainer", "callbacks", 0, "init_args"], "foldr"),
        (["model", "init_args"], "image_los"),
        (["data"], "bath_size"),
        (["data", "train", 1, "init_args"], "cuont"),
    ],
)
def test_unknown_keys_are_errors(
    where: list[Any], key: str, train: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    content = yaml.safe_load(CONFIGS["smoke_stage1"].read_text())
    inner = content
    for part in where:
        inner = inner[part]
    inner[key] = 1
    (tmp_path / "typo.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(SystemExit) as exit_info:
        train.main(["fit", "--config", str(tmp_path / "typo.yaml")])
    assert exit_info.value.code != 0
    assert key in capsys.readouterr().err


EARLIER = """
trainer: {accelerator: cpu}
model:
  class_path: lightendiff.training.LatentDiffusion
  init_args:
    {preset: tiny, ssim_weight: 0.4, matched_weight: 0.2, latent_weight: 10.0, consistency_weight: 0.002}
data:
  weights: [0.7, 0.3]
  train:
    - class_path: lightendiff.data.datasets.SelfMade
    - {class_path: lightendiff.data.datasets.SelfMade, init_args: {seed: 1}}
"""


def test_fields_of_sources_have_their_names_of_now() -> None:
    source = {"class_path": "lightendiff.data.datasets.Brackets", "init_args": {"root": "x", "tones_only": True}}
    content = load_configuration(yaml.safe_dump({"fit": {"data": {"train": [source], "val": {"a": source}}}}))
    data = content["fit"]["data"]
    for entry in (data["train"][0], data["val"]["a"]):
        assert entry["init_args"] == {"root": "x", "ignore_detail": True}


def test_configurations_of_earlier_versions_mean_the_same(train: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "earlier.yaml").write_text(EARLIER)
    cli = train.main(["--config", str(tmp_path / "earlier.yaml")], run=False)
    assert cli.model.image_loss == ImageLoss(ssim=0.4, matched=0.2)
    assert (cli.model.latent_loss, cli.model.consistency_loss) == (LatentLoss(10.0), ConsistencyLoss(0.002))
    assert cli.datamodule.source.weights == [0.7, 0.3]
    first = EARLIER.replace("LatentDiffusion", "ContentTransfer")
    fields = "{preset: tiny, ssim_weight: 0, retinex_weight: 0.2, retinex_shapes_latent: true}"
    first = re.sub(r"\{preset.*\}", fields, first)
    (tmp_path / "earlier.yaml").write_text(first)
    model = train.main(["--config", str(tmp_path / "earlier.yaml")], run=False).model
    assert model.image_loss == ImageLoss(ssim=0, matched=0)
    assert (model.retinex_loss.weight, model.retinex_loss.shapes_latent_from) == (0.2, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("ssim_weight: 0.4", "ssim_weight: 0.4, image_loss: {ssim: 0.3}"),
            "ssim_weight: expected it as image_loss.ssim",
        ),
        (("init_args: {seed: 1}", "init_args: {seed: 1, weight: 2}"), "weights: expected null where the sources have"),
    ],
)
def test_what_moved_is_not_given_in_both_places(
    change: tuple[str, str], message: str, train: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "both.yaml").write_text(EARLIER.replace(*change))
    with pytest.raises((SystemExit, ValueError)) as stop:
        train.main(["--config", str(tmp_path / "both.yaml")], run=False)
    assert message in f"{stop.value}{capsys.readouterr().err}"


def test_finetuning_starts_from_the_shipped_weights() -> None:
    model = CONTENTS["finetune"]["model"]["init_args"]
    assert model["preset"] == "default"
    shipped = LightenPipeline.from_pretrained(SHIPPED_WEIGHTS, device="cpu").restorer.state_dict()
    start = LatentDiffusion(preset=model["preset"], init_from=model["init_from"]).restorer.state_dict()
    assert all(torch.equal(start[name], tensor) for name, tensor in shipped.items())


# What docs/training.md has the reader write, by the heading that it is under.
TRAINING = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
OWN = {
    section.split("\n")[0]: re.findall(r"```yaml\n(.*?)```", section, flags=re.DOTALL)
    for section in re.split(r"^##+ ", TRAINING, flags=re.MULTILINE)
}
OWN_SOURCES = {
    "Pairs": [["PairedFolders"], ["Published"]],
    "Exposure brackets": [["Brackets"], ["Brackets", "Brackets"]],
    "Bright photos only": [["Darkened", "WellLit"]],
    "Dark and bright, unpaired": [["UnpairedFolders"]],
    "Several at once": [["Brackets", "Darkened"]],
}


@pytest.mark.parametrize("heading", OWN_SOURCES)
def test_own_pictures_as_in_the_documents(heading: str, build: Any) -> None:
    assert len(OWN[heading]) == len(OWN_SOURCES[heading])
    for block, sources in zip(OWN[heading], OWN_SOURCES[heading], strict=True):
        Path("mine.yaml").write_text(block)
        cli = build("finetune", "--config", "mine.yaml")
        assert [type(source).__name__ for source in cli.datamodule.source.sources] == sources
        training, _, _ = block.partition("\n  val:")
        paths = re.findall(r"my/\w+", training)
        assert paths
        assert all(path in str([vars(source) for source in cli.datamodule.source.sources]) for path in paths)
        unpaired = "UnpairedFolders" in sources
        assert (cli.model.regime, cli.model.joint_from_step) == ("unpaired" if unpaired else "paired", 0)
