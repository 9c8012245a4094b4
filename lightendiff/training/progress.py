"""What a run shows on the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm


class RunProgress(TQDMProgressBar):
    """One bar over the steps of the whole run, with the time that is left, and a line of figures at each validation.

    Lightning's own bar counts epochs, which a run that is as long as its `max_steps` has no number of.
    """

    def init_validation_tqdm(self) -> Tqdm:
        bar = super().init_validation_tqdm()
        bar.leave = False
        return bar

    def on_train_epoch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        if self.train_progress_bar.n == 0:
            self.train_progress_bar.reset(total=trainer.max_steps if trainer.max_steps > 0 else None)
            self.train_progress_bar.initial = self.train_progress_bar.n = trainer.global_step
            self.train_progress_bar.set_description("steps")

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if self._should_update(trainer.global_step, trainer.max_steps):
            self.train_progress_bar.update(trainer.global_step - self.train_progress_bar.n)
            self.train_progress_bar.set_postfix(self.get_metrics(trainer, pl_module))

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if not trainer.sanity_checking and (line := validation_line(trainer.global_step, trainer.callback_metrics)):
            self.print(line)


def validation_line(step: int, metrics: Mapping[str, Any]) -> str:
    """`step 400: lol_val psnr 20.31, ssim 0.821, …; brackets_val …`, or nothing where nothing is validated."""
    sets: dict[str, list[str]] = {}
    for name, value in metrics.items():
        prefix, _, figure = name.partition("/")
        if prefix != "train" and not prefix.startswith("lr-") and figure:
            sets.setdefault(prefix, []).append(f"{figure} {float(value):.{3 if figure == 'ssim' else 2}f}")
    parts = [f"{name} {', '.join(figures)}" for name, figures in sets.items()]
    return f"step {step}: {'; '.join(parts)}" if parts else ""
