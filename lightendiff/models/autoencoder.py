"""The content transfer network: one picture's content rendered at another picture's exposure.

`encode` splits a picture into a small latent (its exposure and colour at ⅛ resolution) and skips (its content);
`decode` renders content at the exposure that a latent asks for. Restoring a dark picture is decoding its own skips
with a better latent, which the diffusion model supplies. `decompose` is the latent Retinex of LightenDiffusion
(Jiang et al., ECCV 2024). The two architectures differ only in the encoder and the decoder that are plugged in here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

from torch import Tensor, nn

Skips = list[Tensor]


class Encoder(Protocol):
    """Image (b, 3, h, w) in [0, 1] and its mean (b,) → latent (b, c, h/8, w/8) in [0, 1] and skips."""

    multiple: int  # of which h and w are multiples

    def __call__(self, image: Tensor, mean: Tensor) -> tuple[Tensor, Skips]: ...

    def latent(self, image: Tensor) -> Tensor: ...

    def condition(self, image: Tensor, latent: Tensor, mean: Tensor) -> Tensor: ...

    def relight(self, latent: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor: ...

    def enlarge(self, restored: Tensor, small: Tensor, large: Tensor) -> Tensor: ...

    def freeze_latent(self) -> None: ...


class ContentTransfer(nn.Module):
    """Encoder, latent Retinex decomposition and decoder.

    Args:
        encoder: module with the `Encoder` protocol.
        retinex: module (b, c, h, w) → (reflectance, illumination), each (b, c, h, w).
        decoder: module (latent, skips) → image (b, 3, 8h, 8w).
    """

    def __init__(self, encoder: nn.Module, retinex: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = cast(Encoder, encoder)
        self.retinex = retinex
        self.decoder = decoder

    def encode(self, image: Tensor, mean: Tensor | None = None) -> tuple[Tensor, Skips]:
        """Latent (b, c, h/8, w/8) in [0, 1] and skips of an image (b, 3, h, w) in [0, 1].

        h and w are multiples of the encoder's `multiple`.

        `mean` (b,) is the mean of the whole picture, for an `image` that is only a window of it (a training crop,
        a tile); by default it is the mean of `image`.
        """
        grid = self.encoder.multiple
        if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] % grid or image.shape[3] % grid:
            raise ValueError(f"image: expected (b, 3, h, w), h and w multiples of {grid}, got {tuple(image.shape)}")
        return self.encoder(image, _mean(image, mean))

    def latent(self, image: Tensor) -> Tensor:
        """The latent of `encode` alone, which costs less where the skips aren't needed."""
        return self.encoder.latent(image)

    def decompose(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Reflectance and illumination of a latent, each of the latent's shape, in [0, 1]."""
        return self.retinex(latent)

    def decode(self, latent: Tensor, skips: Skips) -> Tensor:
        """The content of `skips` at the exposure of `latent`: (b, 3, h, w), not clamped to [0, 1]."""
        return self.decoder(latent, skips)

    def condition(self, image: Tensor, latent: Tensor, mean: Tensor | None = None) -> Tensor:
        """What the diffusion model is told about a dark picture and its latent: (b, k, h/8, w/8)."""
        return self.encoder.condition(image, latent, _mean(image, mean))

    def relight(self, latent: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """The latent of a picture after `change`, a map of single code values in [0, 1], was applied to it.

        Raises ValueError for architectures whose latents can't tell.
        """
        return self.encoder.relight(latent, change)

    def enlarge(self, restored: Tensor, small: Tensor, large: Tensor) -> Tensor:
        """A restored latent in the size of `large`, the picture's own latent, when `restored` was sampled for `small`,
        the latent of the same picture shrunk. All are (b, c, ·, ·) in [0, 1].
        """
        return self.encoder.enlarge(restored, small, large)

    def freeze_latent(self) -> None:
        """Stop training whatever determines latents and their decomposition: the space that a UNet works in."""
        self.encoder.freeze_latent()
        self.retinex.requires_grad_(False)


def _mean(image: Tensor, mean: Tensor | None) -> Tensor:
    return image.mean(dim=(1, 2, 3)) if mean is None else mean
