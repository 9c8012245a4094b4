"""The sensor model: what a camera makes of a well-lit scene when there is little light.

    linear = sRGB⁻¹(target) · 2^exposure · tint          light that reaches the sensor, per channel
    noisy  = linear + n,  var n = shot·g·linear + (read·g)²      g: the white balance's gain, which amplifies noise too
    dark   = JPEG(round₂₅₅(process(sRGB(clip(noisy)))))

(Poisson–Gaussian model of Foi et al., IEEE TIP 2008.) `process` is what cameras do to noise before they store a JPEG:
they smooth lightness where it is flat, smear colour more, and sharpen what is left, so that noise comes as mottle.

In the dark frames of LOL v1 (151 of its 453 training pairs, the flattest 16×16 blocks of each, code values ≥ 8) was
measured: exposure −7.6 … −3.6 stops (5–95 %, median −5.6); tint per channel with standard deviation 0.28, 0.13, 0.29
stops; var n / linear = 7.3e-5, the same from code value 8 to 64 (3.3e-5 … 1.3e-4 over pictures, 5–95 %), at code value
16 a standard deviation of 2.0, 1.1, 1.5 code values in R, G, B, so that g ≈ 3.0, 1, 1.7; read noise too small to tell
from 0 (< 6e-4); neighbouring pixels uncorrelated (|r| < 0.01), channels r = 0.16–0.27. The default ranges contain these
values and reach beyond: to brighter pictures, to the coarser grain of small sensors, and to JPEG files. There are two
exceptions. Exposure stops at −7.5, just short of the measured 5 % point of −7.6. The tint's standard deviation is 0.15
on purpose, below that of LOL's red and blue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from lightendiff.runtime.extras import needing

with needing("train", "the sensor model"):
    from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
    from kornia.enhance import jpeg_codec_differentiable
    from kornia.filters import get_gaussian_kernel1d

_GRAIN_KERNEL = 5  # pixels; wide enough for grain up to σ ≈ 1


@dataclass(frozen=True)
class SensorParameters:
    """One degradation for each image of a batch; see `SensorModel` for the units.

    All are float tensors (b,), `tint` and `gains` (b, 3).
    """

    exposure: Tensor  # (b,)
    tint: Tensor  # (b, 3)
    shot: Tensor  # (b,)
    read: Tensor  # (b,)
    gains: Tensor  # (b, 3)
    rows: Tensor  # (b,)
    correlation: Tensor  # (b,)
    grain: Tensor  # (b,)
    smoothing: Tensor  # (b,); 0: not processed
    sharpening: Tensor  # (b,)
    jpeg_quality: Tensor  # (b,); above 100: not compressed


@dataclass(frozen=True)
class SensorModel:
    """Ranges (lowest, highest) from which each image's degradation is drawn.

    Attributes:
        exposure: stops, uniform.
        tint: standard deviation of each channel's own exposure, stops, normal.
        shot: variance of the shot noise per unit of linear light (1 = white), log-uniform.
        read: standard deviation of the read noise in linear light, log-uniform.
        red_gain, blue_gain: noise gain of the white balance, that of green being 1, uniform.
        rows: standard deviation of the noise that a whole row shares, as a part of the read noise, uniform.
        correlation: share of the noise's variance that the three channels have in common, uniform.
        grain: σ in pixels of the blur that demosaicing gives the noise (its variance is kept), uniform.
        processed: probability that the camera processes the noise.
        smoothing: noise that it takes for flat, in standard deviations of the noise there is, uniform.
        sharpening: share of the detail of some pixels' size that it adds again, uniform.
        jpeg: probability that the picture is stored as JPEG.
        jpeg_quality: its quality, 1–100, uniform.
    """

    exposure: tuple[float, float] = (-7.5, -1.0)
    tint: float = 0.15
    shot: tuple[float, float] = (1e-5, 4e-4)
    read: tuple[float, float] = (5e-5, 2e-3)
    red_gain: tuple[float, float] = (1.0, 3.2)
    blue_gain: tuple[float, float] = (1.0, 2.2)
    rows: tuple[float, float] = (0.0, 0.3)
    correlation: tuple[float, float] = (0.0, 0.4)
    grain: tuple[float, float] = (0.1, 0.8)
    processed: float = 0.0
    smoothing: tuple[float, float] = (0.5, 3.0)
    sharpening: tuple[float, float] = (0.0, 0.8)
    jpeg: float = 0.4
    jpeg_quality: tuple[float, float] = (60.0, 98.0)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple | list) and (len(value) != 2 or value[0] > value[1]):
                raise ValueError(f"{field.name}: expected (lowest, highest), got {value}")
        for name in ("shot", "read", "grain"):
            if getattr(self, name)[0] <= 0:
                raise ValueError(f"{name}: expected positive numbers, got {getattr(self, name)}")
        for name in ("processed", "jpeg"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a probability, got {getattr(self, name)}")

    def draw(self, count: int, generator: torch.Generator | None = None) -> SensorParameters:
        """Parameters for `count` images, on the generator's device."""
        device = generator.device if generator is not None else None

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(count, generator=generator, device=device)

        def log_uniform(low: float, high: float) -> Tensor:
            return uniform(math.log(low), math.log(high)).exp()

        red, blue = uniform(*self.red_gain), uniform(*self.blue_gain)
        quality = uniform(*self.jpeg_quality)
        smoothing, sharpening = torch.zeros_like(red), torch.zeros_like(red)
        if self.processed > 0:
            processed = uniform(0, 1) < self.processed
            smoothing, sharpening = processed * uniform(*self.smoothing), processed * uniform(*self.sharpening)
        return SensorParameters(
            exposure=uniform(*self.exposure),
            tint=self.tint * torch.randn(count, 3, generator=generator, device=device),
            shot=log_uniform(*self.shot),
            read=log_uniform(*self.read),
            gains=torch.stack([red, torch.ones_like(red), blue], dim=1),
            rows=uniform(*self.rows),
            correlation=uniform(*self.correlation),
            grain=uniform(*self.grain),
            smoothing=smoothing,
            sharpening=sharpening,
            jpeg_quality=torch.where(uniform(0, 1) < self.jpeg, quality, torch.full_like(quality, 101)),
        )


def darken(target: Tensor, parameters: SensorParameters, generator: torch.Generator | None = None) -> Tensor:
    """`target` as a sensor would see it with little light: (b,3,h,w) in [0,1] → the same, float32, in steps of 1/255.

    Noise comes from `generator`, which may live on another device than `target`.
    """
    if target.ndim != 4 or target.shape[1] != 3 or len(parameters.exposure) != len(target):
        raise ValueError(
            f"target: expected (b,3,h,w), b = {len(parameters.exposure)} as in parameters, got {tuple(target.shape)}"
        )
    stops = parameters.exposure[:, None] + parameters.tint
    linear = rgb_to_linear_rgb(target.float()) * torch.exp2(stops).to(target.device)[..., None, None]
    return photograph(linear, parameters, generator)


def photograph(linear: Tensor, parameters: SensorParameters, generator: torch.Generator | None = None) -> Tensor:
    """The picture (b,3,h,w), in steps of 1/255, that a sensor takes of `linear` light: all of `darken` but exposure
    and tint.
    """
    p = {field.name: getattr(parameters, field.name).to(linear.device) for field in fields(parameters)}
    gains = p["gains"][..., None, None]
    read = p["read"][:, None, None, None] * gains
    deviation = (p["shot"][:, None, None, None] * gains * linear + read.square()).sqrt()
    noisy = linear + deviation * _noise(linear, p["grain"], p["correlation"], generator)
    rows = normal((len(linear), 1, linear.shape[2], 1), linear, generator)
    noisy = noisy + p["rows"][:, None, None, None] * read * rows
    dark = linear_rgb_to_rgb(noisy.clamp(0, 1))
    if (processed := p["smoothing"] > 0).any():
        clean = linear_rgb_to_rgb(linear[processed].clamp(0, 1))
        settings = (p[name][processed][:, None, None, None] for name in ("smoothing", "sharpening"))
        dark = dark.index_put((processed,), _processed(dark[processed], clean, *settings))
    dark = _round(dark)
    if (stored := p["jpeg_quality"] <= 100).any():
        dark = dark.index_put((stored,), _round(jpeg_codec_differentiable(dark[stored], p["jpeg_quality"][stored])))
    return dark


def _processed(noisy: Tensor, clean: Tensor, smoothing: Tensor, sharpening: Tensor) -> Tensor:
    """Code values as a camera stores them: lightness smoothed by a guided filter (He et al., 2013), colour twice."""
    variance = (noisy - clean).square().mean((1, 2, 3), keepdim=True)
    lightness = noisy.mean(1, keepdim=True)
    smooth = _guided(lightness, lightness, smoothing.square() * variance, 5)
    colour = _guided(lightness, noisy - lightness, (2 * smoothing).square() * variance, 9)
    detail = smooth - _mean(smooth, 5)
    return smooth + sharpening * detail + _mean(colour, 5)


def _guided(guide: Tensor, picture: Tensor, flat: Tensor, side: int) -> Tensor:
    """`picture` (b, c, h, w) as lines in `guide` (b, 1, h, w) whose variance exceeds `flat`."""
    mean, own = _mean(guide, side), _mean(picture, side)
    slope = (_mean(guide * picture, side) - mean * own) / (_mean(guide * guide, side) - mean * mean + flat + 1e-8)
    return _mean(slope, side) * guide + _mean(own - slope * mean, side)


def _mean(x: Tensor, side: int) -> Tensor:
    """Means over `side`² pixels around each."""
    return F.avg_pool2d(F.pad(x, [side // 2] * 4, mode="replicate"), side, stride=1)


def normal(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers on `like`'s device from a generator that may live on another; None is the global one."""
    device = generator.device if generator is not None else like.device
    return torch.randn(shape, generator=generator, device=device).to(like.device)


def _noise(like: Tensor, grain: Tensor, correlation: Tensor, generator: torch.Generator | None) -> Tensor:
    """(b,3,h,w) noise of unit variance, blurred with σ = `grain` (b,), channels correlated by `correlation` (b,)."""
    b, _, h, w = like.shape
    white = normal((b, 4, h, w), like, generator)
    share = correlation[:, None, None, None]
    mixed = (1 - share).sqrt() * white[:, :3] + share.sqrt() * white[:, 3:]
    kernel = get_gaussian_kernel1d(_GRAIN_KERNEL, grain[:, None])
    kernel = (kernel / kernel.norm(dim=1, keepdim=True)).repeat_interleave(3, dim=0)  # unit energy keeps the variance
    planes = F.pad(mixed.reshape(1, 3 * b, h, w), [_GRAIN_KERNEL // 2] * 4, mode="circular")
    planes = F.conv2d(planes, kernel[:, None, :, None], groups=3 * b)
    return F.conv2d(planes, kernel[:, None, None, :], groups=3 * b).reshape(b, 3, h, w)


def _round(image: Tensor) -> Tensor:
    return (image.clamp(0, 1) * 255).round() / 255
