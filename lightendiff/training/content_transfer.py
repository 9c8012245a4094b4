"""Stage 1: the content transfer network learns to render one picture's content at another's exposure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..evaluation.metrics import psnr
from ..tone import SHOULDER, roll_off
from .base import Batch, RestorationTraining
from .losses import ImageLoss, RetinexLoss, decomposition_figures

EXPOSURE_KNOWN = ImageLoss(matched=0.0)  # the target's own latent tells its exposure
RETINEX = RetinexLoss()


class ContentTransfer(RestorationTraining):
    """Trains encoder, decomposition and decoder on pairs of exposures of the same content.

    The decoder gets the dark picture's skips and the target's latent. Because targets are re-exposed at random, the
    answer can't be guessed from the skips: the latent must carry exposure and colour.

    Args:
        image_loss: of the rendered picture.
        retinex_loss: of the decompositions of both latents.
        reexpose_probability: how many targets are re-exposed.
        base: see `RestorationTraining`.
    """

    def __init__(
        self,
        image_loss: ImageLoss = EXPOSURE_KNOWN,
        retinex_loss: RetinexLoss = RETINEX,
        reexpose_probability: float = 0.5,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        self.image_loss, self.retinex_loss = image_loss, retinex_loss
        self.reexpose_probability = reexpose_probability
        # What only the diffusion model uses is trained with it.
        self.restorer.unet.requires_grad_(False)

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        model = self.restorer.model
        target = Reexposure.draw(len(batch["target"]), self.reexpose_probability, generator)(batch["target"])
        dark_latent, skips = model.encode(batch["dark"], batch["mean"])
        latent = model.latent(target)
        image = model.decode(latent, skips)
        with self.full_precision():
            losses = {"content": self.image_loss(image.float(), target)}
            if self.perceptual_loss is not None:
                losses["perceptual"] = self.perceptual_loss(image.float(), target)
            if self.retinex_loss.weight > 0:
                latents = [dark_latent.float(), latent.float()]
                begin = self.retinex_loss.shapes_latent_from
                if begin is None or self.global_step < begin:
                    latents = [z.detach() for z in latents]
                parts = [model.decompose(z) for z in latents]
                losses["retinex"] = self.retinex_loss(latents, parts)
                brighter = (target - batch["dark"]).mean(dim=(1, 2, 3)).sign()
                self.figures = decomposition_figures(latents, parts, brighter)
        return losses

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Beside the figures of all stages `psnr_own_latent`, of the dark picture rendered at its own latent: near
        `psnr` where the decoder makes no use of latents.
        """
        shown = super().validation_step(batch, batch_idx, dataloader_idx)
        own, reference = self.restorer.transfer(shown["dark"], shown["dark"]), shown["reference"]
        with self.full_precision():
            self.log(
                f"{shown['set']}/psnr_own_latent",
                psnr(own, reference).mean().clamp(max=100.0),
                add_dataloader_idx=False,
                batch_size=1,
                sync_dist=True,
            )
        return shown

    def restore(self, dark: Tensor, reference: Tensor, generator: torch.Generator) -> Tensor:
        """The dark picture's content at the reference's own exposure: an upper bound for stage 2."""
        return self.restorer.transfer(dark, reference)


@dataclass(frozen=True)
class Reexposure:
    """Another exposure, contrast and tint for each picture of a batch, as a map of code values.

    Attributes:
        gain: (b, 3, 1, 1), what code values are multiplied by; values above 0.8 roll off towards 1.
        gamma: (b, 1, 1, 1), the power that they are raised to before.
    """

    gain: Tensor
    gamma: Tensor

    @classmethod
    def draw(cls, count: int, probability: float, generator: torch.Generator) -> Reexposure:
        """Gain 2^[−2, 1] and each channel's 2^[−0.15, 0.15] beside it, gamma 2^[−0.5, 0.5]; else no change."""

        def uniform(low: float, high: float, channels: int = 1) -> Tensor:
            draw = torch.rand((count, channels, 1, 1), generator=generator, device=generator.device)
            return low + (high - low) * draw

        gain, gamma = uniform(-2.0, 1.0) + uniform(-0.15, 0.15, channels=3), uniform(-0.5, 0.5)
        changed = uniform(0.0, 1.0) < probability
        return cls(2.0 ** (gain * changed), 2.0 ** (gamma * changed))

    def __call__(self, image: Tensor) -> Tensor:
        """(b, 3, h, w) in [0, 1] at the new exposure; pictures with gain and gamma 1 as they are."""
        changed = roll_off(self.gain * image.clamp(min=1e-4) ** self.gamma, 1.0 - SHOULDER)
        unchanged = (self.gain == 1.0).all(dim=1, keepdim=True) & (self.gamma == 1.0)
        return torch.where(unchanged, image, changed)
