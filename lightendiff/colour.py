"""Colour and darkness from the input: what a pixel's signal bears is computed, the network answers for the rest.

A restored picture's lightness and detail are the network's. Its hue and chroma are the dark picture's own wherever
light enough fell on them to be trusted, since more light changes neither. That includes places where a channel is
clipped: a sunset's hue isn't the sky's any more, but it is the one that was seen. Where the dark picture holds no
signal at all, nothing can be restored: there the result is smooth and stays dark.

All of it happens in linear light. A colour is the relative chroma ρ = (R, G, B)/Y - 1, which no exposure changes:

    restored' = restored + Y · (ρ_dark - ρ_restored)

keeps the luminance Y, and whatever is averaged over has the colour of the dark picture's own average, exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 4  # pixels to a side in whose means colours are compared: noise averages out, edges stay near
LUMINANCE = (0.2126, 0.7152, 0.0722)  # Rec. 709, of linear sRGB
BLACK = 2e-4  # luminance added below a ratio of colours, a fraction of one code value: black has no colour

# Trust in the dark picture's colours, by its luminance. Code values 13 to 42: below, a camera's bias and quantisation
# make them worse than the network's (from 0.0008 on, LOL v1 loses 0.9 dB); above, nothing is gained.
TRUST = 0.004, 0.024
FITTED = 5  # blocks to a side in which colours are fitted to edges
FLAT = 1e-3  # variance of the guide (code values² of [0, 1]) that counts as noise, not as an edge

# Where lightness and chroma don't both fit. On 26 wild photos 0.1 % of the pixels come to have a channel at white, at
# the gamut's hard edge 4.4 %, and their lit and colourful places keep their chroma and more, × 1.1.
SATURATED = 0.2, 0.5  # (max - Y)/max from which lightness begins to give way to chroma, and does so wholly
LIT = 0.02, 0.1  # the dark picture's largest channel, in linear light, from which it does
HOLD = 0.8  # of the way from the dark picture's own brightness to CEILING before it begins to
CEILING = 0.95  # largest channel, in linear light, that a saturated place is brightened to
KNEE, HELD_KNEE, EDGE = 0.7, 0.98, 0.9  # share of the gamut's chroma from which it rolls off, and that it never exceeds

# Signal, in steps of 8 bits: a level, or noise enough to dither it. Night photos' empty places have levels of 0.9 to
# 1.5 and, within blocks, noise of 0.7 to 1.0; LOL's darkest ones have 0.9 to 1.8 and 1.0 to 1.3, and bear signal.
LEVEL = 1.4, 4.1
DITHER = 0.85, 1.35
SPREAD = 0.75  # share of the deviation of levels, which is structure, that counts as signal, too
PEAK = 0.5  # share of a block's own level that does: of stars and lamps
FLOOR = 0.465  # what remains of the light where there is no signal
COLOURLESS = 0.8  # share of the colour that goes there
SMOOTH = 9  # blocks to a side over which such a place is averaged

REACH = 48  # pixels beyond one that decide over it


def correct(dark: Tensor, restored: Tensor) -> Tensor:
    """`restored` in the colours of `dark`, and dark where that holds no signal. Differentiable.

    Args:
        dark, restored: (b, 3, h, w) float32, sRGB code values, `dark` in [0, 1]; what of `restored` lies outside
            counts as 0 or 1.

    Returns:
        (b, 3, h, w) in [0, 1].
    """
    height, width = dark.shape[2:]
    dark, restored = (whole_blocks(image) for image in (dark, restored.clamp(0.0, 1.0)))
    largest = dark.amax(dim=1, keepdim=True)
    level = _blocks(largest)
    out = recoloured(restored, *trusted_light(dark), largest, to_linear(largest))
    out = _darkened(out, _emptiness(level, _blocks(largest * largest)))
    return to_code(out)[..., :height, :width].clamp(0.0, 1.0)


def correct_in_strips(
    dark: Tensor, restored: Tensor, pixels: int, done: Callable[[int], object] = lambda rows: None
) -> Tensor:
    """What `correct` makes of pictures whose sides are multiples of `BLOCK`, in strips of some `pixels` at a time.

    It bounds the memory. Without gradients, `restored` is overwritten with the result. `done` is told the rows of each
    strip.
    """
    height, width = dark.shape[2:]
    rows = max(1, pixels // (BLOCK * width)) * BLOCK
    if rows >= height or (torch.is_grad_enabled() and (dark.requires_grad or restored.requires_grad)):
        corrected = correct(dark, restored)
        done(height)
        return corrected
    above = restored[:, :, :0]
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        first, last = max(0, top - REACH), min(height, bottom + REACH)
        strip = torch.cat([above, restored[:, :, top:last]], dim=2)
        above = strip[:, :, max(0, bottom - REACH) - first : bottom - first].clone()  # before it is overwritten
        restored[:, :, top:bottom] = correct(dark[:, :, first:last], strip)[:, :, top - first : bottom - first]
        done(bottom - top)
    return restored


def recoloured(picture: Tensor, seen: Tensor, trust: Tensor, guide: Tensor, lit: Tensor) -> Tensor:
    """Linear light of `picture` in the colours of `seen`, as far as those can be trusted.

    Args:
        picture: (b, 3, h, w) code values, sides multiples of `BLOCK`.
        seen, trust: (b, 3, h/4, w/4) linear light at any exposure, and (b, 1, h/4, w/4) from 0 to 1.
        guide: (b, 1, h, w) whose edges colours don't run over.
        lit: (b, 1, h, w) linear light that decides how far a saturated place gives way in lightness.
    """
    out = to_linear(picture)
    slope, offset = _fitted(_rho(seen) - _rho(to_linear(_blocks(picture))), trust, _blocks(guide))
    brightness = _luminance(out)
    wanted = out + brightness * _all_channels(slope * guide + offset)
    return _in_gamut(wanted, brightness, lit)


def trusted_light(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Linear light of the blocks of a picture, (b, 3, h/4, w/4), and how far its colour can be trusted, from 0 to 1."""
    light = to_linear(_blocks(picture))
    return light, _ramp(_luminance(light), TRUST)


def _rho(light: Tensor) -> Tensor:
    """ρ + 1 of red and blue, (b, 2, h, w)."""
    return light[:, ::2] / (_luminance(light) + BLACK)


def _all_channels(difference: Tensor) -> Tensor:
    """A difference of ρ in red and blue with that in green, which follows since luminance doesn't change."""
    red, blue = difference.chunk(2, dim=1)
    return torch.cat([red, -(LUMINANCE[0] * red + LUMINANCE[2] * blue) / LUMINANCE[1], blue], dim=1)


def _fitted(difference: Tensor, trust: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
    """Lines in `guide` that give the difference (b, 2, ·, ·) of blocks, as far as they can be trusted.

    He and Sun's fast guided filter (2015), with weights: evaluated on the guide's own pixels, a line keeps colours from
    running over edges. What a block can't be trusted with is up to those around it that can.

    Returns:
        slope and offset, (b, 2, h, w) each, for every pixel.
    """
    ones = torch.ones_like(guide)
    moments = _box(trust * torch.cat([ones, guide, guide * guide, difference, guide * difference], 1), FITTED)
    weight = moments[:, :1].clamp(min=1e-4)
    mean, square, value, product = (moments[:, 1:] / weight).split((1, 1, 2, 2), dim=1)
    slope = (product - mean * value) / ((square - mean * mean).clamp(min=0.0) + FLAT)
    offset = value - slope * mean
    reach = trust + (1.0 - trust) * _box(trust, FITTED)
    slope, offset = _enlarged(torch.cat([reach * slope, reach * offset], 1)).chunk(2, dim=1)
    return slope, offset


def _in_gamut(wanted: Tensor, brightness: Tensor, lit: Tensor) -> Tensor:
    """Colours of luminance `brightness` brought into [0, 1]: where saturated ones are `lit` darker, else paler."""
    largest = wanted.amax(dim=1, keepdim=True)
    hold = _ramp(1.0 - brightness / largest.clamp(min=1e-4), SATURATED) * _ramp(lit, LIT)
    knee = lit + HOLD * (CEILING - lit)
    held = 1.0 - hold * _excess(largest, knee, (CEILING - knee).clamp(min=0.01)) / largest.clamp(min=1e-4)

    share = held * (largest - brightness) / (EDGE * (1.0 - held * brightness)).clamp(min=1e-3)
    knee = KNEE + (HELD_KNEE - KNEE) * hold
    paler = 1.0 - _excess(share, knee, 1.0 - knee) / share.clamp(min=1e-3)
    positive = brightness / (brightness - wanted.amin(dim=1, keepdim=True).clamp(max=0.0)).clamp(min=1e-6)
    chroma = held * torch.minimum(paler, positive)
    return chroma * wanted + (held - chroma) * brightness


def _emptiness(level: Tensor, square: Tensor) -> Tensor:
    """Where there is no signal, (b, 1, ·, ·) from 0 to 1.

    `level` and `square` are means over blocks of the dark picture's brightest channel and of its square.
    """
    level, square = 255.0 * level, 255.0**2 * square
    noise = _box((square - level * level).clamp(min=1e-6), 5).sqrt()
    mean, square = _box(torch.cat([level, level * level], 1), 5).chunk(2, dim=1)
    spread = (square - mean * mean).clamp(min=1e-6).sqrt()
    above = torch.maximum(mean + SPREAD * spread, PEAK * F.max_pool2d(level, 3, 1, 1))
    return 1.0 - _box(torch.maximum(_smooth_ramp(above, LEVEL), _smooth_ramp(noise, DITHER)), 5)


def _darkened(out: Tensor, empty: Tensor) -> Tensor:
    """`out` smooth, colourless and with less light where blocks are empty."""
    weight = empty + 1e-3  # what is lit doesn't run into what isn't
    smooth = _box(_box(weight * _blocks(out), SMOOTH) / _box(weight, SMOOTH), 5)
    smooth = (1.0 - COLOURLESS) * smooth + COLOURLESS * _luminance(smooth)
    light = 1.0 - (1.0 - FLOOR) * empty
    parts = torch.cat([light * empty * smooth, light * (1.0 - empty)], dim=1)
    smooth, share = _enlarged(parts).split((3, 1), dim=1)
    result: Tensor = share * out + smooth
    return result


def to_linear(code: Tensor) -> Tensor:
    """Linear light of sRGB code values, both in [0, 1] (IEC 61966-2-1)."""
    above = code.clamp(min=0.04045)
    power = (above + 0.055).div_(1.055) ** 2.4
    return power.add_((code - above).div_(12.92))


def to_code(light: Tensor) -> Tensor:
    """The inverse of `to_linear`."""
    above = light.clamp(min=0.0031308)
    power = 1.055 * above ** (1.0 / 2.4)
    return power.sub_(0.055).add_((light - above).mul_(12.92))


def _luminance(light: Tensor) -> Tensor:
    red, green, blue = light.split(1, dim=1)
    result: Tensor = LUMINANCE[0] * red + LUMINANCE[1] * green + LUMINANCE[2] * blue
    return result


def _excess(x: Tensor, knee: Tensor, room: Tensor) -> Tensor:
    """What x has to lose to be as it is up to `knee`, and beyond that to approach `knee + room`."""
    above = (x - knee).clamp(min=0.0)
    return above * above / (above + room)


def _ramp(x: Tensor, ends: tuple[float, float]) -> Tensor:
    return ((x - ends[0]) / (ends[1] - ends[0])).clamp(0.0, 1.0)


def _smooth_ramp(x: Tensor, ends: tuple[float, float]) -> Tensor:
    t = _ramp(x, ends)
    return t * t * (3.0 - 2.0 * t)


def whole_blocks(image: Tensor) -> Tensor:
    """`image` extended on the right and bottom to sides that are multiples of `BLOCK`."""
    h, w = image.shape[2:]
    return F.pad(image, (0, -w % BLOCK, 0, -h % BLOCK), mode="replicate") if h % BLOCK or w % BLOCK else image


def _blocks(x: Tensor) -> Tensor:
    """Means of blocks."""
    return F.avg_pool2d(x, BLOCK)


def _enlarged(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=float(BLOCK), mode="bilinear")


def _box(x: Tensor, side: int) -> Tensor:
    """Means over `side`² positions around each."""
    x = F.pad(x, (side // 2,) * 4, mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(x, (side, 1), 1), (1, side), 1)
