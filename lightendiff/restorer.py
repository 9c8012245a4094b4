"""The restorer: dark pictures (b, 3, h, w) in, restored pictures of the same shape out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .colour import correct_in_strips
from .diffusion.options import Sampling
from .diffusion.sampling import Callback as StepCallback
from .diffusion.sampling import Predict, sample
from .diffusion.scheduler import Generators, gaussian_noise
from .models.autoencoder import Skips
from .models.presets import RestorerConfig, build_autoencoder, build_scheduler, build_unet
from .progress import Progress, Work
from .tiling import Tile, split
from .tone import exposed

_STRIP = 2**20  # pixels of a whole picture whose colours are corrected at a time
_LATENT, _ENCODING, _STEP, _DECODING, _COLOURS = 1, 20, 10, 45, 10  # time that a pixel takes on a CPU, about

Adjust = Callable[[Tensor, Tensor], Tensor]

Length = TypeVar("Length", int, Tensor)


class Restorer(nn.Module):
    """Encodes a dark picture, samples a restored latent conditioned on it, decodes that with the dark one's skips.

    Where the configuration says `input_colours`, hue, chroma and darkness come from the dark picture afterwards.

    Args:
        config: the architecture, the scheduler and the default way to sample.

    Attributes:
        model: the autoencoder.
        unet: the conditional UNet.
        scheduler: the DDIM scheduler.
        autocast_dtype: None to run the networks in float32, or the lower precision that they run in; the sampler's
            state is float32 in either case.
    """

    def __init__(self, config: RestorerConfig) -> None:
        super().__init__()
        self.config = config
        self.model = build_autoencoder(config)
        self.unet = build_unet(config)
        self.scheduler = build_scheduler(config)
        self.autocast_dtype: torch.dtype | None = None

    def forward(
        self,
        dark: Tensor,
        sampling: Sampling | None = None,
        *,
        noise: Tensor | None = None,
        generator: Generators = None,
        adjust: Adjust | None = None,
        tile: int | None = None,
        clamp: bool = True,
        callback: StepCallback | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Restore pictures.

        Args:
            dark: (b, 3, h, w) float in [0, 1], any size from 1×1 up.
            sampling: steps, exposure and so on; None for what the configuration says, and for no changes.
            noise: the starting noise, of shape `noise_shape(dark)`; drawn from `generator` when not given.
            generator: one for the batch, or a list with one per picture, which makes a picture's result independent
                of its batch.
            adjust: called with the restored latent and the dark picture's own, both (b, c, h/8, w/8) in [0, 1] and as
                small as the UNet sees them; returns the latent to go on with, before the exposure changes.
            tile: encode and decode in windows of at most so many pixels to a side, which bounds the memory; the result
                is the same. None for the whole picture at once.
            clamp: limit the result to [0, 1] (the latent always is, and a result in the dark picture's colours).
            callback: called as (step index, timestep, x₀ estimate in [-1, 1]) after each step.
            progress: called with the share that is done, in (0, 1], after each window that is encoded or decoded, each
                step and each strip of colours; what it raises ends the call.

        Returns:
            (b, 3, h, w) float32.

        Raises:
            ValueError: an argument is of another shape, or `check` refuses `sampling`.
        """
        if dark.ndim != 4 or dark.shape[1] != 3 or dark.numel() == 0 or not dark.is_floating_point():
            raise ValueError(f"dark: expected float (b, 3, h, w), got {dark.dtype} {tuple(dark.shape)}")
        if noise is not None and noise.shape != self.noise_shape(dark):
            raise ValueError(f"noise: expected shape {self.noise_shape(dark)}, got {tuple(noise.shape)}")
        sampling = Sampling() if sampling is None else sampling
        self.check(sampling)
        height, width = dark.shape[2:]
        image, mean = _pad(dark.float(), self.config.multiple), dark.float().mean(dim=(1, 2, 3))
        tiles = split(image.shape[2], image.shape[3], tile, self.config.halo, self.config.multiple)
        work = self._work(image, tiles, sampling, progress)
        skips: Skips | None = None
        with self.autocast(dark.device):
            if len(tiles) == 1:
                latent, skips = self.model.encode(image, mean)
                work.add(_ENCODING * image[0, 0].numel())
            else:
                latent = self._latent_of_tiles(image, tiles, work)
            seen, seen_latent = self._seen(image, latent)
            condition = self.model.condition(seen, seen_latent, mean)
        if noise is None:
            noise = gaussian_noise(self.noise_shape(dark), generator, dark.device, torch.float32)

        def stepped(index: int, timestep: int, x0: Tensor) -> None:
            if callback is not None:
                callback(index, timestep, x0)
            work.add(_STEP * seen[0, 0].numel())

        restored = self.sample_latent(seen_latent, condition, noise, sampling, generator=generator, callback=stepped)
        restored = restored.clamp(0.0, 1.0)
        if adjust is not None:
            restored = adjust(restored, seen_latent.float())
        if stops := sampling.exposure:
            restored = self.model.apply_tone_curve(restored, lambda values: exposed(values, stops))
        if seen is not image:
            restored = self.model.enlarge(restored, seen_latent.float(), latent.float())
        if skips is None:
            output = self._decode_tiles(image, mean, restored, tiles, work)
        else:
            output = self.decode(restored, skips)
            work.add(_DECODING * image[0, 0].numel())
        del skips  # the memory is wanted for the colours
        if self.config.input_colours:
            strip, width_ = _STRIP if tile is None else tile**2 // 2, image.shape[3]
            output = correct_in_strips(image, output, strip, lambda rows: work.add(_COLOURS * rows * width_))
        elif clamp:
            output = output.clamp_(0.0, 1.0)
        output = output[..., :height, :width]
        return output if sampling.strength == 1 else torch.lerp(dark.float(), output, sampling.strength)

    def check(self, sampling: Sampling) -> None:
        """ValueError if the scheduler or the architecture can't do this."""
        self.scheduler.timestep_list(*self._steps_and_start(sampling))
        if sampling.exposure and not self.model.exposure_control:
            raise ValueError(
                f"exposure: expected 0, the architecture {self.config.architecture!r} has no control, "
                f"got {sampling.exposure:g}"
            )

    def _steps_and_start(self, sampling: Sampling) -> tuple[int, int | None]:
        steps, start = sampling.num_inference_steps, sampling.start_timestep
        return (
            self.config.num_inference_steps if steps is None else steps,
            self.config.start_timestep if start is None else start,
        )

    def _work(self, image: Tensor, tiles: list[Tile], sampling: Sampling, progress: Progress | None) -> Work:
        """All that is to be done for a padded picture, in units of about equal time."""
        seen, windows = math.prod(self._seen_size(*image.shape[2:])), sum(map(_pixels, tiles))
        steps = len(self.scheduler.timestep_list(*self._steps_and_start(sampling)))
        each = _ENCODING + _DECODING + (_LATENT if len(tiles) > 1 else 0)
        colours = _COLOURS * image[0, 0].numel() if self.config.input_colours else 0
        return Work(each * windows + _STEP * steps * seen + colours, progress)

    def _latent_of_tiles(self, image: Tensor, tiles: list[Tile], work: Work) -> Tensor:
        b, _, h, w = image.shape
        latent = image.new_empty((b, self.config.latent_channels, h // 8, w // 8))
        for tile in tiles:
            latent[(..., *tile.core(8))] = self.model.latent(image[(..., *tile.window())])[(..., *tile.inner(8))]
            work.add(_LATENT * _pixels(tile))
        return latent

    def _decode_tiles(self, image: Tensor, mean: Tensor, latent: Tensor, tiles: list[Tile], work: Work) -> Tensor:
        output = torch.empty_like(image)
        for tile in tiles:
            with self.autocast(image.device):
                _, skips = self.model.encode(image[(..., *tile.window())], mean)
            window = self.decode(latent[(..., *tile.window(8))], skips)
            output[(..., *tile.core())] = window[(..., *tile.inner())]
            work.add((_ENCODING + _DECODING) * _pixels(tile))
        return output

    def _seen(self, image: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
        """What the UNet is shown of a padded picture and its latent: both themselves, or shrunk."""
        size = self._seen_size(image.shape[2], image.shape[3])
        if size == image.shape[2:]:
            return image, latent
        shrunk = F.interpolate(image, size=size, mode="area")
        return shrunk, self.model.latent(shrunk)

    def _seen_size(self, height: int, width: int) -> tuple[int, int]:
        """Size in which the UNet sees a padded picture, in multiples of `multiple`."""
        limit = self.config.context
        if limit is None or max(height, width) <= limit:
            return height, width
        longest, multiple = max(height, width), self.config.multiple
        return tuple(max(1, seen_units(side, longest, limit, multiple)) * multiple for side in (height, width))  # type: ignore[return-value]

    def sample_latent(
        self,
        latent: Tensor,
        condition: Tensor,
        noise: Tensor,
        sampling: Sampling | None = None,
        *,
        timesteps: Sequence[int] | None = None,
        generator: Generators = None,
        callback: StepCallback | None = None,
        predict: Predict | None = None,
    ) -> Tensor:
        """The restored latent (b, c, h/8, w/8), in [0, 1] scale but not clamped, for a dark one and its condition.

        Of `sampling` it takes steps, start and eta; `timesteps`, descending, are in place of so many evenly spaced.
        `predict` takes the UNet's place, (x_t, t) → float32; by default it is the UNet with this condition.
        """
        sampling = Sampling() if sampling is None else sampling
        steps, start = self._steps_and_start(sampling)
        with self.autocast(noise.device):  # one context: where weights are cached, they are converted once
            x0 = sample(
                predict or (lambda x, t: self.unet(x, t, condition).float()),
                self.scheduler,
                noise,
                steps if timesteps is None else timesteps,
                start_timestep=start,
                condition_latent=2.0 * latent - 1.0,
                eta=sampling.eta,
                generator=generator,
                callback=callback,
            )
        return (x0 + 1.0) / 2.0

    def transfer(self, content: Tensor, exposure: Tensor) -> Tensor:
        """`content` rendered at the exposure and colour of `exposure`, both (b, 3, h, w) in [0, 1]; no sampling.

        With a reference as `exposure` this is the best that the decoder can do with a perfect latent.
        """
        height, width = content.shape[2:]
        with self.autocast(content.device):
            _, skips = self.model.encode(_pad(content, self.config.multiple), mean=content.mean(dim=(1, 2, 3)))
            latent = self.model.latent(_pad(exposure, self.config.multiple))
        return self.decode(latent.float(), skips)[..., :height, :width].clamp(0.0, 1.0)

    def predict(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """The UNet's float32 prediction for x_t (b, c, h, w) at timesteps t (b,)."""
        with self.autocast(x.device):
            prediction: Tensor = self.unet(x, t, condition).float()
            return prediction

    def decode(self, latent: Tensor, skips: Skips) -> Tensor:
        """The decoder's float32 image, not clamped."""
        with self.autocast(latent.device):
            return self.model.decode(latent, skips).float()

    def noise_shape(self, dark: Tensor) -> tuple[int, int, int, int]:
        """Shape of the starting noise for pictures (b, 3, h, w)."""
        b, _, h, w = dark.shape
        m = self.config.multiple
        height, width = self._seen_size(-(-h // m) * m, -(-w // m) * m)
        return b, self.config.latent_channels, height // 8, width // 8

    @property
    def first_and_last(self) -> tuple[str, ...]:
        """Names of the weights between pixels or latents and features, of all networks."""
        names = [
            ("model", self.model.first_and_last),
            ("model.retinex", () if self.model.retinex is None else self.model.retinex.first_and_last),
            ("unet", self.unet.first_and_last),
        ]
        return tuple(f"{part}.{name}" for part, own in names for name in own)

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context that the networks run in."""
        if self.autocast_dtype is None:
            return nullcontext()
        return torch.autocast(device.type, self.autocast_dtype)


def seen_units(side: Length, longest: Length, limit: int, multiple: int) -> Length:
    """`side · limit / longest` in units of `multiple`, rounded; in integers, which are the same on every machine."""
    return (2 * side * limit + longest * multiple) // (2 * longest * multiple)


def _pixels(tile: Tile) -> int:
    """Pixels of a tile's window."""
    rows, columns = tile.rows, tile.columns
    return (rows.last - rows.first) * (columns.last - columns.first)


def context_noise(argument: str, config: RestorerConfig, seed: int) -> Tensor:
    """The starting noise (1, c, s, s) of which every size of picture needs a corner, since the UNet sees none larger.

    Raises ValueError, which names `argument`, for weights without a limit to what the UNet sees.
    """
    if config.context is None:
        raise ValueError(
            f"{argument}: expected weights whose UNet sees at most so many pixels (their `context`), got none"
        )
    side = -(-config.context // config.multiple) * config.multiple // 8
    shape, generator = (1, config.latent_channels, side, side), torch.Generator().manual_seed(seed)
    return gaussian_noise(shape, generator, torch.device("cpu"), torch.float32)


def _pad(image: Tensor, multiple: int) -> Tensor:
    """`image` extended on the right and bottom to multiples of `multiple`, by reflection as far as it goes."""
    height, width = image.shape[2:]
    bottom, right = -height % multiple, -width % multiple
    if bottom or right:
        reflected = min(bottom, height - 1), min(right, width - 1)
        image = F.pad(image, (0, reflected[1], 0, reflected[0]), mode="reflect")
        image = F.pad(image, (0, right - reflected[1], 0, bottom - reflected[0]), mode="replicate")
    return image
