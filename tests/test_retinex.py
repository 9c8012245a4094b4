"""The latent Retinex decomposition: both attentions against explicit loops, ranges and edge cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lightendiff.models.retinex import ChannelSelfAttention, RetinexDecomposition, RowCrossAttention

WIDTH = 16


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


@pytest.fixture
def features() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, WIDTH, 3, 5, generator=generator), torch.randn(2, WIDTH, 3, 5, generator=generator)


@torch.no_grad()
def test_cross_attention_row_by_row(features: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(1)
    attention, (target, source) = RowCrossAttention(WIDTH), features
    q, k, v = (x.double().numpy() for x in (attention.query(target), attention.key(source), attention.value(source)))
    expected = np.zeros((2, WIDTH, 3, 5))
    for b in range(2):
        for y in range(3):
            for i in range(WIDTH):
                scores = [sum(q[b, i, y, x] * k[b, j, y, x] for x in range(5)) for j in range(WIDTH)]
                weights = softmax(np.array(scores) / math.sqrt(WIDTH / 8))
                expected[b, i, y] = sum(weights[j] * v[b, j, y] for j in range(WIDTH))
    np.testing.assert_allclose(attention(target, source).numpy(), expected, atol=1e-5)


@torch.no_grad()
def test_self_attention_head_by_head(features: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(1)
    attention, x = ChannelSelfAttention(WIDTH), features[0]
    q, k, v = np.split(attention.qkv(x).double().numpy().reshape(2, 3 * WIDTH, -1), 3, axis=1)
    attended = np.zeros((2, WIDTH, 15))
    size = WIDTH // 8
    for b in range(2):
        for head in range(8):
            channels = range(head * size, (head + 1) * size)
            for i in channels:
                cosines = [q[b, i] @ k[b, j] / np.linalg.norm(q[b, i]) / np.linalg.norm(k[b, j]) for j in channels]
                weights = softmax(np.array(cosines))
                attended[b, i] = sum(w * v[b, j] for w, j in zip(weights, channels, strict=True))
    expected = attention.project(torch.from_numpy(attended).float().view(2, WIDTH, 3, 5))
    np.testing.assert_allclose(attention(x).numpy(), expected.numpy(), atol=1e-5)


@torch.no_grad()
def test_first_guess_is_the_maximum_over_channels() -> None:
    torch.manual_seed(2)
    retinex, latent = RetinexDecomposition(4, 8), torch.rand(2, 4, 5, 7)
    seen = {}
    retinex.reflectance_in.register_forward_pre_hook(lambda _, inputs: seen.update(reflectance=inputs[0]))
    retinex.illumination_in.register_forward_pre_hook(lambda _, inputs: seen.update(illumination=inputs[0]))
    retinex(latent)
    assert torch.equal(seen["illumination"], latent.max(dim=1, keepdim=True).values)
    torch.testing.assert_close(seen["reflectance"] * seen["illumination"], latent)


@torch.no_grad()
def test_content_moves_from_illumination_to_reflectance() -> None:
    """With an attention that finds no content, the reflectance's head sees the cross attention and nothing else."""
    torch.manual_seed(2)
    retinex, latent = RetinexDecomposition(3, 8), torch.rand(1, 3, 4, 4)
    retinex.self_attention.project.weight.zero_()
    retinex.self_attention.project.bias.fill_(0.25)  # the content, the same everywhere
    brightest = latent.amax(1, keepdim=True)
    r, i = retinex.reflectance_in(latent / brightest), retinex.illumination_in(brightest)
    reflectance, illumination = retinex(latent)
    expected = torch.sigmoid(retinex.reflectance_out(retinex.cross_attention(i, r) + 0.25))
    torch.testing.assert_close(reflectance, expected)
    torch.testing.assert_close(illumination[:, :1], torch.sigmoid(retinex.illumination_out(i - 0.25)))


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 3, 5, 9)])
def test_shapes_and_ranges(shape: tuple[int, ...]) -> None:
    torch.manual_seed(3)
    reflectance, illumination = RetinexDecomposition(3, 8)(torch.rand(shape))
    for part in (reflectance, illumination):
        assert part.shape == shape
        assert part.min() > 0
        assert part.max() < 1
    assert torch.equal(illumination[:, 0], illumination[:, 2])


def test_black_latent_has_finite_values_and_gradients() -> None:
    latent = torch.zeros(1, 3, 4, 4, requires_grad=True)
    parts = RetinexDecomposition(3, 8)(latent)
    sum(part.sum() for part in parts).backward()
    assert all(part.isfinite().all() for part in parts)
    assert latent.grad is not None
    assert latent.grad.isfinite().all()


@torch.no_grad()
def test_channels_last_and_autocast() -> None:
    torch.manual_seed(4)
    retinex, latent = RetinexDecomposition(3, 16), torch.rand(1, 3, 6, 8)
    reference = retinex(latent)
    retinex = retinex.to(memory_format=torch.channels_last)
    torch.testing.assert_close(retinex(latent.contiguous(memory_format=torch.channels_last)), reference)
    with torch.autocast("cpu", torch.bfloat16):
        half = retinex(latent)
    torch.testing.assert_close(half, reference, atol=0.05, rtol=0.05, check_dtype=False)


def test_errors() -> None:
    with pytest.raises(ValueError, match="width: expected a positive multiple of 8, got 12"):
        RetinexDecomposition(3, 12)
    with pytest.raises(ValueError, match=r"latent: expected \(b, 3, h, w\), got \(1, 4, 8, 8\)"):
        RetinexDecomposition(3, 8)(torch.rand(1, 4, 8, 8))


def test_a_new_reflectance_leaves_room_for_the_illumination() -> None:
    """At 0.5, illumination would have to be 1 for a latent of 0.5."""
    torch.manual_seed(0)
    reflectance, illumination = RetinexDecomposition()(torch.rand(2, 3, 8, 8))
    assert 0.75 < reflectance.mean() < 0.9
    assert 0.3 < illumination.mean() < 0.7
