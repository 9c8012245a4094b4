"""The pipeline: every type of picture, reproducibility, options, loading and saving, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import tv_tensors

from lightendiff import pipeline
from lightendiff.diffusion.options import Sampling
from lightendiff.models.lean import LeanAutoencoder
from lightendiff.models.paper import PaperAutoencoder
from lightendiff.models.presets import PRESETS
from lightendiff.pipeline import LightenPipeline
from lightendiff.restorer import Restorer
from lightendiff.runtime import memory
from lightendiff.runtime.devices import best_precision

WHITE = {"uint8": 255, "uint16": 65535}
FLOATS = ("float16", "float32", "float64")
SLACK = 1e-4  # float32 through a network that amplifies, in another order or batch
DIGITS = {"uint8": 1 / 255, "uint16": 1 / 65535, "float16": 1e-3, "bfloat16": 1e-2}  # what a dtype can tell apart


def make_restorer() -> Restorer:
    """A tiny restorer whose weights let everything show through: new ones start close to the identity."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        restorer = Restorer(PRESETS["tiny"])
        for tensor in restorer.parameters():
            if tensor.ndim > 1:
                nn.init.normal_(tensor, std=tensor[0].numel() ** -0.5)
    return restorer


@pytest.fixture(scope="module")
def pipe() -> LightenPipeline:
    return LightenPipeline(make_restorer(), device="cpu", dtype=torch.float32)


def make_array(*shape: int, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """Dark, with noticeably different channels."""
    values = np.random.default_rng(seed).random(shape) * 0.3
    if len(shape) == 3 and shape[2] == 3:
        values = values * np.array([1.0, 0.6, 0.3])
    return (values * WHITE[dtype]).astype(dtype) if dtype in WHITE else values.astype(dtype)


def unit(image: Any) -> np.ndarray:
    """Values in [0, 1] as float64."""
    if isinstance(image, Tensor):
        image = image.double().numpy() / WHITE.get(str(image.dtype)[6:], 1)
        return image
    image = np.asarray(image)
    return image.astype(np.float64) / WHITE.get(image.dtype.name, 1)


def chw(array: np.ndarray) -> Tensor:
    """(h, w, c) array → (c, h, w) tensor of the same memory."""
    return torch.from_numpy(array).permute(2, 0, 1)


def reference(pipe: LightenPipeline, array: np.ndarray, seed: int = 0) -> np.ndarray:
    """(h, w, 3) in [0, 1] restored by the network alone."""
    dark = chw(unit(array).astype(np.float32))[None]
    with torch.no_grad():
        restored = pipe.restorer(dark, generator=torch.Generator().manual_seed(seed))
    return restored[0].permute(1, 2, 0).double().numpy()


# ---- types, dtypes, shapes


@pytest.mark.parametrize("dtype", [*WHITE, *FLOATS])
def test_arrays(pipe: LightenPipeline, dtype: str) -> None:
    array = make_array(20, 27, 3, dtype=dtype)
    before = array.copy()
    result = pipe(array)
    assert isinstance(result, np.ndarray)
    assert (result.shape, result.dtype) == (array.shape, array.dtype)
    assert result.flags.c_contiguous
    assert np.array_equal(array, before)
    tolerance = 0.51 * DIGITS.get(dtype, 0) + SLACK  # rounded, not cut off
    np.testing.assert_allclose(unit(result), reference(pipe, array), atol=tolerance, rtol=0)


@pytest.mark.parametrize("dtype", [*WHITE, *FLOATS, "bfloat16"])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_tensors(pipe: LightenPipeline, dtype: str, batch: tuple[int, ...]) -> None:
    array = make_array(20, 27, 3, dtype="float32" if dtype == "bfloat16" else dtype)
    tensor = chw(array).to(getattr(torch, dtype))
    tensor = tensor.expand(*batch, *tensor.shape)
    before = tensor.clone()
    result = pipe(tensor)
    assert (result.shape, result.dtype, result.device) == (tensor.shape, tensor.dtype, tensor.device)
    assert torch.equal(tensor, before)
    expected = reference(pipe, unit(tensor.reshape(-1, 3, 20, 27)[0]).transpose(1, 2, 0))
    for each in result.reshape(-1, 3, 20, 27):
        tolerance = 0.51 * DIGITS.get(dtype, 0) + SLACK
        np.testing.assert_allclose(unit(each).transpose(1, 2, 0), expected, atol=tolerance, rtol=0)


def test_all_types_give_the_same_picture(pipe: LightenPipeline) -> None:
    array = make_array(20, 27, 3)
    expected = pipe(array)
    assert np.array_equal(np.asarray(pipe(Image.fromarray(array))), expected)
    for tensor in (chw(array), chw(array).contiguous(), chw(array).contiguous()[None]):  # interleaved and planar
        assert torch.equal(pipe(tensor).reshape(3, 20, 27), chw(expected))


def test_unusual_memory(pipe: LightenPipeline) -> None:
    array = make_array(20, 27, 3, dtype="uint16")
    expected = pipe(array)
    frozen = array.copy()
    frozen.flags.writeable = False
    swapped = array.astype(">u2")
    for same in (frozen, swapped, array[::-1, ::-1].copy()[::-1, ::-1], np.asfortranarray(array)):
        result = pipe(same)
        assert result.dtype == same.dtype
        assert np.array_equal(result, expected)


def test_results_can_be_trained_on(pipe: LightenPipeline) -> None:
    dark = torch.rand(3, 9, 9).requires_grad_()
    for strength in (0, 1):
        result = pipe(dark, strength=strength)
        assert not result.requires_grad
        assert not result.is_inference()
        weight = torch.ones(1, requires_grad=True)
        (weight * result).sum().backward()
        torch.testing.assert_close(weight.grad, result.sum()[None])


def test_tensor_subclass(pipe: LightenPipeline) -> None:
    image = tv_tensors.Image(chw(make_array(9, 14, 3)))
    result = pipe(image)
    assert type(result) is tv_tensors.Image
    assert torch.equal(result.as_subclass(Tensor), pipe(chw(make_array(9, 14, 3))))
    assert type(pipe(image, strength=0)) is tv_tensors.Image


def test_channels_are_red_green_blue(pipe: LightenPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    # a decoder that adds red, whatever it is given
    original = pipe.restorer.model.decode
    monkeypatch.setattr(pipe.restorer, "config", replace(pipe.restorer.config, input_colours=False))
    red = torch.tensor([0.5, 0.0, 0.0]).view(1, 3, 1, 1)
    pipe.restorer.model.decode = lambda latent, skips: skips[0] * 0 + red  # type: ignore[method-assign]
    try:
        array = make_array(8, 8, 3)
        assert pipe(array)[0, 0].tolist() == [128, 0, 0]
        assert pipe(chw(array))[:, 0, 0].tolist() == [128, 0, 0]
        assert pipe(Image.fromarray(array)).getpixel((0, 0)) == (128, 0, 0)
        assert pipe(array[..., 0])[0, 0] == round(0.5 * 0.299 * 255)  # the luma of that
    finally:
        pipe.restorer.model.decode = original  # type: ignore[method-assign]


@pytest.mark.parametrize("dtype", [*WHITE, "float32"])
def test_grey_is_the_luma_of_three_equal_channels(pipe: LightenPipeline, dtype: str) -> None:
    grey = make_array(20, 27, dtype=dtype)
    three = reference(pipe, np.repeat(grey[..., None], 3, axis=2))
    expected = three @ np.array([0.299, 0.587, 0.114])
    for given in (grey, grey[..., None], torch.from_numpy(grey)[None], torch.from_numpy(grey)[None, None]):
        result = pipe(given)
        assert (result.shape, result.dtype) == (given.shape, given.dtype)
        tolerance = 0.51 * DIGITS.get(dtype, 0) + SLACK
        np.testing.assert_allclose(unit(result).reshape(20, 27), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (7, 3), (32, 32)])
def test_sizes(pipe: LightenPipeline, size: tuple[int, int]) -> None:
    array = make_array(*size, 3)
    result = pipe(array)
    assert result.shape == array.shape
    assert np.abs(unit(result) - reference(pipe, array)).max() <= 0.51 / 255
    assert pipe(Image.fromarray(array)).size == size[::-1]
    assert pipe(array[..., 0]).shape == size


# ---- PIL


@pytest.mark.parametrize(
    ("mode", "returned"),
    [("L", "L"), ("RGB", "RGB"), ("LA", "LA"), ("RGBA", "RGBA"), ("1", "L"), ("P", "RGB"), ("PA", "RGBA")],
)
def test_pil_modes(pipe: LightenPipeline, mode: str, returned: str) -> None:
    rgb = Image.fromarray(make_array(9, 14, 3))
    image = rgb.convert("P").convert("PA") if mode == "PA" else rgb.convert(mode)
    alpha = None
    if mode.endswith("A"):
        alpha = Image.fromarray(make_array(9, 14, seed=1) | 1)  # all is seen
        image.putalpha(alpha)
    image.info["icc_profile"] = b"a profile"
    before = image.tobytes()
    result = pipe(image)
    assert (result.mode, result.size, result.info) == (returned, image.size, image.info)
    assert image.tobytes() == before
    colours = pipe(np.asarray(image.convert("L" if returned in ("L", "LA") else "RGB")))
    planes = np.asarray(result)
    if alpha is not None:
        assert np.array_equal(planes[..., -1], np.asarray(image.getchannel("A")))
        planes = planes[..., :-1].reshape(colours.shape)
    assert np.array_equal(planes, colours)
    copy = pipe(image, strength=0)
    assert (copy.mode, copy.tobytes()) == (image.mode, before)
    assert copy is not image


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I", "F"])
def test_deep_pil_modes(pipe: LightenPipeline, mode: str) -> None:
    dtype = {"I;16": "<u2", "I;16B": ">u2", "I": "i4", "F": "f4"}[mode]
    values = make_array(9, 14, dtype="float32" if mode == "F" else "uint16")
    image = Image.fromarray(values.astype(dtype))
    assert image.mode == mode
    result = pipe(image)
    assert (result.mode, result.size) == (mode, image.size)
    assert np.array_equal(np.asarray(result), pipe(values))


@pytest.mark.parametrize(("mode", "key", "returned"), [("RGB", (0, 0, 0), "RGBA"), ("L", 0, "LA"), ("P", 0, "RGBA")])
def test_a_transparent_colour_becomes_alpha(pipe: LightenPipeline, mode: str, key: Any, returned: str) -> None:
    array = make_array(9, 14, 3)
    array[:4] = 0
    image = Image.fromarray(array).convert(mode, palette=Image.Palette.ADAPTIVE)
    if mode == "P":
        key = image.getpixel((0, 0))
    image.info["transparency"] = key
    expected = np.asarray(image.convert("RGBA"))[..., 3]
    assert 0 < (expected == 0).mean() < 1
    result = pipe(image)
    assert result.mode == returned
    assert "transparency" not in result.info
    assert np.array_equal(np.asarray(result)[..., -1], expected)


def test_a_palette_with_alpha_keeps_it(pipe: LightenPipeline) -> None:
    array = make_array(9, 14, 4)
    array[..., 3] = np.where(np.arange(14) < 5, 0, 255)
    result = pipe(Image.fromarray(array).quantize(8))
    assert result.mode == "RGBA"
    assert np.array_equal(np.asarray(result)[..., 3] < 128, array[..., 3] < 128)


# ---- lists, batches, seeds, generators


def mixed() -> list[Any]:
    return [
        make_array(20, 27, 3, dtype="uint16"),
        Image.fromarray(make_array(9, 14, seed=1)),
        chw(make_array(20, 27, 3, dtype="float32", seed=2)),
        chw(make_array(20, 27, 3, seed=3)).expand(2, 3, 20, 27),
        make_array(1, 1, dtype="float64"),
    ]


def same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a.dtype == b.dtype and bool((a == b).all()) if hasattr(a, "dtype") else a == b


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_list_equals_single_calls(pipe: LightenPipeline, eta: float) -> None:
    images = mixed()
    together = pipe(images, seed=5, eta=eta)
    assert isinstance(together, list)
    assert len(together) == len(images)
    for image, result in zip(images, together, strict=True):
        assert same(pipe(image, seed=5, eta=eta), result)
    assert torch.equal(together[3][0], together[3][1])  # the same picture twice
    assert isinstance(pipe(tuple(images[:2])), tuple)
    assert pipe([]) == []


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_batches_of_equal_size(pipe: LightenPipeline, eta: float) -> None:
    images, sizes = mixed(), []
    handle = pipe.restorer.register_forward_pre_hook(lambda module, inputs: sizes.append(tuple(inputs[0].shape)))
    try:
        single = pipe(images, eta=eta)
        assert sizes == [(1, 3, *s) for s in ((20, 27), (9, 14), (20, 27), (20, 27), (20, 27), (1, 1))]
        sizes.clear()
        batched = pipe(images, eta=eta, batch_size=3)
        assert sorted(sizes) == [(1, 3, 1, 1), (1, 3, 9, 14), (1, 3, 20, 27), (3, 3, 20, 27)]
    finally:
        handle.remove()
    for a, b in zip(single, batched, strict=True):
        np.testing.assert_allclose(unit(b), unit(a), atol=1 / 255 + SLACK, rtol=0)  # a level of uint8


def test_seeds(pipe: LightenPipeline) -> None:
    array = make_array(20, 27, 3, dtype="float32")
    assert np.array_equal(pipe(array), pipe(array, seed=0))
    assert not np.array_equal(pipe(array), pipe(array, seed=1))
    assert np.array_equal(pipe(array, seed=2**64 - 1), pipe(array, seed=2**64 - 1))
    with torch.random.fork_rng():
        torch.manual_seed(7)
        first, second = pipe(array, seed=None), pipe(array, seed=None)
        torch.manual_seed(7)
        again = pipe([array, array], seed=None)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, again[0])
    assert np.array_equal(second, again[1])


def test_a_seed_leaves_the_global_generator_alone(pipe: LightenPipeline) -> None:
    state = torch.get_rng_state()
    pipe(make_array(9, 14, 3), eta=1.0)
    assert torch.equal(torch.get_rng_state(), state)


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_generators(pipe: LightenPipeline, batch_size: int) -> None:
    options: dict[str, Any] = {"eta": 1.0, "batch_size": batch_size}
    images = [make_array(20, 27, 3, dtype="float32", seed=seed) for seed in range(3)]
    one_each = pipe(images, generator=seeded(4, 5, 6), **options)
    for image, result, seed in zip(images, one_each, (4, 5, 6), strict=True):
        np.testing.assert_allclose(pipe(image, seed=seed, eta=1.0), result, atol=SLACK)
    # a single one: the pictures draw from it in turn, as separate calls would, whatever the batch size
    turns, (generator,) = pipe(images, generator=seeded(4)[0], **options), seeded(4)
    for image, result in zip(images, turns, strict=True):
        assert np.array_equal(pipe(image, generator=generator, **options), result)
    batch = torch.stack([chw(image) for image in images])
    torch.testing.assert_close(
        pipe(batch, generator=seeded(4, 5, 6), **options), torch.stack([chw(r) for r in one_each]), atol=SLACK, rtol=0
    )


# ---- options


@pytest.mark.parametrize("dtype", [*WHITE, "float32", "float64"])
def test_strength(pipe: LightenPipeline, dtype: str) -> None:
    array = make_array(20, 27, 3, dtype=dtype)
    unchanged = pipe(array, strength=0)
    assert np.array_equal(unchanged, array)
    assert not np.shares_memory(unchanged, array)
    assert np.array_equal(pipe(array, strength=1), pipe(array))
    for strength in (0.001, 0.5, 0.75):
        expected = (1 - strength) * unit(array) + strength * reference(pipe, array)
        tolerance = 0.51 * DIGITS.get(dtype, 0) + SLACK
        np.testing.assert_allclose(unit(pipe(array, strength=strength)), expected, atol=tolerance, rtol=0)


def test_exposure(pipe: LightenPipeline) -> None:
    array = make_array(40, 50, 3)
    means = [pipe(array, exposure=stops).mean() for stops in (-1.0, 0.0, 1.0)]
    assert means == sorted(means)
    assert means[0] < means[2]
    assert np.array_equal(pipe(array, exposure=0), pipe(array))
    published = LightenPipeline(Restorer(PRESETS["paper"]), device="cpu")
    with pytest.raises(ValueError, match="exposure: expected 0, the architecture 'paper' has no control, got 1"):
        published(array, exposure=1)


def test_windows_are_used_where_a_picture_is_larger_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, used = LightenPipeline(make_restorer(), device="cpu", dtype=torch.float32), []
    forward = pipe.restorer.forward

    def record(*arguments: Any, tile: int | None, **options: Any) -> Tensor:
        used.append(tile)
        return forward(*arguments, tile=tile, **options)

    monkeypatch.setattr(pipe.restorer, "forward", record)
    array = make_array(100, 600, 3, dtype="float32")
    whole = pipe(array)
    smaller = pipe(array, tile=352)
    fit = memory.fit
    monkeypatch.setattr(memory, "fit", lambda *arguments: fit(*arguments, largest=384**2))
    windows = pipe(make_array(400, 400, 3, dtype="float32"))
    monkeypatch.undo()
    monkeypatch.setattr(pipe.restorer, "forward", record)
    monkeypatch.setattr(memory, "budget", lambda device: memory.needed(pipe.restorer.config, 1, 100, 600, 352))
    scarce = pipe([array, array], batch_size=2)  # too little for both at once, or for one of them whole
    assert used == [None, 352, 384, 352, 352]
    np.testing.assert_array_equal(scarce[0], smaller)
    np.testing.assert_allclose(smaller, whole, atol=SLACK)
    assert windows.shape == (400, 400, 3)


def test_max_memory_makes_windows_as_large_as_it_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = LightenPipeline(make_restorer(), device="cpu", dtype=torch.float32)
    array, config = make_array(100, 600, 3, dtype="float32"), pipe.restorer.config
    monkeypatch.setattr(pipe, "_held", 10**9)
    limit = (10**9 + memory.needed(config, 1, 100, 600, 352)) / 1e9
    assert np.array_equal(pipe(array, max_memory=limit + 1e-9), pipe(array, tile=352))
    assert np.array_equal(pipe(array, max_memory=100), pipe(array))
    message = rf"max_memory: expected at least {limit:.2f} GB for a picture of 600×100, got {limit - 0.01:g}"
    with pytest.raises(ValueError, match=message):
        pipe([array[:9], array], max_memory=limit - 0.01)


def test_strength_zero_runs_nothing(pipe: LightenPipeline) -> None:
    calls: list[int] = []
    pipe(mixed(), strength=0, callback=lambda i, t, x0: calls.append(i))
    assert calls == []


def test_steps_start_and_eta_reach_the_restorer(pipe: LightenPipeline) -> None:
    array = make_array(20, 27, 3, dtype="float32")
    choices: list[dict[str, Any]] = [{"num_inference_steps": 4}, {"start_timestep": 300}, {"eta": 0.5}]
    for options in choices:
        with torch.no_grad():
            expected = pipe.restorer(chw(array)[None], Sampling(**options), generator=seeded(0)[0])[0]
        torch.testing.assert_close(pipe(chw(array), **options), expected, atol=SLACK, rtol=0)
        assert not np.allclose(pipe(array, **options), pipe(array), atol=1e-3)
    four: Any = np.int64(4)
    assert np.array_equal(pipe(array, num_inference_steps=four), pipe(array, num_inference_steps=4))


def test_bound_to_its_options_it_does_the_same(pipe: LightenPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    array = make_array(20, 27, 3)
    options: dict[str, Any] = {"num_inference_steps": 3, "eta": 0.5, "exposure": 0.4, "strength": 0.7}
    bound = pipe.bind(**options, seed=7, tile=352)
    assert bound.sampling == Sampling(3, eta=0.5, exposure=0.4, strength=0.7)
    assert np.array_equal(bound(array), pipe(array, **options, seed=7, tile=352))
    half = bound(array, adjust=lambda restored, dark: 0.5 * restored)
    assert half.mean() < bound(array).mean()
    assert bound.many is None  # on a CPU, where together each takes as long as alone
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(LightenPipeline, "device", torch.device("cuda"))
    monkeypatch.setattr(pipe, "restore", lambda image, sampling, **rest: given.append(rest) or image)
    assert bound.many is not None
    assert len(bound.many([array, array])) == 2
    assert given == [{"seed": 7, "batch_size": 2, "tile": 352, "max_memory": None, "adjust": None, "progress": None}]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": 3}, TypeError, "steps"),
        ({"strength": 2}, ValueError, "strength: expected a number from 0 to 1, got 2"),
        ({"num_inference_steps": 1001}, ValueError, "num_inference_steps: expected from 1 to 1000, got 1001"),
        ({"seed": -1}, ValueError, "seed: expected an integer from 0"),
        ({"tile": 100}, ValueError, "tile: expected an integer of at least 352, got 100"),
    ],
)
def test_options_are_checked_when_they_are_bound(
    pipe: LightenPipeline, options: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pipe.bind(**options)


def test_callback_after_every_step_of_every_batch(pipe: LightenPipeline) -> None:
    seen: list[tuple] = []
    dark = torch.zeros(3, 3, 9, 14)
    pipe(dark, num_inference_steps=3, batch_size=2, callback=lambda i, t, x0: seen.append((i, t, tuple(x0.shape))))
    steps = list(enumerate(pipe.restorer.scheduler.timestep_list(3)))
    c, h, w = pipe.restorer.noise_shape(dark)[1:]
    assert seen == [(i, t, (b, c, h, w)) for b in (2, 1) for i, t in steps]


# ---- what is refused

RGB = make_array(8, 8, 3)
FLOAT = make_array(8, 8, 3, dtype="float32")


def with_value(value: float, dtype: str = "float32") -> np.ndarray:
    array = make_array(8, 8, 3, dtype=dtype)
    array[3, 4, 1] = value
    return array


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (7, TypeError, r"image: expected a PIL image, a NumPy array, a torch tensor or a path .*, got int"),
        (None, TypeError, r"image: expected .*, got None, which cv2.imread returns where it can't read a file"),
        ([RGB, None], TypeError, r"image\[1\]: expected .*, got None, which cv2.imread"),
        ([RGB, [RGB]], TypeError, r"image\[1\]: expected .*, got list"),
        (RGB.astype(np.int64), TypeError, "image: expected an array of uint8, .*, got int64"),
        (RGB > 3, TypeError, "got bool"),
        (chw(RGB).long(), TypeError, "image: expected a tensor of uint8, uint16 or floats, got torch.int64"),
        (np.zeros((8, 8, 5), np.uint8), ValueError, r"expected an array \(h, w\) or \(h, w, c\), .*, got \(8, 8, 5\)$"),
        (np.zeros((3, 8, 8), np.uint8), ValueError, r"got \(3, 8, 8\); channels come last in an array"),
        (np.zeros((2, 8, 8, 3), np.uint8), ValueError, r"got \(2, 8, 8, 3\); give a list for several"),
        (np.zeros(8, np.uint8), ValueError, r"got \(8,\)"),
        (torch.zeros(8, 8, 3), ValueError, r"a tensor \(c, h, w\) or .*, got \(8, 8, 3\); channels come first"),
        (torch.zeros(8, 8), ValueError, r"got \(8, 8\)"),
        (torch.zeros(1, 1, 3, 8, 8), ValueError, r"got \(1, 1, 3, 8, 8\)"),
        (np.zeros((0, 8, 3), np.uint8), ValueError, r"expected at least one pixel, got an array \(0, 8, 3\)"),
        (torch.zeros(0, 3, 8, 8), ValueError, r"expected at least one pixel, got a tensor \(0, 3, 8, 8\)"),
        (Image.new("RGB", (0, 5)), ValueError, r"expected at least one pixel, got a PIL image of size \(0, 5\)"),
        (Image.new("CMYK", (5, 5)), ValueError, "got CMYK; convert it to RGB first"),
        (Image.new("I", (5, 5), 70000), ValueError, "expected values in 0…65535 for mode I, .* from 70000 to 70000"),
        (Image.new("F", (5, 5), 255.0), ValueError, r"expected float values in \[0, 1\], got values from 255 to 255"),
        (with_value(np.nan), ValueError, r"image: expected float values in \[0, 1\], got NaN"),
        (with_value(np.inf, "float64"), ValueError, "got values from .* to inf"),
        (with_value(-np.inf, "float16"), ValueError, "got values from -inf to "),
        ([FLOAT, with_value(1.01)], ValueError, r"image\[1\]: expected float values .* to 1.01"),
        (with_value(-0.01), ValueError, "got values from -0.01 to "),
        (chw(FLOAT) * 255, ValueError, "got values from "),
    ],
)
def test_refuses_other_pictures(pipe: LightenPipeline, image: Any, error: type[Exception], message: str) -> None:
    for strength in (0.0, 1.0):
        with pytest.raises(error, match=message):
            pipe(image, strength=strength)


def test_nothing_is_restored_before_everything_is_checked(pipe: LightenPipeline) -> None:
    calls: list[int] = []
    with pytest.raises(ValueError, match=r"image\[1\]"):
        pipe([FLOAT, with_value(np.nan)], callback=lambda i, t, x0: calls.append(i))
    assert calls == []


def test_rounding_errors_beyond_the_range_are_forgiven(pipe: LightenPipeline) -> None:
    array = with_value(1 + 1e-6)
    assert np.array_equal(pipe(array), pipe(array.clip(0, 1)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"exposure": 3.5}, ValueError, "exposure: expected a number from -3.0 to 3.0, got 3.5"),
        ({"tile": 100}, ValueError, "tile: expected an integer of at least 352, got 100"),
        (
            {"tile": 352, "max_memory": 2},
            ValueError,
            "tile: expected None beside max_memory, got both, 352 and 2",
        ),
        ({"max_memory": -1}, ValueError, "max_memory: expected a number from 0 to inf, got -1"),
        ({"max_memory": "2 GB"}, TypeError, "max_memory: expected a number, got '2 GB'"),
        ({"strength": 1.5}, ValueError, "strength: expected a number from 0 to 1, got 1.5"),
        ({"strength": float("nan")}, ValueError, "strength: .* got nan"),
        ({"strength": "all"}, TypeError, "strength: expected a number, got 'all'"),
        ({"eta": -0.1}, ValueError, "eta: expected a number from 0 to 1, got -0.1"),
        ({"num_inference_steps": 0}, ValueError, "num_inference_steps: expected an integer of at least 1, got 0"),
        ({"num_inference_steps": 2.0}, TypeError, "num_inference_steps: expected an integer, got 2.0"),
        ({"num_inference_steps": 1001}, ValueError, "num_inference_steps: expected from 1 to 1000, got 1001"),
        ({"start_timestep": -1}, ValueError, "start_timestep: expected an integer of at least 0, got -1"),
        ({"start_timestep": 1000}, ValueError, "start_timestep: expected from 0 to 999, got 1000"),
        ({"seed": -1}, ValueError, "seed: expected an integer from 0 to 18446744073709551615, got -1"),
        ({"seed": 0.5}, TypeError, "seed: expected an integer, got 0.5"),
        ({"batch_size": 0}, ValueError, "batch_size: expected an integer of at least 1, got 0"),
        ({"generator": 3}, TypeError, "generator: expected a torch.Generator or a list of them, got int 3"),
        ({"generator": [0]}, TypeError, r"generator: .*, got list \[0\]"),
        ({"generator": seeded(0, 1)}, ValueError, "generator: expected one, or one per picture, 1 of them, got 2"),
        ({"callback": "print"}, TypeError, "callback: expected a function of 3 arguments, got str"),
    ],
)
def test_refuses_other_options(pipe: LightenPipeline, options: dict, error: type[Exception], message: str) -> None:
    for strength in (0.0, 1.0):
        with pytest.raises(error, match=message):
            pipe(RGB, **{"strength": strength, **options})


def test_output_that_is_not_finite() -> None:
    broken = LightenPipeline(make_restorer(), device="cpu", dtype=torch.bfloat16)
    broken.restorer.model.decoder.head.bias.fill_(float("nan"))
    with (
        pytest.warns(RuntimeWarning, match="isn't finite in torch.bfloat16: trying again in float32"),
        pytest.raises(RuntimeError, match="output isn't finite in float32: these weights are damaged"),
    ):
        broken(RGB)


# ---- loading, saving, device and precision


@pytest.mark.parametrize("half", [False, True])
def test_save_and_load(tmp_path: Path, half: bool) -> None:
    restorer = make_restorer()
    if half:
        restorer.half().float()  # weights that need no more digits
    pipe = LightenPipeline(restorer, device="cpu")
    pipe.save_pretrained(tmp_path / "a", half=half)
    again = LightenPipeline.from_pretrained(tmp_path / "a", device="cpu")
    assert again.restorer.config == pipe.restorer.config.for_restoring
    assert again.dtype == pipe.dtype
    image = make_array(20, 27, 3, dtype="float32")
    assert np.array_equal(again(image), pipe(image))
    again.save_pretrained(tmp_path / "b", half=half)
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_shipped_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "SHIPPED_WEIGHTS", tmp_path / "default")
    with pytest.raises(FileNotFoundError, match=r"came without weights \(none in .*default\); give a path"):
        LightenPipeline.from_pretrained(device="cpu")
    LightenPipeline(make_restorer(), device="cpu").save_pretrained(tmp_path / "default")
    assert LightenPipeline.from_pretrained(device="cpu").restorer.config == PRESETS["tiny"].for_restoring


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or folder"):
        LightenPipeline.from_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "toaster"}, "device: expected one that this machine has, got 'toaster'"),
        ({"device": "cuda:99"}, "device: expected one that this machine has, got 'cuda:99'"),
        ({"dtype": torch.float64}, "dtype: expected None, torch.float32, .*, got torch.float64"),
        ({"dtype": "bfloat16"}, "dtype: .*, got 'bfloat16'"),
    ],
)
def test_refuses_other_devices_and_precisions(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LightenPipeline.from_pretrained(tmp_path, **options)
    with pytest.raises(ValueError, match=message):
        LightenPipeline(make_restorer(), **options)


def test_ready_for_inference() -> None:
    pipe = LightenPipeline(make_restorer().train(), device="cpu")
    assert pipe.device == torch.device("cpu")
    assert not pipe.restorer.training
    assert not any(p.requires_grad for p in pipe.restorer.parameters())
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in pipe.restorer.parameters() if p.ndim == 4)


def test_precision_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def native(supported: bool) -> None:
        for query in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
            monkeypatch.setattr(torch.cpu, query, lambda: supported, raising=False)

    native(True)
    pipe = LightenPipeline(make_restorer(), device="cpu")
    assert (pipe.dtype, pipe.restorer.autocast_dtype) == (torch.bfloat16, torch.bfloat16)
    native(False)
    assert pipe.to("cpu") is pipe
    assert (pipe.dtype, pipe.restorer.autocast_dtype) == (torch.float32, None)
    given = LightenPipeline(pipe.restorer, device="cpu", dtype=torch.bfloat16).to("cpu")
    assert given.dtype == torch.bfloat16
    native(True)
    assert best_precision(PaperAutoencoder.preferred_dtype, torch.device("cpu")) == torch.float32
    for query in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):  # as in releases without them
        monkeypatch.delattr(torch.cpu, query)
    assert best_precision(LeanAutoencoder.preferred_dtype, torch.device("cpu")) == torch.float32


def test_low_precision_is_close(pipe: LightenPipeline) -> None:
    array = make_array(20, 27, 3, dtype="float32")
    result = LightenPipeline(make_restorer(), device="cpu", dtype=torch.bfloat16)(array)
    assert result.dtype == np.float32
    assert np.abs(result - pipe(array)).mean() < 0.01


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda(pipe: LightenPipeline) -> None:
    on_gpu = LightenPipeline(make_restorer(), device="cuda", dtype=torch.float32)
    images = [*mixed(), chw(make_array(20, 27, 3, dtype="uint16")).cuda(), torch.rand(3, 9, 14).cuda()]
    for image, result in zip(images, on_gpu(images), strict=True):
        if isinstance(image, Tensor):
            assert (result.device, result.dtype) == (image.device, image.dtype)
            image, result = image.cpu(), result.cpu()
        # convolutions in TF32 have the digits of half precision
        np.testing.assert_allclose(unit(result), unit(pipe(image)), atol=0.03, rtol=0)
