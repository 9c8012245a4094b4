"""The conditional UNet of both architectures: the DDPM/DDIM network (Ho et al. 2020, Song et al. 2021) on latents.

Going down, a level has `blocks_per_level` residual blocks, each followed by self-attention where its index is in
`attention_levels`, then a stride-2 convolution except at the last level. In the middle: block, attention, block. Going
up: `blocks_per_level + 1` blocks, each of which takes one skip of the way down, then nearest upsampling and a
convolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = 1e-6


class UNet(nn.Module):
    """Predicts ε, x₀ or v (whatever it was trained for) from a noisy latent, its timestep and a condition.

    Args:
        latent_channels: channels of `x_t` and of the prediction.
        condition_channels: channels of the condition.
        channels: width of each level, outermost first; every width is a multiple of `norm_groups`.
        blocks_per_level: residual blocks of a level going down (one more going up).
        attention_levels: indices of the levels with attention after every block.
        norm_groups: groups of every GroupNorm.
        residual: whether what is predicted is the difference from the condition's first `latent_channels` channels.
        time_channels: width of the time embedding; 4·channels[0] if None. Its sinusoids have channels[0] entries.
        sample_size: side, or (height, width), of what `DDIMPipeline` samples with it; None where nothing asks.

    Raises:
        ValueError: a width isn't a multiple of `norm_groups`, or a level index doesn't exist.

    The published network is `UNet(3, 3, (64, 128, 192, 256))`.
    """

    first_and_last = ("conv_in.weight", "conv_out.weight")  # between latents and features, which Muon isn't made for

    def __init__(
        self,
        latent_channels: int,
        condition_channels: int,
        channels: Sequence[int],
        blocks_per_level: int = 2,
        attention_levels: Sequence[int] = (2,),
        norm_groups: int = 32,
        residual: bool = False,
        time_channels: int | None = None,
        sample_size: int | tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        channels = tuple(channels)
        _check_arguments(channels, blocks_per_level, tuple(attention_levels), norm_groups)
        self.latent_channels = latent_channels
        self.config = {"sample_size": sample_size, "in_channels": latent_channels}  # by diffusers' names
        self.residual = residual
        self.condition_channels = condition_channels
        self.multiple = 2 ** (len(channels) - 1)  # latent height and width are multiples of this
        width = time_channels or 4 * channels[0]
        last = len(channels) - 1

        self.time_embedding = TimeEmbedding(channels[0], width)
        self.conv_in = nn.Conv2d(condition_channels + latent_channels, channels[0], 3, padding=1)
        skips = [channels[0]]  # channels of every tensor that the way down leaves for the way up
        down: list[nn.Module] = []
        for i, c in enumerate(channels):
            inputs = [skips[-1]] + [c] * (blocks_per_level - 1)
            downsample = Downsample(c) if i < last else None
            down.append(DownLevel(inputs, c, width, norm_groups, i in attention_levels, downsample))
            skips += [c] * (blocks_per_level + (i < last))

        self.down = nn.ModuleList(down)
        c = channels[-1]
        self.middle = Middle(c, width, norm_groups)

        up: list[nn.Module] = []
        for i in reversed(range(len(channels))):
            inputs = []
            for _ in range(blocks_per_level + 1):
                inputs.append(c + skips.pop())
                c = channels[i]
            upsample = Upsample(c) if i > 0 else None
            up.append(UpLevel(inputs, c, width, norm_groups, i in attention_levels, upsample))
        self.up = nn.ModuleList(reversed(up))  # indexed by level, like `down`
        self.norm_out = nn.GroupNorm(norm_groups, channels[0], eps=NORM_EPS)
        self.conv_out = nn.Conv2d(channels[0], latent_channels, 3, padding=1)
        if residual:
            nn.init.zeros_(self.conv_out.weight)
            nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    def forward(self, x_t: Tensor, t: Tensor | int | float, condition: Tensor | None = None) -> Tensor:
        """Predict from one noise level per image.

        Args:
            x_t: noisy latents, (b, latent_channels, h, w); h and w are multiples of `self.multiple`.
            t: timesteps, (b,) or one for all; integer or float.
            condition: (b, condition_channels, h, w); None where there are no such channels.

        Returns:
            The prediction, shaped like `x_t` (in autocast's dtype where autocast is on).
        """
        condition = x_t[:, :0] if condition is None else condition
        self._check_inputs(x_t, condition)
        # SiLU once here: every block would apply it to the same embedding
        embedding = F.silu(self.time_embedding(t, x_t))
        h = self.conv_in(torch.cat([condition, x_t.to(condition.dtype)], dim=1))
        skips = [h]
        for level in self.down:
            h = level(h, embedding, skips)
        h = self.middle(h, embedding)
        for level in reversed(self.up):
            h = level(h, embedding, skips)
        h = self.conv_out(F.silu(self.norm_out(h), inplace=True))
        return h + condition[:, : self.latent_channels] if self.residual else h

    def _check_inputs(self, x_t: Tensor, condition: Tensor) -> None:
        expected = (x_t.shape[0], self.condition_channels, *x_t.shape[2:])
        if x_t.ndim != 4 or x_t.shape[1] != self.latent_channels:
            raise ValueError(f"x_t: expected (b, {self.latent_channels}, h, w), got {tuple(x_t.shape)}")
        if condition.shape != expected:
            raise ValueError(f"condition: expected {expected} for x_t {tuple(x_t.shape)}, got {tuple(condition.shape)}")
        if x_t.shape[2] % self.multiple or x_t.shape[3] % self.multiple:
            raise ValueError(f"x_t: expected height and width in multiples of {self.multiple}, got {tuple(x_t.shape)}")


class Level(nn.Module):
    """Residual blocks at one resolution, attention after each where wanted, and the way to the next resolution."""

    def __init__(
        self,
        inputs: Sequence[int],
        channels: int,
        time_channels: int,
        norm_groups: int,
        attention: bool,
        resample: nn.Module | None,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(c, channels, time_channels, norm_groups) for c in inputs)
        self.attentions = nn.ModuleList(Attention(channels, norm_groups) for _ in inputs if attention)
        self.resample = resample

    def block(self, i: int, h: Tensor, embedding: Tensor) -> Tensor:
        h = self.blocks[i](h, embedding)
        return self.attentions[i](h) if len(self.attentions) else h


class DownLevel(Level):
    def forward(self, h: Tensor, embedding: Tensor, skips: list[Tensor]) -> Tensor:
        """Appends the output of every block (and of the downsampling) to `skips`."""
        for i in range(len(self.blocks)):
            h = self.block(i, h, embedding)
            skips.append(h)
        if self.resample is not None:
            h = self.resample(h)
            skips.append(h)
        return h


class UpLevel(Level):
    def forward(self, h: Tensor, embedding: Tensor, skips: list[Tensor]) -> Tensor:
        """Takes one tensor from the end of `skips` for every block."""
        for i in range(len(self.blocks)):
            h = self.block(i, torch.cat([h, skips.pop()], dim=1), embedding)
        return h if self.resample is None else self.resample(h)


class Middle(nn.Module):
    """Residual block, attention, residual block at the lowest resolution."""

    def __init__(self, channels: int, time_channels: int, norm_groups: int) -> None:
        super().__init__()
        self.block1 = ResidualBlock(channels, channels, time_channels, norm_groups)
        self.attention = Attention(channels, norm_groups)
        self.block2 = ResidualBlock(channels, channels, time_channels, norm_groups)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        return self.block2(self.attention(self.block1(h, embedding)), embedding)


class ResidualBlock(nn.Module):
    """GroupNorm, SiLU, 3×3; plus the projected time embedding; GroupNorm, SiLU, 3×3; plus the input."""

    def __init__(self, in_channels: int, out_channels: int, time_channels: int, norm_groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(norm_groups, in_channels, eps=NORM_EPS)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time = nn.Linear(time_channels, out_channels)
        self.norm2 = nn.GroupNorm(norm_groups, out_channels, eps=NORM_EPS)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (b, c, h, w), embedding (b, time_channels) after its SiLU -> (b, out_channels, h, w)."""
        h = self.conv1(F.silu(self.norm1(x), inplace=True))
        h = h + self.time(embedding)[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h), inplace=True))
        return h + self.shortcut(x)


class Attention(nn.Module):
    """Single-head self-attention between the positions of a feature map, added to it."""

    def __init__(self, channels: int, norm_groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(norm_groups, channels, eps=NORM_EPS)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        # (b, c, h, w) -> (b, 1 head, h·w, c): a view where the memory is channels-last
        q, k, v = (conv(h).flatten(2).transpose(1, 2).unsqueeze(1) for conv in (self.query, self.key, self.value))
        h = F.scaled_dot_product_attention(q, k, v)
        return x + self.project(h.squeeze(1).transpose(1, 2).unflatten(2, x.shape[2:]))


class Downsample(nn.Module):
    """3×3 convolution with stride 2 that pads on the right and bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Nearest neighbour by 2, then a 3×3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class TimeEmbedding(nn.Module):
    """Sinusoids of the timestep (all sines, then all cosines), then two linear layers."""

    def __init__(self, sinusoids: int, channels: int) -> None:
        super().__init__()
        self.sinusoids = sinusoids
        self.linear1 = nn.Linear(sinusoids, channels)
        self.linear2 = nn.Linear(channels, channels)

    def forward(self, t: Tensor | int | float, x_t: Tensor) -> Tensor:
        """t (b,) or one number, x_t (b, …) for batch size and device -> (b, channels)."""
        t = torch.as_tensor(t, device=x_t.device).float()
        if t.numel() != 1 and t.shape != x_t.shape[:1]:
            raise ValueError(f"t: expected one number or ({x_t.shape[0]},) like x_t's batch, got {tuple(t.shape)}")
        t = t.reshape(-1).expand(x_t.shape[0])
        half = self.sinusoids // 2
        # in float32 whatever the network's precision: half precision can't tell t = 999 from t = 998
        frequencies = torch.exp(torch.arange(half, device=t.device) * (-math.log(10000.0) / (half - 1)))
        angles = t[:, None] * frequencies
        sinusoids = torch.cat([angles.sin(), angles.cos()], dim=1)
        return self.linear2(F.silu(self.linear1(sinusoids.to(self.linear1.weight.dtype))))


def _check_arguments(channels: tuple[int, ...], blocks: int, attention_levels: tuple[int, ...], groups: int) -> None:
    if not channels or any(c <= 0 or c % groups for c in channels):
        raise ValueError(f"channels: expected positive multiples of norm_groups={groups}, got {channels}")
    if channels[0] % 2 or channels[0] < 4:
        raise ValueError(f"channels[0]: expected an even number of at least 4, for sinusoids, got {channels[0]}")
    if blocks < 1:
        raise ValueError(f"blocks_per_level: expected at least 1, got {blocks}")
    if any(not 0 <= i < len(channels) for i in attention_levels):
        raise ValueError(f"attention_levels must lie in 0…{len(channels) - 1}, got {attention_levels}")
