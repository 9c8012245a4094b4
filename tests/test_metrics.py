from __future__ import annotations

import math

import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from lightendiff.evaluation.metrics import brightness_matched, psnr, quantise, ssim


def picture(count: int = 2) -> Tensor:
    """In steps of 1/255 between 20/255 and 200/255."""
    codes = torch.randint(20, 200, (count, 3, 24, 31), generator=torch.Generator().manual_seed(0))
    return codes / 255.0


@pytest.mark.parametrize("code_values", [1, 10, -20])
def test_psnr_of_a_constant_offset(code_values: int) -> None:
    expected = -20.0 * math.log10(abs(code_values) / 255)
    torch.testing.assert_close(psnr(picture() + code_values / 255, picture()), torch.full((2,), expected))


def test_psnr_of_what_files_would_hold() -> None:
    torch.testing.assert_close(psnr(picture() + 0.4 / 255, picture()), torch.full((2,), math.inf))
    assert psnr(torch.full((1, 3, 4, 4), 1.7), torch.ones(1, 3, 4, 4)).item() == math.inf
    assert psnr(torch.full((1, 3, 4, 4), -0.2), torch.zeros(1, 3, 4, 4)).item() == math.inf


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_pictures_of_a_batch_are_measured_apart(metric) -> None:
    prediction = picture() + torch.tensor([0.05, 0.2])[:, None, None, None]
    alone = torch.cat([metric(prediction[i : i + 1], picture()[i : i + 1]) for i in range(2)])
    assert alone[0] > alone[1]
    torch.testing.assert_close(metric(prediction, picture()), alone)


def test_ssim_of_identical_pictures_is_one() -> None:
    torch.testing.assert_close(ssim(picture(), picture()), torch.ones(2))


def test_ssim_is_that_of_scikit_image() -> None:
    noise = 0.1 * torch.randn(picture().shape, generator=torch.Generator().manual_seed(1))
    prediction = picture() + noise
    expected = [
        structural_similarity(
            a.numpy(),
            b.numpy(),
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(quantise(prediction), picture(), strict=True)
    ]
    torch.testing.assert_close(
        ssim(prediction, picture()), torch.tensor(expected), atol=1e-4, rtol=0, check_dtype=False
    )


def test_quantise() -> None:
    values = torch.tensor([-1.0, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 2.0], dtype=torch.float64)
    expected = torch.tensor([0.0, 0.0, 0.0, 1 / 255, 1.0, 1.0])
    torch.testing.assert_close(quantise(values), expected)
    torch.testing.assert_close(quantise(quantise(values)), expected, atol=0, rtol=0)


def test_brightness_matching_undoes_a_factor_for_each_picture() -> None:
    factors = torch.tensor([0.25, 1.2])[:, None, None, None]
    torch.testing.assert_close(brightness_matched(factors * picture(), picture()), picture())
    assert brightness_matched(torch.zeros_like(picture()), picture()).abs().max() == 0
    assert brightness_matched(picture() ** 4, picture()).max() <= 1


def test_ssim_needs_room_for_its_window() -> None:
    with pytest.raises(ValueError, match=r"target: expected at least 11×11 pixels, got \(1, 3, 10, 30\)"):
        ssim(torch.rand(1, 3, 10, 30), torch.rand(1, 3, 10, 30))
