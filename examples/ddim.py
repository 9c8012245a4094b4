"""DDIM from training to pictures, on a distribution whose perfect denoiser is known.

    python examples/ddim.py            about a minute on one core
    python examples/ddim.py --steps 20 to see it run

A picture is one grey value all over, drawn from N(0.2, 0.3²). A small UNet learns x₀ from `add_noise`, once with no
condition and once with half the grey value as condition. Then it samples in 50, 10 and 5 steps with η = 0 and in 50
with η = 1, beside the perfect denoiser, which starts from the same noise. docs/paper.md walks through the equations.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightendiff import DDIMPipeline, DDIMScheduler
from lightendiff.models.unet import UNet

SIDE, MEAN, DEVIATION = 8, 0.2, 0.3


class GreyUNet(nn.Module):
    """The package's UNet for pictures (b, 1, 8, 8), with or without a condition of that shape."""

    def __init__(self, conditioned: bool) -> None:
        super().__init__()
        self.config = {"sample_size": SIDE, "in_channels": 1}
        self.unet = UNet(1, int(conditioned), (16, 32), blocks_per_level=1, attention_levels=(), norm_groups=8)
        self.condition: Tensor | None = None

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.unet(x, t, self.condition)


class Perfect(nn.Module):
    """E[x₀ | x_t] of these pictures: only their mean tells the grey value, and it has the noise's variance / 64."""

    def __init__(self, scheduler: DDIMScheduler) -> None:
        super().__init__()
        self.config = {"sample_size": SIDE, "in_channels": 1}
        self.anchor = nn.Parameter(torch.zeros(()))  # tells the pipeline device and dtype
        self.alphas = scheduler.alphas_cumprod.float()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        alpha = self.alphas[t].view(-1, 1, 1, 1)
        signal = alpha.sqrt()
        share = signal * DEVIATION**2 / (alpha * DEVIATION**2 + (1 - alpha) / SIDE**2)
        grey = MEAN + share * (x.mean(dim=(1, 2, 3), keepdim=True) - signal * MEAN)
        return grey.expand_as(x)


def pictures(count: int, generator: torch.Generator) -> Tensor:
    grey = MEAN + DEVIATION * torch.randn((count, 1, 1, 1), generator=generator)
    return grey.expand(count, 1, SIDE, SIDE)


def train(conditioned: bool, scheduler: DDIMScheduler, steps: int) -> GreyUNet:
    torch.manual_seed(0)
    generator, net = torch.Generator().manual_seed(1), GreyUNet(conditioned)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    for _ in range(steps):
        x0 = pictures(64, generator)
        noise = torch.randn(x0.shape, generator=generator)
        t = torch.randint(0, len(scheduler), (len(x0),), generator=generator)
        net.condition = x0 / 2 if conditioned else None
        loss = F.mse_loss(net(scheduler.add_noise(x0, noise, t), t), x0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def sampled(net: nn.Module, scheduler: DDIMScheduler, steps: int, eta: float, count: int = 128) -> Tensor:
    """(count, 1, 8, 8) in [-1, 1], from the same noise whatever the network."""
    pipe = DDIMPipeline(net, scheduler)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(2)
    images = pipe(count, generator, eta=eta, num_inference_steps=steps, output_type="pt").images
    assert isinstance(images, Tensor)
    return 2 * images - 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train a small UNet and sample with DDIM.")
    parser.add_argument("--steps", type=int, default=500, help="of training, of each of both UNets")
    args = parser.parse_args(argv)
    scheduler = DDIMScheduler(clip_sample=False, prediction_type="sample")
    free, told = (train(conditioned, scheduler, args.steps) for conditioned in (False, True))
    perfect = Perfect(scheduler)
    print(f"pictures: grey {MEAN:.2f} ± {DEVIATION:.2f}, each even")
    for eta, steps in ((0.0, 50), (0.0, 10), (0.0, 5), (1.0, 50)):
        print(f"η = {eta:.0f}, {steps} steps")
        for name, net in (("perfect", perfect), ("trained", free)):
            result = sampled(net, scheduler, steps, eta)
            grey, unevenness = result.mean(dim=(1, 2, 3)), result.std(dim=(2, 3)).mean()
            print(f"    {name}: grey {grey.mean():.3f} ± {grey.std():.3f}, unevenness {unevenness:.3f}")
        truth = pictures(128, torch.Generator().manual_seed(3))
        told.condition = truth / 2
        error = (sampled(told, scheduler, steps, eta) - truth.clamp(-1, 1)).abs().mean()
        print(f"    conditioned: off by {error:.3f} from twice its condition")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
