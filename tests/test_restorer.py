"""The restorer: padding, the start of sampling, noise and generators, precision."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lightendiff.colour import correct
from lightendiff.diffusion.options import Sampling
from lightendiff.models.presets import PRESETS
from lightendiff.restorer import Restorer
from lightendiff.tone import exposed

SIZES = [(1, 1), (1, 50), (7, 3), (33, 31), (32, 64)]


def make_restorer(**changes: object) -> Restorer:
    """A tiny restorer whose weights let everything show through: new ones start close to the identity."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        restorer = Restorer(dataclasses.replace(PRESETS["tiny"], **changes))  # type: ignore[arg-type]
        for tensor in restorer.parameters():
            if tensor.ndim > 1:
                nn.init.normal_(tensor, std=tensor[0].numel() ** -0.5)
    return restorer.eval().requires_grad_(False)


def make_dark(*shape: int) -> Tensor:
    return 0.3 * torch.rand(*(shape or (2, 3, 32, 64)), generator=torch.Generator().manual_seed(1))


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


class Echo(nn.Module):
    """A network that takes its input for the clean latent."""

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        return x


def make_echo() -> Restorer:
    restorer = make_restorer()
    restorer.unet = Echo()  # type: ignore[assignment]
    return restorer


# ---- sizes


@pytest.mark.parametrize("size", SIZES)
def test_any_size_is_kept(size: tuple[int, int]) -> None:
    output = make_restorer()(make_dark(2, 3, *size), generator=seeded(0, 1))
    assert output.shape == (2, 3, *size)
    assert output.dtype == torch.float32
    assert 0 <= output.min() <= output.max() <= 1


@pytest.mark.parametrize("preset", ["tiny", "default", "paper"])
@pytest.mark.parametrize("size", [(1, 1), (64, 64), (65, 127), (400, 600)])
def test_noise_has_an_eighth_of_the_padded_size(preset: str, size: tuple[int, int]) -> None:
    restorer = make_restorer()
    restorer.config = config = PRESETS[preset]  # type: ignore[index]  # its networks play no part in this
    b, c, h, w = restorer.noise_shape(torch.empty(2, 3, *size, device="meta"))
    assert (b, c) == (2, config.latent_channels)
    for latent, pixels in ((h, size[0]), (w, size[1])):
        assert 8 * latent % config.multiple == 0
        assert 0 <= 8 * latent - pixels < config.multiple


def by_hand(restorer: Restorer, padded: Tensor, noise: Tensor, mean: Tensor) -> Tensor:
    latent, skips = restorer.model.encode(padded, mean=mean)
    restored = restorer.sample_latent(latent, restorer.model.condition(padded, latent, mean), noise)
    return correct(padded, restorer.model.decode(restored.clamp(0, 1), skips))


def test_a_multiple_is_not_padded() -> None:
    restorer, dark = make_restorer(), make_dark()
    noise = torch.randn(restorer.noise_shape(dark))
    expected = by_hand(restorer, dark, noise, dark.mean(dim=(1, 2, 3)))
    assert torch.equal(restorer(dark, noise=noise, clamp=False), expected)


@pytest.mark.parametrize(
    ("size", "modes"), [((27, 50), ["reflect"]), ((5, 3), ["reflect", "edge"]), ((1, 1), ["edge"])]
)
def test_other_sizes_are_mirrored_and_cropped(size: tuple[int, int], modes: list[str]) -> None:
    restorer, dark = make_restorer(), make_dark(1, 3, *size)
    noise = torch.randn(restorer.noise_shape(dark))
    padded = dark.numpy()
    for mode in modes:  # a mirror image reaches no further than the picture itself; the edge goes on from there
        missing = [-side % restorer.config.multiple for side in padded.shape[2:]]
        if mode == "reflect":
            missing = [min(m, side - 1) for m, side in zip(missing, size, strict=True)]
        padded = np.pad(padded, ((0, 0), (0, 0), (0, missing[0]), (0, missing[1])), mode=mode)  # type: ignore[call-overload]
    # the mean is that of the picture alone
    expected = by_hand(restorer, torch.from_numpy(padded), noise, dark.mean(dim=(1, 2, 3)))
    output = restorer(dark, noise=noise, clamp=False)
    torch.testing.assert_close(output, expected[..., : size[0], : size[1]], atol=1e-4, rtol=1e-4)


# ---- noise


def test_noise_takes_the_place_of_the_generator() -> None:
    restorer, dark = make_restorer(), make_dark()
    shape = restorer.noise_shape(dark)
    drawn = torch.cat([torch.randn((1, *shape[1:]), generator=g) for g in seeded(3, 4)])
    assert torch.equal(restorer(dark, noise=drawn), restorer(dark, generator=seeded(3, 4)))
    together = torch.randn(shape, generator=seeded(5)[0])
    assert torch.equal(restorer(dark, noise=together), restorer(dark, generator=seeded(5)[0]))
    assert not torch.equal(restorer(dark, noise=drawn), restorer(dark, noise=together))


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_with_one_generator_per_picture_the_batch_does_not_matter(eta: float) -> None:
    restorer, dark = make_restorer(), make_dark(3, 3, 24, 40)
    sampling = Sampling(3, eta=eta)
    together = restorer(dark, sampling, generator=seeded(0, 1, 2))
    for i in range(3):
        single = restorer(dark[i : i + 1], sampling, generator=seeded(i))
        torch.testing.assert_close(single, together[i : i + 1], atol=1e-4, rtol=1e-4)
    if eta:
        assert not torch.allclose(together, restorer(dark, Sampling(3), generator=seeded(0, 1, 2)), atol=1e-3)


# ---- sampling


def test_starting_from_the_condition() -> None:
    restorer, dark = make_echo(), make_dark()
    latent = restorer.model.latent(dark)
    noise = torch.randn(restorer.noise_shape(dark))

    def start(dark_latent: Tensor, timestep: int | None) -> Tensor:
        condition = restorer.model.condition(dark, dark_latent)
        sampled = restorer.sample_latent(dark_latent, condition, noise, Sampling(1, timestep))
        return 2 * sampled - 1  # one step with Echo ends where sampling starts

    torch.testing.assert_close(start(latent, None), noise)
    for timestep in (0, 400, 999):
        expected = restorer.scheduler.add_noise(2 * latent - 1, noise, timestep)
        torch.testing.assert_close(start(latent, timestep), expected)
    # at the cleanest timestep hardly anything but the dark latent is left, at the noisiest nothing of it
    torch.testing.assert_close(start(latent, 0), 2 * latent - 1, atol=0.2, rtol=0)
    assert not torch.allclose(start(latent, 0), start(latent.flip(3), 0), atol=0.02)
    torch.testing.assert_close(start(latent, 999), start(latent.flip(3), 999))


def test_the_configuration_says_how_to_sample() -> None:
    dark = make_dark()
    plain, configured = make_restorer(), make_restorer(num_inference_steps=3, start_timestep=600)
    noise = torch.randn(plain.noise_shape(dark))
    expected = plain(dark, Sampling(3, 600), noise=noise)
    assert torch.equal(configured(dark, noise=noise), expected)
    assert not torch.equal(plain(dark, noise=noise), expected)


def test_callback_sees_every_step() -> None:
    restorer, dark, seen = make_restorer(), make_dark(), []
    noise = torch.randn(restorer.noise_shape(dark))
    restorer(dark, Sampling(4), noise=noise, callback=lambda i, t, x0: seen.append((i, t, x0.shape)))
    assert seen == [(i, t, noise.shape) for i, t in enumerate(restorer.scheduler.timestep_list(4))]


def test_clamp() -> None:
    restorer, dark = make_restorer(input_colours=False), make_dark()
    nn.init.constant_(restorer.get_parameter("model.decoder.head.bias"), 2.0)  # gain and residual that overshoot
    noise = torch.randn(restorer.noise_shape(dark))
    free = restorer(dark, noise=noise, clamp=False)
    assert free.max() > 1
    assert torch.equal(restorer(dark, noise=noise), free.clamp(0, 1))


def test_transfer_of_own_exposure_is_decoding_the_own_latent() -> None:
    restorer, dark = make_restorer(), make_dark(1, 3, 20, 45)
    encoded = restorer.model.encode(nn.functional.pad(dark, (0, 19, 0, 12), mode="reflect"), dark.mean(dim=(1, 2, 3)))
    expected = restorer.model.decode(*encoded)[..., :20, :45].clamp(0, 1)
    torch.testing.assert_close(restorer.transfer(dark, dark), expected, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(restorer.transfer(dark, 1 - dark), expected, atol=1e-3)


# ---- precision, gradients, errors


def test_autocast_is_close_to_float32() -> None:
    restorer, dark = make_restorer(), make_dark()
    noise = torch.randn(restorer.noise_shape(dark))
    dtypes: list[torch.dtype] = []
    restorer.unet.conv_out.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    exact = restorer(dark, noise=noise)
    restorer.autocast_dtype = torch.bfloat16
    rounded = restorer(dark, noise=noise, callback=lambda i, t, x0: dtypes.append(x0.dtype))
    assert dtypes == [torch.float32] * 2 + [torch.bfloat16, torch.float32] * 2  # the sampler's state stays in float32
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).abs().mean() < 0.01


def test_half_precision_input() -> None:
    restorer, dark = make_restorer(), make_dark().half()
    assert torch.equal(restorer(dark, generator=seeded(0, 1)), restorer(dark.float(), generator=seeded(0, 1)))


def test_gradients_reach_networks_and_input() -> None:
    restorer, dark = make_restorer(), make_dark().requires_grad_()
    restorer.unet.requires_grad_(True)
    restorer(dark, generator=seeded(0, 1), clamp=False).square().mean().backward()
    assert dark.grad is not None
    assert dark.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in restorer.unet.parameters())


@pytest.mark.parametrize(
    ("dark", "message"),
    [
        (torch.zeros(3, 8, 8), r"dark: expected float \(b, 3, h, w\), got torch.float32 \(3, 8, 8\)"),
        (torch.zeros(1, 3, 0, 8), r"dark: expected float \(b, 3, h, w\), got torch.float32 \(1, 3, 0, 8\)"),
        (torch.zeros(1, 1, 8, 8), r"got torch.float32 \(1, 1, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), r"got torch.uint8 \(1, 3, 8, 8\)"),
    ],
)
def test_refuses_other_inputs(dark: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_restorer()(dark)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generator": seeded(0)}, "generator: expected .*2.*, got"),
        ({"sampling": Sampling(1001)}, "num_inference_steps: expected from 1 to 1000, got 1001"),
        ({"sampling": Sampling(start_timestep=1000)}, "start_timestep: expected from 0 to 999, got 1000"),
        ({"sampling": Sampling(4, 2)}, "num_inference_steps: expected from 1 to 3, got 4"),
        ({"noise": torch.zeros(2, 4, 3, 3)}, r"\(2, 4, 3, 3\)"),
    ],
)
def test_refuses_other_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_restorer()(make_dark(), **options)


def test_strength_blends_with_the_dark_picture() -> None:
    restorer, dark = make_restorer(), make_dark()
    noise = torch.randn(restorer.noise_shape(dark))
    restored = restorer(dark, noise=noise)
    assert torch.equal(restorer(dark, Sampling(strength=0), noise=noise), dark)
    blend = restorer(dark, Sampling(strength=0.25), noise=noise)
    torch.testing.assert_close(blend, 0.75 * dark + 0.25 * restored, atol=1e-6, rtol=0)


# ---- large pictures and exposure


def test_the_unet_sees_large_pictures_smaller() -> None:
    restorer = make_restorer()
    restorer.config = dataclasses.replace(restorer.config, context=64)
    dark = make_dark(1, 3, 128, 192)
    assert restorer.noise_shape(dark) == (1, 3, 4, 8)  # 42.7×64 pixels in multiples of 32
    small = restorer.model.latent(torch.nn.functional.interpolate(dark, size=(32, 64), mode="area"))
    seen = []
    unet = restorer.unet.forward
    restorer.unet.forward = lambda x, t, condition: seen.append(condition) or unet(x, t, condition)  # type: ignore[method-assign]
    output = restorer(dark, noise=torch.randn(1, 3, 4, 8))
    shrunk = torch.nn.functional.interpolate(dark, size=(32, 64), mode="area")
    torch.testing.assert_close(seen[0], restorer.model.condition(shrunk, small, dark.mean(dim=(1, 2, 3))))
    assert output.shape == dark.shape
    within = dark[..., :64, :64]
    assert torch.equal(restorer(within, generator=seeded(0)), make_restorer()(within, generator=seeded(0)))


def test_an_enlarged_latent_keeps_the_detail_of_the_picture() -> None:
    model = make_restorer().model
    dark = make_dark(1, 3, 128, 192) + 0.02
    large = model.latent(dark)
    small = torch.nn.functional.avg_pool2d(large, 4)
    # nothing to restore: nothing changes, not even what the small one doesn't show
    torch.testing.assert_close(model.enlarge(small, small, large), large)
    # lifted tones at a constant ratio stay at it
    torch.testing.assert_close(model.enlarge(1.2 * small, small, large), (1.2 * large).clamp(max=1))


def test_exposure_is_monotone_continuous_and_zero_by_default() -> None:
    restorer, dark = Restorer(PRESETS["tiny"]).eval().requires_grad_(False), make_dark()
    stops = [-3.0, -1.0, -0.5, -1e-4, 0.0, 1e-4, 0.5, 1.0, 3.0]
    results = [restorer(dark, Sampling(exposure=e), generator=seeded(0, 1)) for e in stops]
    assert torch.equal(results[4], restorer(dark, generator=seeded(0, 1)))
    means = [r.mean().item() for r in results]
    assert means == sorted(means)
    assert means[-1] > means[5] + 0.02 > means[3] > means[0] + 0.02
    for near in (results[3], results[5]):
        torch.testing.assert_close(near, results[4], atol=1e-3, rtol=0)


def test_exposed_values() -> None:
    values = torch.linspace(0, 1, 101)
    for stops in (-2.0, -0.1, 0.1, 1.0, 3.0):
        brighter = exposed(values, stops)
        assert brighter[0] == 0
        assert (brighter.diff() >= 0).all()
        assert brighter.max() <= 1
    # a stop more light is 2^(1/2.2) times the code value, below the shoulder
    torch.testing.assert_close(exposed(values, 1.0)[:50], values[:50] * 2 ** (1 / 2.2))
    torch.testing.assert_close(exposed(values, 0.0), values)
