"""Plausible exposures of one picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from lightendiff import LightenPipeline, Restorer
from lightendiff.diffusion.options import EXPOSURE_DEVIATION, MAX_EXPOSURE, plausible_exposures
from lightendiff.models.presets import PRESETS
from lightendiff.tone import exposed

DARK = (np.random.default_rng(0).random((40, 56, 3)) * 60).astype(np.uint8)


def make_pipe(preset: str = "tiny") -> LightenPipeline:
    torch.manual_seed(0)
    return LightenPipeline(Restorer(PRESETS[preset]), device="cpu", dtype=torch.float32)


def test_each_choice_is_the_nearest_as_often() -> None:
    samples = np.random.default_rng(0).normal(0, EXPOSURE_DEVIATION, 20_000)
    for count in (1, 2, 3, 5):
        choices = np.array(plausible_exposures(count))
        assert len(choices) == count
        np.testing.assert_allclose(choices, -choices[::-1], atol=1e-9)  # the automatic one in the middle
        shares = [NormalDist(0, EXPOSURE_DEVIATION).cdf(stops) for stops in choices]
        np.testing.assert_allclose(np.diff(shares), 1 / count)
    nearest = np.abs(samples[:, None] - np.array(plausible_exposures(3))).argmin(axis=1)
    assert np.bincount(nearest).min() > 0.25 * len(samples)


def test_variants_are_the_pipelines_pictures_in_order_of_brightness() -> None:
    pipe = make_pipe()
    pictures = pipe.variants(DARK, 3)
    assert [picture.shape for picture in pictures] == [DARK.shape] * 3
    means = [picture.mean() for picture in pictures]
    assert means[0] < means[1] < means[2]
    np.testing.assert_array_equal(pictures[1], pipe(DARK))
    np.testing.assert_array_equal(pictures[2], pipe(DARK, exposure=plausible_exposures(3)[2]))


def test_variants_of_any_type_and_around_an_exposure() -> None:
    pipe = make_pipe()
    one = pipe.variants(Image.fromarray(DARK), 1, exposure=0.5)
    assert len(one) == 1
    assert isinstance(one[0], Image.Image)
    np.testing.assert_array_equal(np.asarray(one[0]), pipe(DARK, exposure=0.5))
    brightest = pipe.variants(torch.from_numpy(DARK).permute(2, 0, 1), 3, exposure=MAX_EXPOSURE)
    assert torch.equal(brightest[1], brightest[2])  # beyond the limit there is nothing


def test_errors() -> None:
    pipe = make_pipe()
    for arguments, error, message in (
        ((DARK, 0), ValueError, "n: expected an integer from 1 to 100, got 0"),
        (([DARK], 3), TypeError, "image: expected one picture, got a list"),
        ((DARK, 2.5), TypeError, "n: expected an integer"),
    ):
        with pytest.raises(error, match=message):
            pipe.variants(*arguments)
    with pytest.raises(ValueError, match="has no control"):
        LightenPipeline(Restorer(PRESETS["paper"]), device="cpu").variants(DARK)


def test_the_benchmark_finds_the_stops_that_are_missing(load_script: Callable[[Path], ModuleType]) -> None:
    script = load_script(Path(__file__).parents[1] / "benchmarks" / "variants.py")
    restored = DARK.transpose(2, 0, 1)
    brighter = (exposed(torch.from_numpy(restored).float() / 255, 0.7) * 255).round().numpy().astype(np.uint8)
    assert script.stops_between(restored, brighter) == pytest.approx(0.7, abs=0.03)
