"""Callbacks: averaged weights exported as an inference folder, and picture grids of the validation sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torchvision.utils import make_grid, save_image

from ..weights.folder import save_restorer
from .base import RestorationTraining


class AveragedExport(WeightAveraging):
    """Averages the weights exponentially, validates the average, and exports it after each epoch and at the end.

    Args:
        folder: the inference folder to write, which `infer.py --weights` takes; each export replaces the last.
        decay: of the average, per optimizer step. It is smaller during the first steps, so that a short run's average
            isn't mostly its start.
        half: export half-precision weights.

    Raises:
        ValueError: the run starts from the weights in `folder`, which it would replace.
    """

    def __init__(self, folder: str, decay: float = 0.999, half: bool = False) -> None:
        super().__init__(avg_fn=ramped(decay))
        self.folder, self.half = folder, half
        self._exported_step: int | None = None

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        start = pl_module.init_from if isinstance(pl_module, RestorationTraining) else None
        if start is not None and Path(start).resolve() == Path(self.folder).resolve():
            raise ValueError(f"init_from: {start} is where this run exports to; move it, and start from there")
        super().setup(trainer, pl_module, stage)

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        # The base class copies the module before it is moved to its device and would average on the CPU.
        assert self._average_model is not None
        self._average_model.to(pl_module.device)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        # Comes after the epoch's validation, and also where there is none or the run ends within an epoch.
        super().on_train_epoch_end(trainer, pl_module)
        self._export(trainer)

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        # Resumed after its last step, as after a kill between the last checkpoint and the export, a run has no epoch.
        if self._exported_step != trainer.global_step:
            self._export(trainer)

    def _export(self, trainer: lightning.Trainer) -> None:
        assert self._average_model is not None
        self._exported_step = trainer.global_step
        average = self._average_model.module
        if trainer.is_global_zero and isinstance(average, RestorationTraining):
            save_restorer(average.restorer, self.folder, half=self.half)


def ramped(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential averaging of (average, current, updates n so far), with the decay min(decay, (1 + n) / (10 + n))."""

    def update(average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        now = min(decay, (1 + int(count)) / (10 + int(count)))
        return now * average + (1 - now) * current

    return update


class PictureGrid(Callback):
    """Writes a grid (dark | restored | reference, a row a picture) of each validation set as JPEG, and to the loggers
    that take pictures: TensorBoard, and those with a method `log_image`, as Weights & Biases has.

    Args:
        folder: where `<set>.jpg` is written; each validation replaces the last.
        count: the first so many pictures of each set.
        height: of a picture in the grid, in pixels.
    """

    def __init__(self, folder: str, count: int = 6, height: int = 200) -> None:
        self.folder, self.count, self.height = folder, count, height
        self.rows: dict[str, list[Tensor]] = {}

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        rows = self.rows.setdefault(outputs["set"], [])
        if len(rows) < 3 * self.count:
            for key in ("dark", "restored", "reference"):
                picture = outputs[key][0].float().cpu()
                width = max(1, round(picture.shape[2] * self.height / picture.shape[1]))
                size = (self.height, width)
                rows.append(torch.nn.functional.interpolate(picture[None], size, mode="area")[0].clamp(0.0, 1.0))

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.is_global_zero and not trainer.sanity_checking:
            for name, rows in self.rows.items():
                self._write(trainer, name, rows)
        self.rows = {}

    def _write(self, trainer: lightning.Trainer, name: str, rows: list[Tensor]) -> None:
        width = max(picture.shape[2] for picture in rows)
        padded = [torch.nn.functional.pad(picture, (0, width - picture.shape[2])) for picture in rows]
        grid = make_grid(padded, nrow=3)
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_image(grid, folder / f"{name}.jpg")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(f"{name}/dark-restored-reference", grid, trainer.global_step)
            elif hasattr(logger, "log_image"):
                logger.log_image(f"{name}/dark-restored-reference", [grid], step=trainer.global_step)
