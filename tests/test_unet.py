"""The conditional UNet: its parts against closed forms, its shapes, precision and memory formats."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lightendiff.models.unet import Attention, Downsample, ResidualBlock, TimeEmbedding, UNet, Upsample


def small_unet(**changes: object) -> UNet:
    torch.manual_seed(0)
    arguments: dict = {"channels": (8, 16, 16), "attention_levels": (2,), "norm_groups": 4} | changes
    return UNet(4, 5, **arguments).eval()


def small_inputs(batch: int = 2, height: int = 8, width: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, 4, height, width, generator=generator)
    return x, torch.tensor([7, 801, 40][:batch]), torch.randn(batch, 5, height, width, generator=generator)


def test_published_size() -> None:
    unet = UNet(3, 3, (64, 128, 192, 256))
    assert round(sum(p.numel() for p in unet.parameters()) / 1e6, 1) == 20.8
    assert unet.time_embedding.linear1.weight.shape == (256, 64)


@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize(("channels", "attention"), [((8,), ()), ((8, 16), (0, 1)), ((8, 16, 8, 12), (2,))])
def test_shape_is_kept(blocks: int, channels: tuple[int, ...], attention: tuple[int, ...]) -> None:
    unet = small_unet(channels=channels, blocks_per_level=blocks, attention_levels=attention)
    x, t, condition = small_inputs(height=8, width=16)
    assert unet(x, t, condition).shape == x.shape
    assert unet.multiple == 2 ** (len(channels) - 1)
    for levels in (unet.down, unet.up):
        assert [i for i, level in enumerate(levels) if len(level.attentions)] == list(attention)


@torch.no_grad()
def test_batch_equals_single_and_scalar_t_equals_tensor() -> None:
    unet, (x, t, condition) = small_unet(), small_inputs(batch=3)
    together = unet(x, t, condition)
    for i in range(3):
        single = unet(x[i : i + 1], int(t[i]), condition[i : i + 1])
        torch.testing.assert_close(single, together[i : i + 1], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_condition_comes_first() -> None:
    unet, (x, t, condition) = small_unet(), small_inputs()
    reference = unet(x, t, condition)
    unet.conv_in.weight[:, :5] = 0  # the condition's part
    assert torch.equal(unet(x, t, condition), unet(x, t, torch.zeros_like(condition)))
    assert not torch.allclose(unet(x, t, condition), reference)


@torch.no_grad()
def test_depends_on_every_input() -> None:
    unet, (x, t, condition) = small_unet(), small_inputs()
    reference = unet(x, t, condition)
    for changed in ((x + 1, t, condition), (x, t + 100, condition), (x, t, condition.flip(3))):
        assert not torch.allclose(unet(*changed), reference, atol=1e-4)


@torch.no_grad()
def test_channels_last_and_autocast() -> None:
    unet, (x, t, condition) = small_unet(), small_inputs()
    reference = unet(x, t, condition)
    unet = unet.to(memory_format=torch.channels_last)
    x, condition = (a.contiguous(memory_format=torch.channels_last) for a in (x, condition))
    output = unet(x, t, condition)
    torch.testing.assert_close(output, reference, atol=1e-5, rtol=1e-5)
    assert output.is_contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        half = unet(x, t, condition)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), reference, atol=0.05, rtol=0.05)


def test_gradients_reach_every_parameter() -> None:
    unet, (x, t, condition) = small_unet(), small_inputs()
    unet(x, t, condition).square().sum().backward()
    # adding a constant to a key moves all scores of a row alike: its gradient is zero but for rounding
    without = [n for n, p in unet.named_parameters() if p.grad is None or not p.grad.any()]
    assert [name for name in without if not name.endswith("key.bias")] == []


@torch.no_grad()
def test_time_embedding_is_sines_then_cosines() -> None:
    embedding = TimeEmbedding(8, 8)
    for linear in (embedding.linear1, embedding.linear2):
        linear.weight.copy_(torch.eye(8))
        linear.bias.zero_()
    t = torch.tensor([0, 3, 999])
    frequencies = [10000 ** (-k / 3) for k in range(4)]  # from 1 to 1/10000, both included
    expected = torch.tensor([[f(int(s) * w) for f in (math.sin, math.cos) for w in frequencies] for s in t])
    torch.testing.assert_close(
        embedding(t, torch.empty(3, 1)), torch.nn.functional.silu(expected), atol=1e-4, rtol=1e-4
    )


@torch.no_grad()
def test_attention_is_softmax_between_positions() -> None:
    torch.manual_seed(0)
    attention, x = Attention(8, 2), torch.randn(2, 8, 3, 4)
    h = attention.norm(x).flatten(2)

    def linear(conv: torch.nn.Conv2d, values: Tensor) -> Tensor:
        return torch.einsum("oc,bcn->bon", conv.weight[:, :, 0, 0], values) + conv.bias[:, None]

    q, k, v = (linear(conv, h) for conv in (attention.query, attention.key, attention.value))
    weights = torch.softmax(torch.einsum("bcn,bcm->bnm", q, k) / math.sqrt(8), dim=-1)
    expected = x + linear(attention.project, torch.einsum("bnm,bcm->bcn", weights, v)).view_as(x)
    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_residual_block_by_hand() -> None:
    torch.manual_seed(0)
    block, x, embedding = ResidualBlock(4, 8, 6, 2), torch.randn(2, 4, 5, 6), torch.randn(2, 6)

    def normalised(values: Tensor, norm: torch.nn.GroupNorm) -> Tensor:
        groups = values.reshape(2, 2, -1)
        variance, mean = torch.var_mean(groups, dim=2, correction=0, keepdim=True)
        groups = (groups - mean) / (variance + 1e-6).sqrt()
        return groups.view_as(values) * norm.weight[:, None, None] + norm.bias[:, None, None]

    h = normalised(x, block.norm1)
    h = block.conv1(h * h.sigmoid()) + block.time(embedding)[:, :, None, None]
    h = normalised(h, block.norm2)
    expected = block.conv2(h * h.sigmoid()) + block.shortcut(x)
    torch.testing.assert_close(block(x, embedding), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_downsample_pads_right_and_bottom_only() -> None:
    down = Downsample(1)
    down.conv.weight.fill_(1.0)
    down.conv.bias.zero_()
    x = torch.arange(16.0).view(1, 1, 4, 4)
    expected = [[x[0, 0, y : y + 3, c : c + 3].sum() for c in (0, 2)] for y in (0, 2)]
    assert torch.equal(down(x)[0, 0], torch.tensor(expected))


@torch.no_grad()
def test_upsample_repeats_then_convolves() -> None:
    up, x = Upsample(2), torch.randn(1, 2, 3, 4)
    expected = up.conv(x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
    torch.testing.assert_close(up(x), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": (6, 16)}, r"channels: .* multiples of norm_groups=4, got \(6, 16\)"),
        ({"channels": ()}, "channels"),
        ({"channels": (3,), "norm_groups": 1}, r"channels\[0\]: expected an even number"),
        ({"blocks_per_level": 0}, "blocks_per_level: .* got 0"),
        ({"attention_levels": (3,)}, r"attention_levels must lie in 0…2, got \(3,\)"),
    ],
)
def test_constructor_errors(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_unet(**changes)


def test_input_errors() -> None:
    unet, (x, t, condition) = small_unet(), small_inputs()
    with pytest.raises(ValueError, match=r"x_t: expected \(b, 4, h, w\), got \(2, 3, 8, 12\)"):
        unet(x[:, :3], t, condition)
    with pytest.raises(ValueError, match=r"multiples of 4, got \(2, 4, 6, 12\)"):
        unet(x[:, :, :6], t, condition[:, :, :6])
    with pytest.raises(ValueError, match=r"condition: expected \(2, 5, 8, 12\)"):
        unet(x, t, condition[:, :, :4])
    with pytest.raises(ValueError, match=r"t: expected one number or \(2,\)"):
        unet(x, torch.tensor([1, 2, 3]), condition)
