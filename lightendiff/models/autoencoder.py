"""The base of every architecture: an autoencoder that renders one picture's content at another picture's exposure.

`encode` splits a picture into a small latent (its exposure and colour at ⅛ resolution) and skips (its content);
`decode` renders content at the exposure that a latent asks for. Restoring a dark picture is decoding its own skips
with a better latent, which the diffusion model supplies. `decompose` is the latent Retinex of LightenDiffusion
(Jiang et al., ECCV 2024).

Whatever differs between architectures is a method or an attribute here, so that nothing else asks which one it has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from .retinex import RetinexDecomposition

Skips = list[Tensor]
ToneCurve = Callable[[Tensor], Tensor]  # code values in [0, 1] → the same, each by itself

FACTOR = 8  # pixels to a side of what one position of a latent stands for


@dataclass(frozen=True)
class AutoencoderConfig:
    """The part of a restorer's configuration that its autoencoder and its geometry follow from.

    Attributes:
        architecture: name in the table of architectures.
        latent_channels: channels of the latent at ⅛ resolution.
        channels: widths of encoder and decoder at ½, ¼, ⅛ and, in `lean`, any further levels.
        unet_channels: widths of the UNet's levels; each halves the latent once more.
        encoder_blocks, decoder_blocks: residual blocks a level (`paper` has a fixed number; leave empty).
        condition_features: features of the dark picture given to the UNet besides the latent (`lean` only).
        retinex_width: width of the latent Retinex decomposition; 0 for none, as in weights that nothing else is learned
            from with one.
    """

    architecture: str
    latent_channels: int
    channels: tuple[int, ...]
    unet_channels: tuple[int, ...]
    encoder_blocks: tuple[int, ...] = ()
    decoder_blocks: tuple[int, ...] = ()
    condition_features: int = 0
    retinex_width: int = 64


class Autoencoder(nn.Module, ABC):
    """Encoder, latent Retinex decomposition and decoder of an architecture.

    Args:
        config: widths and blocks. The geometry that follows from it is known without building anything, from the class
            methods `multiple` and `halo`.

    Attributes:
        encoder: module (image, mean) → (latent, skips).
        retinex: module (b, c, h, w) → (reflectance, illumination), each (b, c, h, w), or None.
        decoder: module (latent, skips) → image (b, 3, 8h, 8w).
        needs_decomposition: whether the unpaired regime learns from the decomposition, which is stored with the weights
            only then: restoring never asks for it.
        exposure_control: whether `apply_tone_curve` works: whether a latent tells how bright a picture is.
        latent_of_black: with exposure control, the value that black has in a latent.
        preferred_dtype: precision of the networks where the device has it natively and no other is asked for.
        first_and_last: names of the weights between pixels or latents and features, which Muon isn't made for.
    """

    encoder: nn.Module
    decoder: nn.Module
    retinex: RetinexDecomposition | None

    needs_decomposition: ClassVar[bool]
    exposure_control: ClassVar[bool]
    latent_of_black: ClassVar[float] = 0.0
    preferred_dtype: ClassVar[torch.dtype]
    first_and_last: ClassVar[tuple[str, ...]]

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        # Initialised in this order, and registered in another: seeds and optimizer states of earlier runs rely on both.
        width = config.retinex_width
        retinex = RetinexDecomposition(config.latent_channels, width) if width else None
        self.encoder = self.build_encoder(config)
        self.retinex = retinex
        self.decoder = self.build_decoder(config)
        self._encoder_multiple = self.encoder_multiple(config)

    @classmethod
    @abstractmethod
    def build_encoder(cls, config: AutoencoderConfig) -> nn.Module:
        """The encoder, newly initialised."""

    @classmethod
    @abstractmethod
    def build_decoder(cls, config: AutoencoderConfig) -> nn.Module:
        """The decoder, newly initialised."""

    @classmethod
    @abstractmethod
    def encoder_multiple(cls, config: AutoencoderConfig) -> int:
        """Heights and widths that `encode` takes are multiples of so many pixels."""

    @classmethod
    @abstractmethod
    def reach(cls, config: AutoencoderConfig) -> int:
        """How many pixels encoder and decoder together see beyond one, at most."""

    @classmethod
    def multiple(cls, config: AutoencoderConfig) -> int:
        """Pictures are padded to multiples of so many pixels: what the encoder and the UNet's levels need."""
        return max(cls.encoder_multiple(config), FACTOR * 2 ** (len(config.unet_channels) - 1))

    @classmethod
    def halo(cls, config: AutoencoderConfig) -> int:
        """`reach`, rounded up to multiples of `multiple`."""
        multiple = cls.multiple(config)
        return -(-cls.reach(config) // multiple) * multiple

    @classmethod
    def window_bytes(cls, config: AutoencoderConfig) -> int:
        """Bytes a pixel of a window: some pictures in float32, and features, of which those at half the size are most.

        Measured on a CPU (benchmarks/RESULTS.md); an upper bound.
        """
        return 100 + 11 * config.channels[0]

    def encode(self, image: Tensor, mean: Tensor | None = None) -> tuple[Tensor, Skips]:
        """Latent (b, c, h/8, w/8) in [0, 1] and skips of an image (b, 3, h, w) in [0, 1].

        `mean` (b,) is the mean of the whole picture, for an `image` that is only a window of it (a training crop,
        a tile); by default it is the mean of `image`.

        Raises:
            ValueError: `image` has another shape, or h or w isn't a multiple of `encoder_multiple`.
        """
        grid = self._encoder_multiple
        if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] % grid or image.shape[3] % grid:
            raise ValueError(f"image: expected (b, 3, h, w), h and w multiples of {grid}, got {tuple(image.shape)}")
        return self.encoder(image, mean_of(image) if mean is None else mean)

    @abstractmethod
    def latent(self, image: Tensor) -> Tensor:
        """The latent of `encode` alone, which costs less where the skips aren't needed."""

    @abstractmethod
    def condition(self, image: Tensor, latent: Tensor, mean: Tensor | None = None) -> Tensor:
        """What the diffusion model is told about a dark picture and its latent: (b, k, h/8, w/8).

        `mean` as in `encode`.
        """

    def decompose(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Reflectance and illumination of a latent, each of the latent's shape, in [0, 1].

        Raises ValueError where there is no decomposition.
        """
        if self.retinex is None:
            raise ValueError("decompose: expected a network with a decomposition, got one of retinex_width 0")
        return self.retinex(latent)

    def decode(self, latent: Tensor, skips: Skips) -> Tensor:
        """The content of `skips` at the exposure of `latent`: (b, 3, h, w), not clamped to [0, 1]."""
        return self.decoder(latent, skips)

    def code_values(self, latent: Tensor) -> Tensor:
        """The code values that a latent's entries stand for, of its shape. ValueError without exposure control."""
        raise ValueError(f"code_values: expected an architecture with exposure control, got {type(self).__name__}")

    def apply_tone_curve(self, latent: Tensor, curve: ToneCurve) -> Tensor:
        """The latent that a picture has once the tone curve was applied to it.

        Raises ValueError for architectures without exposure control.
        """
        raise ValueError(f"apply_tone_curve: expected an architecture with exposure control, got {type(self).__name__}")

    def enlarge(self, restored: Tensor, small: Tensor, large: Tensor) -> Tensor:
        """A restored latent in the size of `large`, the picture's own latent, when `restored` was sampled for `small`,
        the latent of the same picture shrunk. All are (b, c, ·, ·) in [0, 1].

        Raises ValueError for architectures whose UNet has to see pictures in full size.
        """
        raise ValueError(
            f"enlarge: expected an architecture whose UNet may see pictures smaller, got {type(self).__name__}"
        )

    def freeze_latent(self) -> None:
        """Stop training whatever determines latents and their decomposition: the space that a UNet works in."""
        if self.retinex is not None:
            self.retinex.requires_grad_(False)


def mean_of(image: Tensor) -> Tensor:
    """The mean (b,) of each picture (b, c, h, w)."""
    return image.mean(dim=(1, 2, 3))
