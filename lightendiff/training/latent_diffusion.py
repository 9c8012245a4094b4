"""Stage 2: the conditional UNet learns to sample restored latents; then everything is tuned through the sampler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..colour import correct
from ..diffusion.scheduler import gaussian_noise
from .base import Batch, RestorationTraining
from .content_transfer import Reexposure
from .losses import ConsistencyLoss, ImageLoss, LatentLoss, decomposition_figures

LEAST_DEVIATION = 0.002  # newly initialised reflectance has 0.003 or more, a saturated one 0
IMAGE, LATENT, CONSISTENCY = ImageLoss(), LatentLoss(), ConsistencyLoss()


class LatentDiffusion(RestorationTraining):
    """Trains the UNet on latents of a frozen stage 1 and then, from `joint_from_step`, UNet, encoder and decoder
    jointly with image losses through the sampler's own trajectories.

    The UNet works on the whole crop, whose exposure it judges; the encoder and the decoder, which cost most, on a
    smaller window of it. The joint phase draws the number of sampling steps and their timesteps at random, so that few
    and many steps agree; the gradient passes through the last of them. Some sampled latents are relit, together with
    their targets, so that a latent goes on meaning exposure and colour. Whatever makes latents stays frozen throughout:
    it defines the space in which the UNet works.

    Args:
        regime: `paired` learns from references. `unpaired` learns from dark and normal-light pictures of different
            scenes: by pseudo-pairs, as from references, where the latent is a thumbnail; with a learned latent
            (LightenDiffusion, eq. 9) from the reflectance of the dark picture under the illumination of the
            normal-light one, with the self-constrained consistency loss.
        joint_from_step: step at which the joint phase begins; None for never (the paper's way).
        rollout_steps: each step of the joint phase samples as inference does, in a number of steps that is drawn from
            this list; repeat one to favour it.
        detail: (height, width) of the window, in pixels; null for the whole crop.
        detail_count: how many pictures of a batch go through the encoder and the decoder at most, which cost most of
            the time; null for all but those of sources with `ignore_detail`. With 0 only the UNet learns, from the
            latent loss.
        reexpose_probability: how many pictures of the joint phase are relit.
        image_loss: of the rendered picture, in the joint phase.
        latent_loss: of the sampled latent, in the joint phase.
        consistency_loss: of the sampled latent where a reflectance under another illumination is the target.
        base: see `RestorationTraining`.
    """

    def __init__(
        self,
        regime: Literal["paired", "unpaired"] = "paired",
        joint_from_step: int | None = None,
        rollout_steps: Sequence[int] = (1, 1, 2, 3),
        detail: tuple[int, int] | None = None,
        detail_count: int | None = None,
        reexpose_probability: float = 0.15,
        image_loss: ImageLoss = IMAGE,
        latent_loss: LatentLoss = LATENT,
        consistency_loss: ConsistencyLoss = CONSISTENCY,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        if regime not in ("paired", "unpaired"):
            raise ValueError(f"regime: expected 'paired' or 'unpaired', got {regime!r}")
        self.relights = regime == "unpaired" and self.restorer.model.needs_decomposition
        self.augment.pseudo_pairs = regime == "unpaired" and not self.relights
        if self.relights and joint_from_step is not None:
            raise ValueError(f"joint_from_step: image losses need pairs; expected null, got {joint_from_step}")
        self.regime, self.joint_from_step, self.rollout_steps = regime, joint_from_step, list(rollout_steps)
        grid = self.restorer.config.multiple
        if detail is not None and any(side < 1 or side % grid for side in detail):
            raise ValueError(f"detail: expected multiples of {grid}, got {tuple(detail)}")
        if detail_count is not None and detail_count < 0:
            raise ValueError(f"detail_count: expected at least 0 or null, got {detail_count}")
        self.detail, self.detail_count = detail, detail_count
        self.reexpose_probability = reexpose_probability
        self.image_loss, self.latent_loss, self.consistency_loss = image_loss, latent_loss, consistency_loss
        self.restorer.model.freeze_latent()
        if joint_from_step is None:
            self.restorer.model.decoder.requires_grad_(False)

    @property
    def joint(self) -> bool:
        """Whether the joint phase has begun."""
        return self.joint_from_step is not None and self.global_step >= self.joint_from_step

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        model = self.restorer.model
        if self.regime == "paired" and "paired" in batch:
            raise ValueError("regime: expected 'unpaired' for dark and normal-light pictures of different scenes")
        with torch.no_grad():
            latent = model.latent(batch["dark"]).float()
            target_latent = self.target_latent(latent, batch["target"])
            if self.relights:
                self.figures = self.decomposition_figures(latent, batch["target"])
        condition = model.condition(batch["dark"], latent, batch["mean"])
        if self.joint:
            return self.rollout_losses(batch, latent, condition, target_latent, generator)
        losses = {"diffusion": self.diffusion_loss(target_latent, condition, generator)}
        if self.relights:
            losses["consistency"] = self.inconsistency(latent, condition, generator)
        return losses

    def target_latent(self, latent: Tensor, target: Tensor) -> Tensor:
        """The latent to be sampled, in [0, 1]."""
        model = self.restorer.model
        target_latent = model.latent(target)
        if not self.relights:
            return target_latent.float()
        reflectance, _ = model.decompose(latent)
        _, illumination = model.decompose(target_latent)
        return (reflectance * illumination).float()

    def diffusion_loss(self, target_latent: Tensor, condition: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error of the prediction at a random timestep of each picture."""
        scheduler = self.restorer.scheduler
        x0 = 2.0 * target_latent - 1.0
        noise = self._noise(x0, generator)
        t = torch.randint(0, len(scheduler), (x0.shape[0],), generator=generator, device=x0.device)
        x_t = scheduler.add_noise(x0, noise, t)
        goal = {
            "epsilon": lambda: noise,
            "sample": lambda: x0,
            "v_prediction": lambda: scheduler.get_velocity(x0, noise, t),
        }[scheduler.config.prediction_type]()
        return F.mse_loss(self.restorer.predict(x_t, t, condition), goal)

    def rollout_losses(
        self, batch: Batch, latent: Tensor, condition: Tensor, target_latent: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Losses of pictures that were sampled as in inference, with a random number of steps."""
        model = self.restorer.model
        sampled = self.rollout(latent, condition, generator)
        losses = {"latent": self.latent_loss(sampled, target_latent)}
        some = torch.nonzero(~batch["ignore_detail"]).flatten()[: self.detail_count]
        if len(some) == 0:
            return losses
        dark, target, latents = self.cut_window(batch["dark"][some], batch["target"][some], sampled[some], generator)
        if self.reexpose_probability > 0:
            reexposure = Reexposure.draw(len(dark), self.reexpose_probability, generator)
            with self.full_precision():
                target, latents = reexposure(target), model.apply_tone_curve(latents, reexposure)
        _, skips = model.encode(dark, batch["mean"][some])
        image = self.restorer.decode(latents, skips)
        with self.full_precision():
            if self.restorer.config.input_colours:  # both, so that the network isn't asked for what it doesn't decide
                image, target = correct(dark, image), correct(dark, target)
            losses["image"] = self.image_loss(image, target)
            if self.perceptual_loss is not None:
                losses["perceptual"] = self.perceptual_loss(image, target)
        return losses

    def rollout(self, latent: Tensor, condition: Tensor, generator: torch.Generator) -> Tensor:
        """Latents in [0, 1] scale, sampled with a random number of steps at random timesteps."""
        restorer = self.restorer
        steps = self.rollout_steps[int(self._uniform(generator) * len(self.rollout_steps))]
        start = restorer.config.start_timestep
        first = len(restorer.scheduler) - 1 if start is None else start
        between = torch.randperm(first, generator=generator, device=generator.device)[: steps - 1]
        timesteps = [first, *sorted(between.tolist(), reverse=True)]
        calls = iter(range(1 - len(timesteps), 1))

        def predict(x: Tensor, t: Tensor) -> Tensor:
            last = next(calls) == 0
            if last:
                torch.clear_autocast_cache()  # of weights that the steps before converted without their gradient
            with torch.set_grad_enabled(last):
                return restorer.predict(x, t, condition)

        noise = self._noise(latent, generator)
        return restorer.sample_latent(latent, condition, noise, timesteps=timesteps, predict=predict)

    def cut_window(
        self, dark: Tensor, target: Tensor, latent: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same random window of pictures and latents."""
        if self.detail is None:
            return dark, target, latent
        (top, h), (left, w) = (
            self._place(have, want, generator) for have, want in zip(dark.shape[2:], self.detail, strict=True)
        )
        thumbnail = latent[..., top // 8 : (top + h) // 8, left // 8 : (left + w) // 8]
        window = (..., slice(top, top + h), slice(left, left + w))
        return dark[window], target[window], thumbnail

    def _place(self, have: int, want: int, generator: torch.Generator) -> tuple[int, int]:
        """Start and length of a window along one side."""
        grid = self.restorer.config.multiple
        places = max(0, have - want) // grid + 1
        return grid * int(self._uniform(generator) * places), min(have, want)

    def inconsistency(self, latent: Tensor, condition: Tensor, generator: torch.Generator) -> Tensor:
        """The consistency loss of what is sampled for a dark picture's latent."""
        with torch.no_grad():
            reflectance, illumination = self.restorer.model.decompose(latent)
        sampled = self.restorer.sample_latent(latent.float(), condition, self._noise(latent.float(), generator))
        return self.consistency_loss(sampled.clamp(0.0, 1.0), reflectance, illumination)  # as the published code

    def decomposition_figures(self, latent: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Those of `losses.decomposition_figures`; ValueError for a decomposition that no target can be made with."""
        model = self.restorer.model
        latents = [latent, model.latent(target).float()]
        parts = [model.decompose(each) for each in latents]
        figures = decomposition_figures(latents, parts)
        deviations = {name: figures[name] for name in ("latent_std", "reflectance_std")}
        deviations["illumination_std"] = torch.cat([light for _, light in parts]).std()
        for name, deviation in deviations.items():
            if not deviation >= LEAST_DEVIATION:
                raise ValueError(
                    f"init_from: expected a decomposition with {name} of at least {LEAST_DEVIATION}, got "
                    f"{float(deviation):.2g} from {self.init_from}, with which the unpaired regime has no target"
                )
        return figures

    def restore(self, dark: Tensor, reference: Tensor, generator: torch.Generator) -> Tensor:
        restored: Tensor = self.restorer(dark, generator=generator)
        return restored

    def _noise(self, like: Tensor, generator: torch.Generator) -> Tensor:
        return gaussian_noise(like.shape, generator, like.device, like.dtype)

    def _uniform(self, generator: torch.Generator) -> float:
        return float(torch.rand((), generator=generator, device=generator.device))
