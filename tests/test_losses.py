from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from lightendiff.data.datasets import SelfMade
from lightendiff.training.losses import ImageLoss, charbonnier, match_brightness, retinex_losses, ssim_loss


def pictures(count: int = 2, size: tuple[int, int] = (61, 84)) -> tuple[Tensor, Tensor]:
    """Noisy, brightened dark pictures and their targets, (count, 3, h, w)."""
    source = SelfMade(count, size)
    source.load()
    target = torch.stack([torch.from_numpy(pair.target) for pair in source.pairs()]) / 255.0
    noise = 0.05 * torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    return (0.8 * target + noise).clamp(0.0, 1.0), target


@pytest.mark.parametrize("difference", [0.0, 1e-4, -0.3])
def test_charbonnier_of_a_constant_difference(difference: float) -> None:
    target = torch.rand(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = math.sqrt(difference**2 + 1e-6) - 1e-3
    assert charbonnier(target + difference, target).item() == pytest.approx(expected, abs=1e-12)


def test_charbonnier_is_smooth_at_zero() -> None:
    prediction = torch.zeros(1, 3, 4, 4, requires_grad=True)
    charbonnier(prediction, torch.zeros(1, 3, 4, 4)).backward()
    assert torch.equal(prediction.grad, torch.zeros_like(prediction))


def test_ssim_loss_is_ssim_at_every_second_position() -> None:
    prediction, target = pictures()
    _, everywhere = structural_similarity_index_measure(
        prediction, target, data_range=1.0, kernel_size=11, sigma=1.5, return_full_image=True
    )
    inside = everywhere[..., 5:-5, 5:-5]  # where the window doesn't leave the picture
    loss = ssim_loss(prediction, target).item()
    assert loss == pytest.approx(1.0 - inside[..., ::2, ::2].mean().item(), abs=1e-5)
    assert loss == pytest.approx(1.0 - inside.mean().item(), abs=0.01)


def test_ssim_loss_of_identical_pictures_is_zero() -> None:
    _, target = pictures()
    assert ssim_loss(target, target).item() == pytest.approx(0.0, abs=1e-6)


def test_match_brightness() -> None:
    _, target = pictures()
    torch.testing.assert_close(match_brightness(0.5 * target, target), target)
    # one factor for each picture, of at most 4 and at least ¼
    factors = torch.tensor([0.1, 8.0])[:, None, None, None]
    torch.testing.assert_close(
        match_brightness(factors * target, target), factors * target * factors.new([4, 0.25])[:, None, None, None]
    )
    assert match_brightness(torch.zeros_like(target), target).abs().max() == 0


def test_match_brightness_takes_the_factor_for_a_constant() -> None:
    _, target = pictures(1)
    prediction = (0.5 * target).requires_grad_()
    match_brightness(prediction, target).sum().backward()
    torch.testing.assert_close(prediction.grad, torch.full_like(target, 2.0))


def test_image_loss_weighs_its_parts() -> None:
    prediction, target = pictures()
    plain = charbonnier(prediction, target) + 0.3 * ssim_loss(prediction, target)
    matched = match_brightness(prediction, target)
    matched_loss = charbonnier(matched, target) + 0.3 * ssim_loss(matched, target)
    torch.testing.assert_close(ImageLoss(0.3, 0.0)(prediction, target), plain)
    torch.testing.assert_close(ImageLoss(0.3, 0.25)(prediction, target), 0.75 * plain + 0.25 * matched_loss)
    assert ImageLoss(0.3, 1.0)(0.5 * target, target).item() == pytest.approx(0.0, abs=1e-5)


def test_retinex_losses_of_a_perfect_decomposition_are_zero() -> None:
    reflectance = torch.rand(2, 4, 6, 7, generator=torch.Generator().manual_seed(0))
    lights = [torch.full_like(reflectance, level) for level in (0.1, 0.4, 0.9)]
    losses = retinex_losses([reflectance * light for light in lights], [(reflectance, light) for light in lights])
    assert losses.keys() == {"reconstruction", "reflectance", "smoothness"}
    assert all(loss.item() == 0.0 for loss in losses.values())


def test_retinex_losses_by_hand() -> None:
    def plane(value: float) -> Tensor:
        return torch.full((1, 4, 3, 5), value)

    losses = retinex_losses([plane(0.2), plane(0.5)], [(plane(0.5), plane(0.6)), (plane(0.9), plane(1.0))])
    # |0.2 − 0.5·0.6| + |0.5 − 0.5·1.0| + |0.2 − 0.9·0.6| + |0.5 − 0.9·1.0|
    assert losses["reconstruction"].item() == pytest.approx(0.1 + 0.0 + 0.34 + 0.4)
    assert losses["reflectance"].item() == pytest.approx(0.4)
    assert losses["smoothness"].item() == 0.0


def test_illumination_may_change_where_reflectance_does() -> None:
    step = torch.zeros(1, 4, 2, 5)
    step[..., 3:] = 0.5
    flat = torch.full_like(step, 0.3)
    (over_flat, over_step) = (retinex_losses([r * step], [(r, step)])["smoothness"].item() for r in (flat, step))
    assert over_flat == pytest.approx(0.5 / 4)  # one of the four differences in a row
    assert over_step == pytest.approx(0.5 / 4 * math.exp(-10 * 0.5))
