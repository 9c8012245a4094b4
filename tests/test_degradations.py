from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from kornia.color import rgb_to_linear_rgb

from lightendiff.data.augment import Augmentation, BatchAugment
from lightendiff.data.degradations import SensorModel, SensorParameters, darken


def parameters(count: int = 1, **values: float) -> SensorParameters:
    """Nothing but what is asked for: no noise, no tint, no JPEG."""
    names = ("exposure", "shot", "read", "rows", "correlation", "grain", "smoothing", "sharpening", "jpeg_quality")
    defaults = dict.fromkeys(names, 0.0) | {"grain": 0.1, "jpeg_quality": 101.0}
    tensors = {name: torch.full((count,), float(value)) for name, value in (defaults | values).items()}
    return SensorParameters(**tensors, tint=torch.zeros(count, 3), gains=torch.ones(count, 3))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(dark: torch.Tensor) -> torch.Tensor:
    """Noise of a picture of one colour, in linear light."""
    linear = rgb_to_linear_rgb(dark).double()
    return linear - linear.mean((2, 3), keepdim=True)


GREY = torch.full((1, 3, 256, 256), 0.5)
LINEAR = ((0.5 + 0.055) / 1.055) ** 2.4  # of GREY, by the sRGB standard


def test_exposure_is_a_factor_in_linear_light() -> None:
    target = torch.linspace(0, 1, 3 * 64).reshape(1, 3, 8, 8)
    linear = np.where(target <= 0.04045, target / 12.92, ((target + 0.055) / 1.055) ** 2.4) / 8
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    dark = darken(target, parameters(exposure=-3))
    np.testing.assert_allclose(dark * 255, np.round(expected * 255), atol=1e-3)


def test_nothing_asked_for_changes_nothing() -> None:
    target = torch.randint(0, 256, (2, 3, 9, 7), generator=generator()) / 255
    torch.testing.assert_close(darken(target, parameters(2)), target)


def test_tint_is_an_exposure_per_channel() -> None:
    tint = torch.tensor([[-1.0, 0.0, -2.0]])
    dark = darken(GREY[..., :4, :4], replace(parameters(), tint=tint))
    linear = rgb_to_linear_rgb(dark)[0, :, 0, 0]
    torch.testing.assert_close(linear, LINEAR * torch.tensor([1 / 2, 1, 1 / 4]), rtol=0.02, atol=0)


@pytest.mark.parametrize(
    ("exposure", "shot", "read"), [(0, 1e-3, 0.0), (-2, 1e-3, 0.0), (-1, 0.0, 0.01), (-1, 4e-4, 0.01)]
)
def test_noise_variance_is_shot_times_light_plus_read(exposure: float, shot: float, read: float) -> None:
    dark = darken(GREY, parameters(exposure=exposure, shot=shot, read=read), generator())
    variance = noise(dark).square().mean().item()
    assert variance == pytest.approx(shot * LINEAR * 2**exposure + read**2, rel=0.03)


def test_white_balance_gains_amplify_noise() -> None:
    gains = torch.tensor([[3.0, 1.0, 2.0]])
    shot = darken(GREY, replace(parameters(shot=1e-3), gains=gains), generator())
    read = darken(GREY, replace(parameters(read=0.01), gains=gains), generator())
    np.testing.assert_allclose(noise(shot).square().mean((0, 2, 3)), 1e-3 * LINEAR * gains[0], rtol=0.04)
    np.testing.assert_allclose(noise(read).square().mean((0, 2, 3)), 1e-4 * gains[0] ** 2, rtol=0.04)


def test_grain_keeps_the_variance_and_correlates_neighbours() -> None:
    sigma = 0.6
    n = noise(darken(GREY, parameters(read=0.02, grain=sigma), generator()))
    assert n.square().mean().item() == pytest.approx(0.02**2, rel=0.03)
    kernel = np.exp(-((np.arange(5) - 2) ** 2) / (2 * sigma**2))
    expected = (kernel[1:] * kernel[:-1]).sum() / (kernel**2).sum()
    for axis in (2, 3):
        neighbours = (n * n.roll(1, axis)).mean() / n.square().mean()
        assert neighbours.item() == pytest.approx(expected, abs=0.02)


def test_channels_share_part_of_the_noise() -> None:
    n = noise(darken(GREY, parameters(read=0.02, correlation=0.3), generator()))
    np.testing.assert_allclose(np.corrcoef(n.reshape(3, -1))[[0, 0, 1], [1, 2, 2]], 0.3, atol=0.02)


def test_rows_share_their_noise() -> None:
    target = GREY.expand(1, 3, 256, 256)
    n = noise(darken(target, parameters(read=0.01, rows=1.0), generator()))
    rows = n.mean((1, 3))  # the noise of single pixels averages out over 3 · 256 of them
    assert rows.square().mean().item() == pytest.approx(0.01**2, rel=0.25)
    assert n.mean((1, 2)).square().mean().item() < 1e-6


def test_processed_noise_is_smaller_and_coarser() -> None:
    options = {"exposure": -3.0, "shot": 3e-4}
    raw, processed = (
        noise(darken(GREY, parameters(**options, smoothing=smoothing, sharpening=0.3), generator()))
        for smoothing in (0.0, 1.5)
    )

    def correlation(x: torch.Tensor) -> float:
        return float((x[..., 1:] * x[..., :-1]).mean() / x.square().mean())

    assert processed.std() < 0.6 * raw.std()
    assert abs(correlation(raw)) < 0.1 < 0.3 < correlation(processed)


def test_processing_keeps_edges_and_colours() -> None:
    target = torch.zeros(1, 3, 64, 64)
    target[:, :2, :, 32:] = 0.9
    target[:, 2] = 0.4
    options = {"exposure": -2.0, "shot": 1e-4}
    dark = darken(target, parameters(**options, smoothing=1.0, sharpening=0.0), generator())
    clean = darken(target, parameters(exposure=-2.0))
    for side in (slice(0, 29), slice(35, 64)):
        assert (dark - clean)[..., side].mean((0, 2, 3)).abs().max() < 1 / 255
    step = dark[:, :2].mean((0, 1, 2))
    assert step[33] - step[30] > 0.8 * (step[60] - step[4])


def test_jpeg_is_close_to_a_real_one() -> None:
    y, x = np.mgrid[:64, :80] / 12
    pixels = np.stack([128 + 100 * np.sin(x + y), 128 + 60 * np.cos(2 * x), 100 + 90 * np.sin(y - x)], -1)
    pixels = (pixels + np.random.default_rng(0).normal(0, 8, pixels.shape)).clip(0, 255).round().astype(np.uint8)
    target = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    ours = darken(target, parameters(jpeg_quality=50))[0].permute(1, 2, 0).numpy() * 255
    real = cv2.imdecode(cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR)
    damage = np.square(real[..., ::-1].astype(float) - pixels).mean()
    assert np.square(ours - pixels).mean() == pytest.approx(damage, rel=0.25)
    assert np.square(ours - real[..., ::-1]).mean() < damage / 4


def test_each_image_has_its_own_parameters() -> None:
    target = torch.rand(3, 3, 32, 48, generator=generator())
    p = replace(
        parameters(3), exposure=torch.tensor([-1.0, -3.0, -5.0]), jpeg_quality=torch.tensor([101.0, 70.0, 101.0])
    )
    together = darken(target, p)
    for i in range(3):
        alone = SensorParameters(**{name: value[i : i + 1] for name, value in vars(p).items()})
        torch.testing.assert_close(together[i : i + 1], darken(target[i : i + 1], alone))


def test_output_is_in_8_bit_steps_and_repeatable() -> None:
    target = torch.rand(4, 3, 17, 31, generator=generator())
    drawn = SensorModel(jpeg=0.5).draw(4, generator(1))
    dark = darken(target, drawn, generator(2))
    assert dark.shape == target.shape
    assert dark.dtype == torch.float32
    torch.testing.assert_close(dark * 255, (dark * 255).round(), atol=1e-4, rtol=0)
    assert dark.min() >= 0
    assert dark.max() <= 1
    torch.testing.assert_close(darken(target, drawn, generator(2)), dark, rtol=0, atol=0)


def test_parameters_are_drawn_from_the_ranges() -> None:
    model = SensorModel(jpeg=0.25)
    drawn = model.draw(4000, generator())
    for name in ("exposure", "shot", "read", "rows", "correlation", "grain"):
        low, high = getattr(model, name)
        value = getattr(drawn, name)
        assert value.min() >= low - 1e-5 * abs(low)
        assert value.max() <= high + 1e-5 * abs(high)
        assert value.max() - value.min() > 0.9 * (high - low)
    assert drawn.tint.std().item() == pytest.approx(model.tint, rel=0.05)
    stored = drawn.jpeg_quality <= 100
    assert stored.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert drawn.jpeg_quality[stored].min() >= model.jpeg_quality[0]
    assert (drawn.gains[:, 1] == 1).all()


def test_default_ranges_contain_what_was_measured_on_lol() -> None:
    model = SensorModel()
    assert model.shot[0] <= 3.3e-5 < 1.3e-4 <= model.shot[1]
    assert model.exposure[0] <= -6.4 < -3.6 <= model.exposure[1]
    assert model.red_gain[1] >= 3.0
    assert model.blue_gain[1] >= 1.7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exposure": (-1, -3)}, r"exposure: expected \(lowest, highest\), got \(-1, -3\)"),
        ({"shot": (0.0, 1.0)}, "shot: expected positive numbers"),
        ({"jpeg": 1.5}, "jpeg: expected a probability, got 1.5"),
    ],
)
def test_sensor_model_errors(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SensorModel(**options)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (2, 3, 8, 8)])
def test_darken_rejects_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"target: expected \(b,3,h,w\), b = 1"):
        darken(torch.zeros(shape), parameters())


def batch(count: int = 64, size: tuple[int, int] = (8, 8), darken: bool = False) -> dict:
    target = torch.randint(60, 256, (count, 3, *size), dtype=torch.uint8, generator=generator())
    return {
        "dark": target if darken else target // 4,
        "target": target,
        "darken": torch.full((count,), darken),
        "mean": torch.full((count,), 0.25),
        "ignore_detail": torch.zeros(count, dtype=torch.bool),
        "names": [str(i) for i in range(count)],
    }


def test_augmentation_without_flips_only_converts() -> None:
    given = batch()
    out = BatchAugment(flips=False)(given, generator())
    assert out["dark"].dtype == out["target"].dtype == torch.float32
    torch.testing.assert_close(out["dark"] * 255, given["dark"].float())
    torch.testing.assert_close(out["target"] * 255, given["target"].float())
    torch.testing.assert_close(out["mean"], given["mean"])
    assert out["names"] == given["names"]


@pytest.mark.parametrize(("size", "kinds"), [((8, 8), 8), ((6, 8), 4)])
def test_flips_are_the_symmetries_of_the_crop_and_alike_for_both(size: tuple[int, int], kinds: int) -> None:
    given = batch(size=size)
    out = BatchAugment()(given, generator())
    seen = set()
    for i in range(len(given["names"])):
        for kind in range(kinds):
            flips = [axis for bit, axis in ((1, -1), (2, -2)) if kind & bit]
            dark, target = (given[key][i].flip(flips) for key in ("dark", "target"))
            if kind & 4:
                dark, target = dark.mT, target.mT
            if torch.allclose(out["target"][i] * 255, target.float()):
                torch.testing.assert_close(out["dark"][i] * 255, dark.float())
                seen.add(kind)
                break
        else:
            pytest.fail(f"sample {i} is no flip of the original")
    assert len(seen) == kinds


@pytest.mark.parametrize("itself", [True, False], ids=["the target itself", "another picture"])
def test_marked_samples_are_darkened_and_their_mean_follows(itself: bool) -> None:
    given = batch(4, (32, 32), darken=itself)
    given["darken"] = torch.tensor([True, False, True, False])
    model = SensorModel(exposure=(-3, -3), tint=0, shot=(1e-20, 1e-20), read=(1e-12, 1e-12), jpeg=0)
    out = BatchAugment(model, flips=False)(given, generator())
    target = given["target"].float() / 255
    torch.testing.assert_close(out["target"], target)
    dark = given["dark"].float() / 255
    torch.testing.assert_close(out["dark"][1::2], dark[1::2])
    torch.testing.assert_close(out["dark"][::2], darken(dark[::2], parameters(2, exposure=-3)))
    ratio = out["dark"].mean((1, 2, 3)) / dark.mean((1, 2, 3))
    torch.testing.assert_close(out["mean"], torch.where(given["darken"], 0.25 * ratio, 0.25))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_pictures_stand_on_their_heads_as_often_as_asked(share: float) -> None:
    given = batch(200, (2, 3))
    given["target"][:, :, 0], given["target"][:, :, 1] = 100, 200  # bright below
    out = BatchAugment(augmentation=Augmentation(upside_down=share))(given, generator())
    upside_down = (out["target"][:, 0, 0, 0] * 255).round() == 200
    assert upside_down.float().mean().item() == pytest.approx(share, abs=0.1)


def test_tints_are_those_of_both_pictures_and_keep_the_mean() -> None:
    given = batch(200, (8, 8))
    given["target"] = given["target"] // 2  # none is clipped
    plain = BatchAugment(flips=False)(given, generator())
    out = BatchAugment(augmentation=Augmentation(tint=0.15), flips=False)(given, generator())
    gains = (out["target"] / plain["target"]).mean((2, 3))
    torch.testing.assert_close(out["target"], plain["target"] * gains[..., None, None])
    torch.testing.assert_close(out["dark"], plain["dark"] * gains[..., None, None])
    torch.testing.assert_close(out["target"].mean((1, 2, 3)), plain["target"].mean((1, 2, 3)))
    tinted = (gains - 1).abs().amax(1) > 1e-4
    assert tinted.float().mean().item() == pytest.approx(0.5, abs=0.1)
    stops = gains[tinted].log2() * 2.2
    # three gains whose mean is taken out have two degrees of freedom
    assert stops.square().mean().sqrt().item() == pytest.approx(0.15 * (2 / 3) ** 0.5, rel=0.15)


def test_dark_pictures_get_more_or_less_light() -> None:
    given = batch(200, (8, 8))
    given["dark"][::4] = given["target"][::4]  # well-lit ones, which stay as they are
    plain = BatchAugment(flips=False)(given, generator())
    out = BatchAugment(augmentation=Augmentation(dark_stops=0.5), flips=False)(given, generator())
    torch.testing.assert_close(out["target"], plain["target"])
    gains = out["dark"].mean((1, 2, 3)) / plain["dark"].mean((1, 2, 3))
    torch.testing.assert_close(out["dark"], plain["dark"] * gains[:, None, None, None])
    torch.testing.assert_close(out["mean"], 0.25 * gains)
    torch.testing.assert_close(gains[::4], torch.ones(50))
    stops = torch.cat([gains[i::4] for i in (1, 2, 3)]).log2() * 2.2
    assert stops.abs().max() <= 0.5 + 1e-4
    assert stops.std().item() == pytest.approx(1 / 12**0.5, rel=0.15)


def test_rectangles_of_the_next_pair_are_pasted() -> None:
    given = batch(64, (16, 16))
    for key, step in (("dark", 1), ("target", 3)):
        given[key] = (step * torch.arange(64, dtype=torch.uint8))[:, None, None, None].expand(64, 3, 16, 16)
    given["mean"] = torch.arange(64) / 255
    given["ignore_detail"] = torch.arange(64) % 4 == 0
    out = BatchAugment(augmentation=Augmentation(paste=0.5), flips=False)(given, generator())
    pasted = 0
    for i in range(64):
        window = (out["dark"][i, 0] * 255).round() != i
        dark, dark_other, target, target_other = (
            given[key][(i + k) % 64].float() / 255 for key in ("dark", "target") for k in (0, 1)
        )
        torch.testing.assert_close(out["dark"][i], torch.where(window, dark_other, dark))
        torch.testing.assert_close(out["target"][i], torch.where(window, target_other, target))
        torch.testing.assert_close(out["mean"][i], out["dark"][i].mean())
        if window.any():
            pasted += 1
            rows, columns = window.any(1).sum().item(), window.any(0).sum().item()
            assert window.sum() == rows * columns  # a rectangle
            assert 4 <= rows <= 12
            assert 4 <= columns <= 12
        assert out["ignore_detail"][i] == (given["ignore_detail"][i] or (bool(window.any()) and i % 4 == 3))
    assert pasted / 64 == pytest.approx(0.5, abs=0.2)
    assert torch.equal(given["mean"], torch.arange(64) / 255)  # what was given stays as it was


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"paste": 1.5}, "paste: expected a probability, got 1.5"),
        ({"upside_down": -0.1}, "upside_down: expected a probability, got -0.1"),
        ({"tint": -1.0}, "tint: expected at least 0, got -1.0"),
        ({"dark_stops": -1.0}, "dark_stops: expected at least 0, got -1.0"),
    ],
)
def test_augmentation_errors(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)


def test_augmentation_depends_on_its_generator_only() -> None:
    given = batch(8, (32, 32), darken=True)
    augment = BatchAugment(augmentation=Augmentation(tint=0.2, dark_stops=0.5, paste=0.5))
    torch.manual_seed(1)
    one = augment(given, generator(5))
    torch.manual_seed(2)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(augment(given, generator(5))["dark"], one["dark"], rtol=0, atol=0)
    same, other = augment(given, generator(5)), augment(given, generator(6))
    torch.testing.assert_close(one["dark"], same["dark"], rtol=0, atol=0)
    assert (one["dark"] != other["dark"]).any()
