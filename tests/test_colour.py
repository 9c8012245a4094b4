"""Colour and darkness from the input: what must hold whatever the networks make of a picture."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from torch import Tensor
from torch.nn import functional as F

from lightendiff import LightenPipeline, Restorer
from lightendiff.colour import BLOCK, REACH, correct, correct_in_strips, to_code, to_linear
from lightendiff.models.presets import PRESETS


def plain(*code: float, size: int = 64) -> Tensor:
    """A picture of one colour, given in code values of 255."""
    return (torch.tensor(code) / 255).view(1, 3, 1, 1).expand(1, 3, size, size).clone()


def noisy(picture: Tensor, deviation: float, seed: int = 0) -> Tensor:
    """`picture` with noise of so many code values, in whole ones."""
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(seed)) * deviation / 255
    return ((picture + noise).clamp(0, 1) * 255).round() / 255


def landscape(height: int = 320, width: int = 192) -> tuple[Tensor, Tensor]:
    """A colourful dark picture, of which a third is nearly black, and some restoration of it in other colours."""
    generator = torch.Generator().manual_seed(0)
    dark = (
        F.interpolate(torch.rand((1, 3, 10, 6), generator=generator), (height, width), mode="bicubic").clamp(0, 1) ** 3
    )
    dark[:, :, height // 3 : height * 2 // 3] *= 0.02
    dark = noisy(dark * 0.5, 0.7)
    return dark, (4 * dark.flip(1)).clamp(0, 1) ** 0.7


def lab(picture: Tensor) -> np.ndarray:
    return rgb2lab(picture[0].mean(dim=(1, 2)).numpy())


def hue(picture: Tensor) -> float:
    return float(np.degrees(np.arctan2(*lab(picture)[:0:-1])))


def chroma(picture: Tensor) -> float:
    return float(np.hypot(*lab(picture)[1:]))


def luminance(picture: Tensor) -> float:
    red, green, blue = to_linear(picture).mean(dim=(0, 2, 3)).tolist()
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# ---- colour

LIT = {"blue dusk": (60, 80, 120), "lamp": (140, 90, 40), "skin": (110, 80, 66), "leaf": (60, 90, 50)}


@pytest.mark.parametrize("code", LIT.values(), ids=LIT)
def test_hue_is_the_dark_pictures_at_the_networks_lightness(code: tuple[int, ...]) -> None:
    dark = plain(*code)
    turned = to_code(to_linear(dark) * torch.tensor([1.6, 2.4, 1.9]).view(1, 3, 1, 1))
    result = correct(dark, turned)
    gained = to_code(to_linear(dark) * luminance(turned) / luminance(dark))
    assert abs(hue(turned) - hue(dark)) > 3 or abs(chroma(turned) / chroma(gained) - 1) > 0.1
    assert abs(hue(result) - hue(gained)) < 1
    assert chroma(result) == pytest.approx(chroma(gained), rel=0.03)
    assert luminance(result) == pytest.approx(luminance(turned), rel=0.02)


def test_a_real_cast_stays() -> None:
    candle = plain(120, 80, 40)
    assert abs(hue(correct(candle, plain(190, 190, 190))) - hue(candle)) < 2


def test_colours_that_are_right_stay() -> None:
    dark, _ = landscape()
    dark = dark.clamp(min=20 / 255, max=0.6)
    restored = to_code(1.4 * to_linear(dark))
    assert (correct(dark, restored) - restored).abs().max() < 0.02


def test_where_it_is_too_dark_the_networks_colours_stay() -> None:
    dark, restored = plain(6, 4, 9), plain(90, 80, 70)
    assert (correct(dark, restored) - restored).abs().max() < 1e-3


def test_a_sunset_stays_one() -> None:
    sky, greenish = plain(255, 170, 40), plain(250, 235, 60)
    assert abs(hue(correct(sky, greenish)) - hue(sky)) < 5 < abs(hue(greenish) - hue(sky))


def test_no_edge_where_a_channel_reaches_its_limit() -> None:
    red = torch.linspace(200, 300, 256).clamp(max=255)
    sky = (torch.stack([red, 0.5 * red, 0.2 * red]).view(1, 3, 1, 256) / 255).expand(1, 3, 64, 256)
    steps = correct(sky, plain(250, 235, 60, size=256)[:, :, :64]).diff(dim=3).abs()
    assert steps.max() < 2 / 255


def test_white_stays_white() -> None:
    white = plain(255, 255, 255)
    assert correct(white, white).min() > 0.999
    assert correct(plain(245, 243, 250), plain(250, 250, 250)).min() > 240 / 255


def test_lit_saturated_places_give_way_in_lightness_not_in_colour() -> None:
    lamp = plain(200, 90, 20)
    result = correct(lamp, plain(250, 210, 150))
    assert abs(hue(result) - hue(lamp)) < 2
    assert chroma(result) > chroma(lamp)
    assert luminance(lamp) <= luminance(result) < luminance(plain(250, 210, 150))
    assert result.max() < 254 / 255


def test_faint_saturated_places_become_paler_instead() -> None:
    dark, restored = plain(40, 14, 8), plain(235, 215, 205)
    result = correct(dark, restored)
    assert luminance(result) > 0.9 * luminance(restored)
    assert 0 <= result.min() <= result.max() < 254 / 255


def test_edges_have_no_fringe() -> None:
    blue, wall = plain(110, 150, 200), plain(30, 24, 18)
    edge = torch.arange(64) >= 30  # not on a block's border
    dark = torch.where(edge, blue, wall)
    restored = torch.where(edge, plain(225, 235, 240), plain(120, 118, 116))
    result = correct(dark, restored)
    for side, alone in ((edge, correct(blue, plain(225, 235, 240))), (~edge, correct(wall, plain(120, 118, 116)))):
        difference = (result - alone)[..., side].abs().amax(dim=(0, 1, 2))
        assert difference.max() < 12 / 255


def test_exposures_of_one_photo_have_one_colour() -> None:
    pipe = LightenPipeline.from_pretrained(device="cpu", dtype=torch.float32)
    dusk = noisy(plain(40, 52, 80, size=128), 1.0)
    hues = [hue(pipe(dusk, exposure=stops)) for stops in (-1.0, 0.0, 0.5)]
    assert max(hues) - min(hues) < 2
    assert abs(hues[1] - hue(dusk)) < 2


# ---- darkness


def test_where_there_is_no_signal_it_stays_dark_and_smooth() -> None:
    dark = noisy(plain(0.7, 0.7, 0.7, size=128), 0.3)
    plaster = noisy(plain(52, 47, 44, size=128), 8)
    result = correct(dark, plaster)
    assert luminance(result) < 0.5 * luminance(plaster)
    assert 255 * result.mean(dim=1).std() < 1.5
    assert chroma(result) < 0.5 * chroma(plaster)


def test_noise_that_dithers_bears_signal() -> None:
    dark, restored = noisy(plain(1.2, 1.2, 1.2, size=128), 2.6), plain(60, 60, 60, size=128)
    assert luminance(correct(dark, restored)) > 0.9 * luminance(restored)


def test_levels_above_the_steps_of_8_bits_stay() -> None:
    dark, restored = plain(4, 4, 4), plain(70, 66, 60)
    assert (correct(dark, restored) - restored).abs().max() < 1e-3


def test_stars_stay() -> None:
    dark, restored = plain(0, 0, 0, size=128), plain(30, 30, 30, size=128)
    dark[:, :, 63:66, 63:66], restored[:, :, 63:66, 63:66] = 60 / 255, 200 / 255
    assert correct(dark, restored)[:, :, 64, 64].min() > 190 / 255


# ---- as a function


def test_strips_are_the_whole() -> None:
    dark, restored = landscape()
    whole = correct(dark, restored)
    with torch.no_grad():
        for rows in (BLOCK, REACH, 100, 1000):
            strips = correct_in_strips(dark, restored.clone(), rows * dark.shape[3])
            torch.testing.assert_close(strips, whole, atol=1e-6, rtol=0)  # the ends of tensors round apart


def test_no_pixel_depends_on_one_beyond_reach() -> None:
    dark, restored = landscape()
    cut = dark.shape[2] // 2
    inner = correct(dark[:, :, : cut + REACH], restored[:, :, : cut + REACH])
    torch.testing.assert_close(inner[:, :, :cut], correct(dark, restored)[:, :, :cut], atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (9, 4), (33, 34)])
def test_any_size(size: tuple[int, int]) -> None:
    dark = torch.rand((2, 3, *size), generator=torch.Generator().manual_seed(0))
    result = correct(dark, dark.sqrt())
    assert result.shape == dark.shape
    assert 0 <= result.min() <= result.max() <= 1


def test_pictures_of_a_batch_dont_mix() -> None:
    dark, restored = landscape()
    both = correct(torch.cat([dark, dark.flip(3)]), torch.cat([restored, restored.flip(3)]))
    torch.testing.assert_close(both[:1], correct(dark, restored), atol=1e-6, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_gradients_are_finite(value: float) -> None:
    dark, restored = (torch.full((1, 3, 16, 16), value, requires_grad=True) for _ in range(2))
    correct(dark, restored).sum().backward()
    for picture in (dark, restored):
        assert picture.grad is not None
        assert picture.grad.isfinite().all()


def test_gradients_are_those_of_differences() -> None:
    dark, restored = (x[:, :, 40:48, 40:48].double().clamp(0.1, 0.5) for x in landscape())
    assert torch.autograd.gradcheck(lambda x: correct(dark, x), restored.requires_grad_(), atol=1e-4)


def test_transfer_curves_are_inverse_and_those_of_the_standard() -> None:
    code = torch.linspace(0, 1, 1001, dtype=torch.float64)
    expected = torch.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    torch.testing.assert_close(to_linear(code), expected)
    torch.testing.assert_close(to_code(expected), code, atol=1e-6, rtol=0)


# ---- in the restorer


def test_the_configuration_says_whether() -> None:
    assert PRESETS["default"].input_colours
    assert not PRESETS["paper"].input_colours
    stored = PRESETS["default"].to_dict()
    del stored["input_colours"]  # as weights of before have it
    assert not type(PRESETS["default"]).from_dict(stored).input_colours
    dark, _ = landscape()
    torch.manual_seed(0)
    restorer = Restorer(PRESETS["tiny"]).eval().requires_grad_(False)
    noise = torch.randn(restorer.noise_shape(dark))
    with_step = restorer(dark, noise=noise)
    restorer.config = dataclasses.replace(restorer.config, input_colours=False)
    without = restorer(dark, noise=noise, clamp=False)
    assert torch.equal(with_step, correct(dark, without))
    assert not torch.equal(with_step, without.clamp(0, 1))


def test_16_bits_and_floats_are_the_8_bit_picture() -> None:
    pipe = LightenPipeline.from_pretrained(device="cpu", dtype=torch.float32)
    dark = (255 * landscape(96, 96)[0][0].permute(1, 2, 0).numpy()).round().astype(np.uint8)
    eight = pipe(dark).astype(np.float64) / 255
    assert np.abs(pipe(dark.astype(np.uint16) * 257) / 65535 - eight).max() < 0.51 / 255
    assert np.abs(pipe(dark.astype(np.float32) / 255) - eight).max() < 0.51 / 255
