from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lightendiff.models.autoencoder import Autoencoder
from lightendiff.models.lean import LeanDecoder, LeanEncoder
from lightendiff.models.presets import PRESETS, PresetName, RestorerConfig, build_autoencoder
from lightendiff.restorer import Restorer
from lightendiff.tone import gamma_decode, gamma_encode


def build(preset: PresetName = "tiny", seed: int = 0) -> Autoencoder:
    torch.manual_seed(seed)
    return build_autoencoder(PRESETS[preset]).eval()


def image(mean: float = 0.1, size: tuple[int, int] = (48, 64), count: int = 2) -> Tensor:
    noise = torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(1))
    return 2.0 * mean * noise


@pytest.mark.parametrize("preset", ["tiny", "default"])
def test_shapes(preset: PresetName) -> None:
    config, model = PRESETS[preset], build(preset)
    dark = image(size=(48, 80))
    with torch.inference_mode():
        latent, (same, *features) = model.encode(dark)
        condition = model.condition(dark, latent)
        output = model.decode(latent, [same, *features])
    assert latent.shape == (2, 3, 6, 10)
    assert [tuple(f.shape) for f in features] == [
        (2, width, 48 // 2**level, 80 // 2**level) for level, width in enumerate(config.channels, start=1)
    ]
    assert torch.equal(same, dark)
    assert condition.shape == (2, 3 + config.condition_features, 6, 10)
    assert output.shape == (2, 3, 48, 80)
    assert output.dtype == latent.dtype == torch.float32


@pytest.mark.parametrize("mean", [0.0, 0.01, 0.5])
def test_latent_is_within_its_range_and_the_same_alone(mean: float) -> None:
    model = build()
    with torch.inference_mode():
        latent, _ = model.encode(image(mean))
        assert torch.equal(model.latent(image(mean)), latent)
    assert 0 < latent.min() <= latent.max() <= 1


def test_latent_is_the_gamma_encoded_thumbnail() -> None:
    blocks = torch.rand(1, 3, 4, 6)
    picture = blocks.repeat_interleave(8, 2).repeat_interleave(8, 3)
    latent = build().latent(picture)
    torch.testing.assert_close(latent, ((blocks + 1e-3) ** 0.45).clamp(max=1))
    torch.testing.assert_close(gamma_decode(latent), blocks, atol=2e-3, rtol=0)


def test_a_tone_curve_on_a_latent_is_one_on_the_picture() -> None:
    model, flat = build(), torch.rand(2, 3, 1, 1).expand(-1, -1, 16, 24)
    changed = model.apply_tone_curve(model.latent(flat), lambda x: 0.5 * x)
    torch.testing.assert_close(changed, model.latent(0.5 * flat))
    torch.testing.assert_close(model.code_values(model.latent(flat)), flat[..., :2, :3])


@pytest.mark.parametrize(("mean", "scale"), [(0.1, 4.0), (0.02, 20.0), (0.001, 32.0), (0.6, 1.0)])
def test_first_guess_is_the_thumbnail_scaled(mean: float, scale: float) -> None:
    model, dark = build(), torch.full((2, 3, 16, 32), mean) * torch.tensor([0.9, 1.0, 0.5])[:, None, None]
    guess = model.condition(dark, model.latent(dark), torch.full((2,), mean))[:, :3]
    torch.testing.assert_close(guess, 2 * model.latent(scale * dark) - 1, atol=2e-3, rtol=0)


def test_before_training_the_first_guess_is_sampled() -> None:
    restorer, dark = Restorer(PRESETS["tiny"]).eval(), image(0.1)
    with torch.inference_mode():
        bright = restorer(dark, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(bright.mean(), torch.tensor(0.4), atol=0.04, rtol=0)


@pytest.mark.parametrize("size", [(41, 64), (48, 56)])
def test_sizes_must_be_multiples(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"multiples of 16, got \(2, 3, {size[0]}, {size[1]}\)"):
        build().encode(image(size=size))


def test_well_lit_pictures_start_out_unchanged() -> None:
    bright = image(0.45)
    with torch.inference_mode():
        latent, skips = build().encode(bright)
        torch.testing.assert_close(build().decode(latent, skips), bright, atol=0.02, rtol=0)


def test_the_wanted_thumbnail_is_rendered_from_the_start() -> None:
    model, dark = build(), image(0.05, size=(64, 64))
    wanted = torch.linspace(0.2, 0.6, 8).expand(2, 3, 8, 8)  # brighter to the right
    with torch.inference_mode():
        _, skips = model.encode(dark)
        rendered = model.decode(gamma_encode(wanted), skips)
    thumbnail = torch.nn.functional.avg_pool2d(rendered, 8)
    torch.testing.assert_close(thumbnail, wanted, atol=0.15, rtol=0)
    assert (thumbnail.mean(dim=(1, 2))[:, 1:] > thumbnail.mean(dim=(1, 2))[:, :-1]).all()


def test_gains_are_bounded() -> None:
    model, dark = build(), torch.full((1, 3, 16, 16), 1e-4)
    with torch.inference_mode():
        _, skips = model.encode(dark)
        torch.nn.init.zeros_(model.decoder.head.weight)
        model.decoder.head.bias.copy_(torch.tensor([1e4] * 12 + [0.0] * 12))  # gains come first, then residuals
        brightest = model.decode(torch.ones(1, 3, 2, 2), skips).max()
        assert 0.5 * dark.max() * math.exp(4.5 + 2.0) < brightest < dark.max() * math.exp(4.5 + 2.0)
        lit = torch.full((1, 3, 16, 16), 0.002)
        lit[..., 8, 8] = 1.0  # a lamp at night, multiplied by the gain of its surroundings
        _, skips = model.encode(lit)
        torch.nn.init.zeros_(model.decoder.head.bias)
        assert model.decode(torch.ones(1, 3, 2, 2), skips).max() < 2.0


@pytest.mark.parametrize(("wish", "least", "most"), [(1.0, 1.0, 1.05), (0.9, 1.0, 1.0), (0.5, 0.5, 0.6)])
def test_white_stays_white_unless_the_latent_asks_for_much_darker(wish: float, least: float, most: float) -> None:
    model, white = build(), torch.full((1, 3, 32, 32), 0.95)
    grey = torch.full_like(white, 0.8)
    with torch.inference_mode():
        _, skips = model.encode(white)
        ratio = model.decode(model.latent(wish * white), skips) / white
        assert ratio.min() >= least - 1e-3
        assert ratio.mean() <= most + 0.02
        _, skips = model.encode(grey)  # what isn't white follows
        ratio = model.decode(model.latent(wish * grey), skips) / grey
        torch.testing.assert_close(ratio.mean(), torch.tensor(wish), atol=0.02, rtol=0)


def test_gradient_is_finite_at_black() -> None:
    model = build()
    black = torch.zeros(1, 3, 16, 16, requires_grad=True)
    latent, skips = model.encode(black)
    model.decode(latent, skips).sum().backward()
    assert black.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_only_the_decomposition_freezes() -> None:
    model = build()
    model.freeze_latent()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, _ in model.named_parameters() if name.startswith("retinex.")}


def reach(config: RestorerConfig) -> int:
    """How many pixels to each side a decoded pixel can depend on: a 3×3 convolution at ½, ¼, ⅛ … reaches 2, 4, 8 …"""
    pixels = [2 ** (level + 1) for level in range(len(config.channels))]
    blocks = [
        sum(2 * n * p for n, p in zip(counts, pixels, strict=True))
        for counts in (config.encoder_blocks, config.decoder_blocks)
    ]
    pyramid = 2 + blocks[0]  # the stem
    latent = 8 + 8  # the modulation, and interpolation of the gain
    grid = pixels[-1] - 1  # positions of the deepest level stand for so many pixels
    return max(pyramid, latent) + blocks[1] + 2 + grid  # the head


@pytest.mark.parametrize(("preset", "side"), [("tiny", 320), ("default", 448)])
def test_nothing_is_seen_beyond_the_reach(preset: PresetName, side: int) -> None:
    model, picture = build(preset), image(size=(side, side), count=1).requires_grad_()
    # let everything inside count, which at first is close to the identity
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    latent, skips = model.encode(picture, torch.tensor([0.1]))
    model.decode(latent, skips)[0, :, side // 2, side // 2].sum().backward()
    seen = picture.grad[0].abs().sum(0).nonzero() - side // 2
    assert seen.abs().max() <= reach(PRESETS[preset]) < side // 2
    assert seen.abs().max() > reach(PRESETS[preset]) // 2


def test_with_a_given_mean_distant_pixels_do_not_matter() -> None:
    model, whole = build(), image(size=(32, 416), count=1)
    other = whole.clone()
    other[..., 208:] = other[..., 208:].flip(3) ** 2
    edge = 208 - reach(PRESETS["tiny"])
    with torch.inference_mode():
        mean = torch.tensor([0.1])
        a, b = (model.decode(*model.encode(x, mean))[..., :edge] for x in (whole, other))
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)
        own_means = [model.decode(*model.encode(x))[..., :edge] for x in (whole, 0.5 * other)]
    assert (own_means[0] - own_means[1]).abs().max() > 1e-3


def test_levels_must_agree() -> None:
    with pytest.raises(ValueError, match="shorter"):
        LeanEncoder((8, 16, 16), (1, 1), 4)
    with pytest.raises(ValueError, match="longer"):
        LeanDecoder((8, 16), (1, 1, 1))
    with pytest.raises(ValueError, match="latent_channels: expected 3, those of a thumbnail, got 4"):
        build_autoencoder(replace(PRESETS["tiny"], latent_channels=4))
