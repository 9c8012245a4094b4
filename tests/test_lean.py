from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lightendiff.models.content_transfer import ContentTransfer
from lightendiff.models.lean import LeanDecoder, LeanEncoder
from lightendiff.models.presets import PRESETS, PresetName, RestorerConfig, build_content_transfer


def build(preset: PresetName = "tiny", seed: int = 0) -> ContentTransfer:
    torch.manual_seed(seed)
    return build_content_transfer(PRESETS[preset]).eval()


def image(mean: float = 0.1, size: tuple[int, int] = (40, 56), count: int = 2) -> Tensor:
    noise = torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(1))
    return 2.0 * mean * noise


@pytest.mark.parametrize("preset", ["tiny", "default"])
def test_shapes(preset: PresetName) -> None:
    config, model = PRESETS[preset], build(preset)
    with torch.inference_mode():
        latent, (same, scale, *features) = model.encode(image())
        condition = model.condition(latent, [same, scale, *features])
        output = model.decode(latent, [same, scale, *features])
    assert latent.shape == (2, config.latent_channels, 5, 7)
    assert [tuple(f.shape) for f in features] == [
        (2, width, 40 // 2**level, 56 // 2**level) for level, width in enumerate(config.channels, start=1)
    ]
    assert torch.equal(same, image())
    assert scale.shape == (2, 1, 1, 1)
    assert condition.shape == (2, config.latent_channels + config.condition_features, 5, 7)
    assert output.shape == (2, 3, 40, 56)
    assert output.dtype == latent.dtype == torch.float32


@pytest.mark.parametrize("mean", [0.0, 0.01, 0.5])
def test_latent_is_within_its_range_and_the_same_alone(mean: float) -> None:
    model = build()
    with torch.inference_mode():
        latent, _ = model.encode(image(mean))
        assert torch.equal(model.latent(image(mean)), latent)
    assert 0 < latent.min() < latent.max() < 1


def test_latent_tells_exposures_apart_from_the_start() -> None:
    latents = [build().latent(image(mean))[:, :3].mean().item() for mean in (0.02, 0.1, 0.5)]
    assert latents[0] + 0.05 < latents[1] < latents[2] - 0.05


@pytest.mark.parametrize("size", [(41, 56), (40, 60)])
def test_sizes_must_be_multiples_of_eight(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"multiples of 8, got \(2, 3, {size[0]}, {size[1]}\)"):
        build().encode(image(size=size))


def test_well_lit_pictures_start_out_unchanged() -> None:
    bright = image(0.45)
    with torch.inference_mode():
        latent, skips = build().encode(bright)
        assert torch.equal(skips[1], torch.ones(2, 1, 1, 1))
        torch.testing.assert_close(build().decode(latent, skips), bright, atol=0.02, rtol=0)


@pytest.mark.parametrize(("mean", "scale"), [(0.1, 4.0), (0.02, 20.0), (0.001, 32.0), (0.0, 32.0)])
def test_dark_pictures_start_out_scaled(mean: float, scale: float) -> None:
    dark = image(mean)
    with torch.inference_mode():
        latent, skips = build().encode(dark, torch.full((2,), mean))
        torch.testing.assert_close(skips[1], torch.full((2, 1, 1, 1), scale))
        torch.testing.assert_close(build().decode(latent, skips), scale * dark, atol=0.05, rtol=0)


def test_gain_is_bounded() -> None:
    model, dark = build(), image()
    with torch.inference_mode():
        latent, skips = model.encode(dark)
        torch.nn.init.zeros_(model.decoder.head.weight)
        model.decoder.head.bias.copy_(torch.tensor([1e4] * 12 + [0.0] * 12))  # gains come first, then residuals
        torch.testing.assert_close(model.decode(latent, skips), dark * skips[1] * math.exp(3.0))


def test_gradient_is_finite_at_black() -> None:
    model = build()
    black = torch.zeros(1, 3, 16, 16, requires_grad=True)
    latent, skips = model.encode(black)
    model.decode(latent, skips).sum().backward()
    assert black.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_only_the_latent_branch_freezes() -> None:
    model = build()
    model.freeze_latent()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen
    assert frozen == {
        name for name, _ in model.named_parameters() if name.startswith(("encoder.to_latent.", "retinex."))
    }


def reach(config: RestorerConfig) -> int:
    """How many pixels to each side a decoded pixel can depend on: 3×3 convolutions at ½, ¼, ⅛ reach 2, 4, 8 pixels."""
    pixels = [2, 4, 8]
    blocks = [
        sum(2 * n * p for n, p in zip(counts, pixels, strict=True))
        for counts in (config.encoder_blocks, config.decoder_blocks)
    ]
    pyramid = 2 + blocks[0]  # the stem
    latent = 3 * 8 + 8  # the branch, and the decoder's modulation
    grid = 7  # positions at ⅛ resolution stand for 8 pixels
    return max(pyramid, latent) + blocks[1] + 2 + grid  # the head


@pytest.mark.parametrize(("preset", "side"), [("tiny", 176), ("default", 240)])
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
    model, whole = build(), image(size=(24, 208), count=1)
    other = whole.clone()
    other[..., 104:] = other[..., 104:].flip(3) ** 2
    edge = 104 - reach(PRESETS["tiny"])
    with torch.inference_mode():
        mean = torch.tensor([0.1])
        a, b = (model.decode(*model.encode(x, mean))[..., :edge] for x in (whole, other))
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)
        own_means = [model.decode(*model.encode(x))[..., :edge] for x in (whole, 0.5 * other)]
    assert (own_means[0] - own_means[1]).abs().max() > 1e-3


def test_encoder_and_decoder_must_agree_on_their_levels() -> None:
    with pytest.raises(ValueError, match="shorter"):
        LeanEncoder(4, (8, 16, 16), (1, 1), 4)
    with pytest.raises(ValueError, match="longer"):
        LeanDecoder(4, (8, 16), (1, 1, 1))
