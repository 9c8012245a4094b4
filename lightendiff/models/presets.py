"""Every architecture of the package, written out in one table of typed presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from ..diffusion.scheduler import DDIMScheduler
from .autoencoder import ContentTransfer
from .lean import LATENT_CHANNELS, LeanDecoder, LeanEncoder
from .paper import PaperDecoder, PaperEncoder
from .retinex import RetinexDecomposition
from .unet import UNet

PresetName = Literal["default", "paper", "tiny"]


@dataclass(frozen=True)
class RestorerConfig:
    """What a restorer is made of; stored as `config.json` beside its weights.

    Attributes:
        architecture: `lean` (ours) or `paper` (the published LightenDiffusion network).
        latent_channels: channels of the latent at ⅛ resolution.
        channels: widths of encoder and decoder at ½, ¼, ⅛ and, in `lean`, any further levels.
        encoder_blocks, decoder_blocks: residual blocks a level (`paper` has a fixed number; leave empty).
        condition_features: features of the dark picture given to the UNet besides the latent (`lean` only).
        retinex_width: width of the latent Retinex decomposition.
        unet_channels, unet_blocks, unet_attention_levels, unet_norm_groups, unet_residual: the conditional UNet.
        scheduler: arguments of `DDIMScheduler`.
        num_inference_steps: steps taken when the caller names no number.
        context: longest side, in pixels, of what the UNet sees of a picture: larger ones are shown to it smaller. None
            for no limit.
        start_timestep: None to sample from pure noise, else the timestep at which sampling starts from the noised
            condition latent.
        input_colours: whether the result takes its hue and chroma, and darkness where there is no signal, from the dark
            picture (see `lightendiff.colour`).
    """

    architecture: Literal["lean", "paper"]
    latent_channels: int
    channels: tuple[int, ...]
    unet_channels: tuple[int, ...]
    encoder_blocks: tuple[int, ...] = ()
    decoder_blocks: tuple[int, ...] = ()
    condition_features: int = 0
    retinex_width: int = 64
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
    def multiple(self) -> int:
        """Heights and widths are padded to multiples of this."""
        if self.architecture == "paper":
            return 64
        return max(8 * 2 ** (len(self.unet_channels) - 1), 2 ** len(self.channels))

    @property
    def halo(self) -> int:
        """How far encoder and decoder see beyond a pixel, rounded up to multiples of `multiple`."""
        if self.architecture == "paper":
            encoder = 4 + (2 + 1) + 2 * (2 + 1) + 4 * (2 + 1)  # the stem, and each level's block and convolution
            latent = 8 * (3 + 3)
            decoder = 8 * (4 + 1) + 4 * (4 + 1) + 2 * (4 + 1) + 1
            reach = encoder + latent + decoder + 8
        else:
            steps = [2 ** (level + 1) for level in range(len(self.channels))]  # pixels between positions of a level
            encoder, decoder = (
                sum(2 * count * step for count, step in zip(blocks, steps, strict=True))
                for blocks in (self.encoder_blocks, self.decoder_blocks)
            )
            reach = 2 + encoder + decoder + 2 + steps[-1]  # the stem, the head, and the grid of the deepest level
        return -(-reach // self.multiple) * self.multiple

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RestorerConfig:
        """The configuration in `values`. Raises ValueError for unknown, missing or unusable entries."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown configuration keys {unknown}; known are {sorted(known)}")
        try:
            arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            return cls(**arguments)
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


def build_content_transfer(config: RestorerConfig) -> ContentTransfer:
    """Encoder, decomposition and decoder of a configuration, newly initialised."""
    retinex = RetinexDecomposition(config.latent_channels, config.retinex_width)
    if config.architecture == "paper":
        return ContentTransfer(
            PaperEncoder(config.latent_channels, config.channels),
            retinex,
            PaperDecoder(config.latent_channels, config.channels),
        )
    if config.architecture != "lean":
        raise ValueError(f"architecture: expected 'lean' or 'paper', got {config.architecture!r}")
    if config.latent_channels != LATENT_CHANNELS:
        raise ValueError(
            f"latent_channels: a lean latent is a thumbnail of {LATENT_CHANNELS}, got {config.latent_channels}"
        )
    return ContentTransfer(
        LeanEncoder(config.channels, config.encoder_blocks, config.condition_features),
        retinex,
        LeanDecoder(config.channels, config.decoder_blocks),
    )


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
