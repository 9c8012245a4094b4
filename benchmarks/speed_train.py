"""`speed.py train`: a training step of both stages with the settings of their configurations, on self-made pictures."""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from tempfile import TemporaryDirectory
from typing import Any

import torch
import yaml
from speed_timing import Size

from lightendiff.evaluation import measure as ev


class Watched:
    """A loader, and when each of its batches was asked for and was there."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.times: list[tuple[float, float]] = []

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        for _ in range(len(self)):
            asked = time.perf_counter()
            batch = next(batches)
            self.times.append((asked, time.perf_counter()))
            yield batch


def train(args: argparse.Namespace) -> int:
    def lines() -> Iterator[list[str]]:
        for path in args.configs:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            for phase, changes in training_phases(content, args.warmup + args.steps + 1):
                yield training_line(path.stem + phase, content, changes, args)

    head = ["configuration", "batch", "crop", "precision", "s/step, median", "s/step, mean", "waiting for data"]
    print(ev.markdown_table(head, lines()))
    return 0


def training_phases(content: Mapping[str, Any], steps: int) -> list[tuple[str, dict[str, Any]]]:
    """The phases of a configuration, each with the argument of the model that puts all of so many steps into it."""
    if content["model"]["init_args"].get("joint_from_step") is None:
        return [("", {})]
    return [(", before the joint phase", {"joint_from_step": steps}), (", joint phase", {"joint_from_step": 0})]


def training_line(
    label: str, content: Mapping[str, Any], changes: Mapping[str, Any], args: argparse.Namespace
) -> list[str]:
    """Train from new weights, with Lightning's Trainer and the averaging of weights, but without logs or validation."""
    from lightendiff import training
    from lightendiff.data.augment import Augmentation
    from lightendiff.data.datamodule import LowLightData
    from lightendiff.data.degradations import SensorModel
    from lightendiff.training import losses

    torch.manual_seed(0)
    settings = {**content["model"]["init_args"], "init_from": None, **changes}
    kinds = {"augmentation": Augmentation, "sensor": SensorModel, "image_loss": losses.ImageLoss}
    kinds |= {"latent_loss": losses.LatentLoss, "consistency_loss": losses.ConsistencyLoss}
    for name, kind in {**kinds, "retinex_loss": losses.RetinexLoss}.items():
        if settings.get(name) is not None:
            settings[name] = kind(**settings[name])
    model = getattr(training, class_name(content["model"]))(**settings)
    given = {key: value for key, value in content["data"].items() if key not in ("train", "val", "val_limits")}
    given["steps_per_epoch"] = args.warmup + args.steps + 1  # the last one only to end the one before
    if args.workers is not None:
        given["num_workers"] = args.workers
    data = LowLightData(train=self_made(content["data"]["train"], args.size), **given)
    data.setup("fit")
    loader = Watched(data.train_dataloader())
    fit(model, loader, content["trainer"], args.accelerator)
    times = loader.times[args.warmup :]
    spent = [after - before for (before, _), (after, _) in pairwise(times)]
    waited = sum(there - asked for asked, there in times[:-1])
    seconds = [f"{average(spent):.4f}" for average in (statistics.median, statistics.fmean)]
    share = f"{100 * waited / sum(spent):.1f} %"
    crop, precision = "×".join(map(str, given["crop"])), str(content["trainer"].get("precision", "32-true"))
    return [label, str(given["batch_size"]), crop, precision, *seconds, share]


def fit(model: Any, loader: Watched, settings: Mapping[str, Any], accelerator: str) -> None:
    import lightning

    from lightendiff.training import AveragedExport

    averages = [entry["init_args"] for entry in settings["callbacks"] if class_name(entry) == "AveragedExport"]
    with TemporaryDirectory() as folder, quiet("lightning.pytorch"):
        trainer = lightning.Trainer(
            accelerator=accelerator,
            devices=1,
            max_steps=len(loader),
            callbacks=[AveragedExport(**{**average, "folder": folder}) for average in averages],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **{key: settings[key] for key in ("precision", "gradient_clip_val") if key in settings},
        )
        trainer.fit(model, train_dataloaders=loader)


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Without warnings, and without what a library's logger says below an error."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def self_made(sources: Sequence[Mapping[str, Any]], size: Size) -> list[Any]:
    """Self-made pictures in the place of each source, as often, darkened by the sensor model where the source's are."""
    from lightendiff.data.datasets import SelfMade

    weights = [source.get("init_args", {}).get("weight", 1.0) for source in sources]
    return [
        SelfMade(16, size, seed, darken=class_name(source) == "Darkened", weight=weight)
        for seed, (source, weight) in enumerate(zip(sources, weights, strict=True))
    ]


def class_name(entry: Mapping[str, Any]) -> str:
    return entry["class_path"].rpartition(".")[2]
