"""What both training stages share: deterministic steps, the optimizer, validation and logging."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Literal

import lightning
import numpy as np
import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from ..data.augment import Augmentation, BatchAugment
from ..data.datamodule import LowLightData, global_seed
from ..data.degradations import SensorModel
from ..evaluation.metrics import brightness_matched, psnr, ssim
from ..models.presets import PRESETS, PresetName, RestorerConfig
from ..pipeline import SHIPPED_WEIGHTS
from ..restorer import Restorer
from ..runtime.devices import has_native_bfloat16
from ..weights.folder import DECOMPOSITION
from ..weights.load import load
from .optimizer import Muon, split_parameters
from .perceptual import PerceptualLoss

Batch = dict[str, Any]


class RestorationTraining(lightning.LightningModule):
    """Base of the two stages. A stage says what its losses are and how it restores a validation picture.

    All randomness of a step comes from a generator seeded by (seed, number of the batch's first sample), so a run
    that was interrupted and resumed equals one that was not.

    Args:
        preset: the architecture.
        network: an architecture of one's own in the preset's place; the fields of `RestorerConfig`.
        init_from: an inference folder to start from, or `default` for the shipped weights; its architecture must be
            the preset's. Its steps and its first timestep aren't taken over.
        num_inference_steps: replaces the preset's default.
        start_timestep: replaces the preset's; null keeps it.
        learning_rate: its peak, after `warmup_steps` of linear warm-up and before a cosine decay over the
            trainer's `max_steps` to `final_learning_rate`.
        final_learning_rate: at the end of the run.
        warmup_steps: optimizer steps of warm-up.
        weight_decay: decoupled, relative to the learning rate; with `muon` none for biases and gains.
        optimizer: `muon` for the convolutions and AdamW for the rest, or `adamw` for all.
        seed: of augmentation, noise and timesteps; None for that of `seed_everything`.
        sensor: ranges of the sensor model that darkens normal-light pictures.
        augmentation: what else happens to pairs.
        perceptual_loss: of rendered pictures, beside the image loss; null for none.
    """

    def __init__(
        self,
        preset: PresetName = "default",
        network: RestorerConfig | None = None,
        init_from: str | None = None,
        num_inference_steps: int | None = None,
        start_timestep: int | None = None,
        learning_rate: float = 4e-4,
        final_learning_rate: float = 1e-6,
        warmup_steps: int = 200,
        weight_decay: float = 1e-4,
        optimizer: Literal["muon", "adamw"] = "muon",
        seed: int | None = None,
        sensor: SensorModel | None = None,
        augmentation: Augmentation | None = None,
        perceptual_loss: PerceptualLoss | None = None,
    ) -> None:
        super().__init__()
        if optimizer not in ("muon", "adamw"):
            raise ValueError(f"optimizer: expected 'muon' or 'adamw', got {optimizer!r}")
        if preset not in PRESETS:
            raise ValueError(f"preset: expected one of {sorted(PRESETS)}, got {preset!r}")
        sampling: dict[str, Any] = {"num_inference_steps": num_inference_steps, "start_timestep": start_timestep}
        if isinstance(network, Mapping):  # as a checkpoint holds it
            network = RestorerConfig.from_dict(network)
        config = PRESETS[preset] if network is None else network
        self.restorer = Restorer(replace(config, **{k: v for k, v in sampling.items() if v is not None}))
        # What `load_from_checkpoint` makes the module with: plain values, which unpickle without running any code.
        stored = None if network is None else json.loads(json.dumps(network.to_dict()))
        self.save_hyperparameters({"preset": preset, "network": stored, **sampling}, logger=False)
        if init_from == "default":
            init_from = str(SHIPPED_WEIGHTS)
        if init_from is not None:
            try:
                given, own = load(init_from).state_dict(), self.restorer.state_dict()
                anew = {name: tensor for name, tensor in own.items() if name.startswith(DECOMPOSITION)}
                self.restorer.load_state_dict({**anew, **given})  # weights for restoring have no decomposition
            except RuntimeError as error:  # which lists hundreds of names
                raise ValueError(f"init_from: {init_from} isn't of the architecture of preset {preset!r}") from error
        self.restorer.to(memory_format=torch.channels_last)
        self.augment = BatchAugment(sensor, augmentation)
        self.learning_rate, self.final_learning_rate = learning_rate, final_learning_rate
        self.warmup_steps, self.weight_decay, self.optimizer = warmup_steps, weight_decay, optimizer
        self.seed = global_seed() if seed is None else seed
        self.perceptual_loss = perceptual_loss
        self.init_from = init_from
        self.figures: dict[str, Tensor] = {}  # of the last step, beside its losses

    def setup(self, stage: str) -> None:
        check_precision(str(self.trainer.precision), self.trainer.strategy.root_device)
        # Which parameters a step uses changes with the phase and the loss drawn, which DDP has to be told.
        if isinstance(self.trainer.strategy, DDPStrategy):
            self.trainer.strategy._ddp_kwargs.setdefault("find_unused_parameters", True)
        data, grid = getattr(self.trainer, "datamodule", None), self.restorer.config.multiple
        if isinstance(data, LowLightData) and any(side % grid for side in data.stream.crop):
            raise ValueError(f"data.crop: expected multiples of {grid}, got {data.stream.crop}")

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The named, weighted losses of an augmented batch; their sum is minimised."""
        raise NotImplementedError

    def restore(self, dark: Tensor, reference: Tensor, generator: torch.Generator) -> Tensor:
        """What this stage makes of a validation picture, (1, 3, h, w) in [0, 1]."""
        raise NotImplementedError

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        generator = self.generator(batch.get("number", self.global_step))  # own loaders may not count
        self.figures = {}
        losses = self.losses(self.augment(batch, generator), generator)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            values = {name: float(loss) for name, loss in losses.items()}
            names = ", ".join(batch["names"])
            raise FloatingPointError(f"loss {values} at step {self.global_step}; the batch was {names}")
        self.log_dict({f"train/{name}": value.detach() for name, value in {**losses, **self.figures}.items()})
        self.log("loss", total.detach(), prog_bar=True, logger=False)
        return total

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        dark, reference = (batch[key].float() / 255.0 for key in ("dark", "target"))
        restored = self.restore(dark, reference, self.generator(batch_idx))
        with self.full_precision():
            matched = brightness_matched(restored, reference)
            values = {
                "psnr": psnr(restored, reference).mean(),
                "ssim": ssim(restored, reference).mean(),
                "psnr_matched": psnr(matched, reference).mean(),
            }
        data = getattr(self.trainer, "datamodule", None)
        name = data.val_names[dataloader_idx] if isinstance(data, LowLightData) else f"val{dataloader_idx}"
        self.log_dict(
            {f"{name}/{key}": value.clamp(max=100.0) for key, value in values.items()},
            add_dataloader_idx=False,
            batch_size=1,
            sync_dist=True,
        )
        return {"set": name, "dark": dark, "restored": restored, "reference": reference}

    def generator(self, *key: int) -> torch.Generator:
        """A generator on this module's device that depends on the seed and `key` alone."""
        state = int(np.random.SeedSequence([self.seed, *key]).generate_state(1, np.uint64)[0] >> np.uint64(1))
        return torch.Generator(self.device).manual_seed(state)

    def full_precision(self) -> AbstractContextManager[object]:
        """Context for losses and metrics, whose sums and differences need float32."""
        return torch.autocast(self.device.type, enabled=False)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["training_seed"] = self.seed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if (seed := checkpoint.get("training_seed", self.seed)) != self.seed:
            rank_zero_warn(f"resumed with model seed {self.seed} where the checkpoint has {seed}: other noise follows")

    def configure_optimizers(self) -> Any:
        optimizer: torch.optim.Optimizer
        rate, decay = self.learning_rate, self.weight_decay
        if self.optimizer == "muon":
            optimizer = Muon(
                *split_parameters(self.restorer, self.restorer.first_and_last), lr=rate, weight_decay=decay
            )
        else:
            parameters = [p for p in self.restorer.parameters() if p.requires_grad]
            optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
        steps = self.trainer.estimated_stepping_batches
        if not math.isfinite(steps):
            raise ValueError("trainer.max_steps: the learning rate decays over the run, so its length must be given")
        floor = self.final_learning_rate / self.learning_rate

        def factor(step: int) -> float:
            if step < self.warmup_steps:
                return (step + 1) / self.warmup_steps
            progress = min(1.0, (step - self.warmup_steps) / max(1, steps - self.warmup_steps))
            return floor + (1.0 - floor) * (1.0 + math.cos(math.pi * progress)) / 2.0

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def check_precision(precision: str, device: torch.device) -> None:
    """ValueError for a precision whose weights aren't float32; a warning where bfloat16 is emulated."""
    if precision not in ("32-true", "16-mixed", "bf16-mixed"):
        raise ValueError(f"trainer.precision: expected '32-true', '16-mixed' or 'bf16-mixed', got {precision!r}")
    if precision == "bf16-mixed" and not has_native_bfloat16(device):
        rank_zero_warn(f"bf16-mixed: {device} has no bfloat16 of its own and is many times slower; use 32-true")
