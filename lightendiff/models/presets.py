"""Every architecture of the package, written out in one table of typed presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from ..diffusion.scheduler import DDIMScheduler
from .autoencoder import Autoencoder, AutoencoderConfig
from .checking import checked
from .lean import LATENT_CHANNELS, LeanAutoencoder
from .paper import PaperAutoencoder
from .unet import UNet

PresetName = Literal["default", "paper", "tiny"]

# By the name that a configuration says: `lean` is ours, `paper` the published LightenDiffusion network.
ARCHITECTURES: dict[str, type[Autoencoder]] = {"lean": LeanAutoencoder, "paper": PaperAutoencoder}


@dataclass(frozen=True)
class RestorerConfig(AutoencoderConfig):
    """What a restorer is made of, beside its autoencoder; stored as `config.json` beside its weights.

    Attributes:
        unet_blocks, unet_attention_levels, unet_norm_groups, unet_residual: the conditional UNet.
        scheduler: arguments of `DDIMScheduler`.
        num_inference_steps: steps taken when the caller names no number.
        context: longest side, in pixels, of what the UNet sees of a picture: larger ones are shown to it smaller. None
            for no limit.
        start_timestep: None to sample from pure noise, else the timestep at which sampling starts from the noised
            condition latent.
        input_colours: whether the result takes its hue and chroma, and darkness where there is no signal, from the dark
            picture (see `lightendiff.colour`).
    """

    unet_blocks: int = 2
    unet_attention_levels: tuple[int, ...] = (2,)
    unet_norm_groups: int = 32
    unet_residual: bool = False
    scheduler: Mapping[str, Any] = field(default_factory=dict)
    num_inference_steps: int = 20
    start_timestep: int | None = None
    context: int | None = None
    input_colours: bool = False

    @property
    def autoencoder(self) -> type[Autoencoder]:
        """The class of the architecture. ValueError if there is none of that name."""
        if self.architecture not in ARCHITECTURES:
            known = " or ".join(map(repr, ARCHITECTURES))
            raise ValueError(f"architecture: expected {known}, got {self.architecture!r}")
        return ARCHITECTURES[self.architecture]

    @property
    def multiple(self) -> int:
        """Heights and widths are padded to multiples of this."""
        return self.autoencoder.multiple(self)

    @property
    def halo(self) -> int:
        """How far encoder and decoder see beyond a pixel, rounded up to multiples of `multiple`."""
        return self.autoencoder.halo(self)

    @property
    def for_restoring(self) -> RestorerConfig:
        """The same without a decomposition that nothing asks for: that of stored weights."""
        return self if self.autoencoder.needs_decomposition else replace(self, retinex_width=0)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RestorerConfig:
        """The configuration in `values`, which are checked first: types, and ranges beyond any use.

        Raises ValueError for unknown, missing or unusable entries.
        """
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown configuration keys {unknown}; known are {sorted(known)}")
        try:
            return cls(**checked(values))
        except TypeError as error:
            raise ValueError(f"unusable configuration: {error}") from error


# x₀-prediction, zero terminal SNR and trailing timesteps let one to four steps suffice.
_FEW_STEPS = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "sample",
    "timestep_spacing": "trailing",
    "rescale_betas_zero_snr": True,
    "clip_sample": False,
}

PRESETS: dict[PresetName, RestorerConfig] = {
    "default": RestorerConfig(
        architecture="lean",
        latent_channels=LATENT_CHANNELS,
        channels=(32, 64, 128, 160),
        encoder_blocks=(1, 2, 2, 1),
        decoder_blocks=(2, 2, 2, 2),
        condition_features=45,
        retinex_width=32,
        unet_channels=(48, 96, 144),
        unet_blocks=1,
        unet_norm_groups=16,
        unet_residual=True,
        scheduler=_FEW_STEPS,
        num_inference_steps=2,
        context=768,
        input_colours=True,
    ),
    "paper": RestorerConfig(
        architecture="paper",
        latent_channels=3,
        channels=(64, 128, 256),
        unet_channels=(64, 128, 192, 256),
        scheduler={"clip_sample": False},
        num_inference_steps=20,
    ),
    # For tests and the smoke configuration: every part of `default`, small enough to train in seconds.
    "tiny": RestorerConfig(
        architecture="lean",
        latent_channels=LATENT_CHANNELS,
        channels=(8, 16, 16, 16),
        encoder_blocks=(1, 1, 1, 1),
        decoder_blocks=(1, 1, 1, 1),
        condition_features=5,
        retinex_width=8,
        unet_channels=(16, 16, 32),
        unet_blocks=1,
        unet_norm_groups=8,
        unet_residual=True,
        scheduler=_FEW_STEPS,
        num_inference_steps=2,
        input_colours=True,
    ),
}
"""Configurations by name: `default`, what the shipped weights are; `paper`, LightenDiffusion's; `tiny`, for tests."""


def build_autoencoder(config: RestorerConfig) -> Autoencoder:
    """The autoencoder of a configuration, newly initialised. ValueError for an unknown architecture."""
    return config.autoencoder(config)


def build_unet(config: RestorerConfig) -> UNet:
    """The conditional UNet of a configuration, newly initialised."""
    return UNet(
        latent_channels=config.latent_channels,
        condition_channels=config.latent_channels + config.condition_features,
        channels=config.unet_channels,
        blocks_per_level=config.unet_blocks,
        attention_levels=config.unet_attention_levels,
        norm_groups=config.unet_norm_groups,
        residual=config.unet_residual,
    )


def build_scheduler(config: RestorerConfig) -> DDIMScheduler:
    """The scheduler of a configuration."""
    return DDIMScheduler(**config.scheduler)
