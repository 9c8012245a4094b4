from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lightendiff.diffusion.options import Sampling
from lightendiff.models.presets import PRESETS, RestorerConfig
from lightendiff.restorer import Restorer
from lightendiff.tiling import largest_window, split


@pytest.mark.parametrize(
    ("height", "width", "side"), [(64, 64, None), (640, 960, 320), (1024, 96, 257), (96, 2048, 224)]
)
def test_cores_cover_a_picture_once_and_windows_surround_them(height: int, width: int, side: int | None) -> None:
    count = np.zeros((height, width), int)
    for tile in split(height, width, side, halo=64, multiple=32):
        count[tile.core()] += 1
        for core, window, length in zip(tile.core(), tile.window(), (height, width), strict=True):
            assert (window.start, window.stop) == (max(0, core.start - 64), min(length, core.stop + 64)) or (
                window == slice(0, length)
            )
            assert window.start % 32 == window.stop % 32 == 0
            assert side is None or window.stop - window.start <= side
        picture = np.arange(height * width).reshape(height, width)
        assert np.array_equal(picture[tile.window()][tile.inner()], picture[tile.core()])
        small = picture[::8, ::8]
        assert np.array_equal(small[tile.window(8)][tile.inner(8)], small[tile.core(8)])
    assert (count == 1).all()


@pytest.mark.parametrize("size", [(2176, 3840), (512, 512), (992, 4096)])
@pytest.mark.parametrize("side", [None, 512, 1024, 2336])
def test_the_largest_window(size: tuple[int, int], side: int | None) -> None:
    windows = [tile.window() for tile in split(*size, side, 224, 32)]
    pixels = [(rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in windows]
    assert largest_window(*size, side, 224, 32) == max(pixels)


def test_no_more_tiles_than_needed() -> None:
    assert len(split(640, 640, 640, 64, 32)) == len(split(640, 640, None, 64, 32)) == 1
    assert len(split(640, 672, 640, 64, 32)) == 2


def test_a_window_needs_room_for_its_halo() -> None:
    with pytest.raises(ValueError, match="tile: expected at least 160 pixels, twice the halo and a core, got 159"):
        split(640, 640, 159, 64, 32)


def busy(config: RestorerConfig) -> Restorer:
    """A restorer in which every layer counts, which at first decoders don't."""
    torch.manual_seed(0)
    restorer = Restorer(config).eval().requires_grad_(False)
    for module in restorer.model.decoder.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, 0.5)
    return restorer


def pictures(height: int, width: int) -> torch.Tensor:
    """A smooth gradient, where seams show, and noise, where all that is seen matters."""
    gradient = torch.linspace(0, 0.3, height)[:, None] * torch.linspace(0.2, 1, width)
    noise = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    return torch.stack([gradient.expand(3, -1, -1), 0.2 * noise])


# Networks see as far as the wide ones that they stand for: that depends on their layers alone.
TINY = PRESETS["tiny"]
PAPER = replace(PRESETS["paper"], channels=(16, 24, 32), unet_channels=(32, 32, 64, 64))


@pytest.mark.parametrize(
    ("config", "size", "tile"), [(TINY, (450, 500), 416), (PAPER, (128, 660), 448)], ids=["tiny", "paper"]
)
def test_tiled_equals_whole(config: RestorerConfig, size: tuple[int, int], tile: int) -> None:
    restorer, dark = busy(config), pictures(*size)
    noise = torch.randn(restorer.noise_shape(dark), generator=torch.Generator().manual_seed(1))
    options = {"sampling": Sampling(1), "noise": noise, "clamp": False}
    whole, tiled = (restorer(dark, tile=side, **options) for side in (None, tile))
    assert whole.std() > 0.01
    scale = whole.abs().max().clamp(min=1)
    assert (tiled - whole).abs().max() < 1e-4 * scale


def test_halo_is_no_wider_than_needed() -> None:
    # half the halo leaves a difference, so that the test above shows something
    restorer, dark = busy(TINY), pictures(450, 500)[1:]
    restorer.config = HalfHalo(**restorer.config.to_dict())
    noise = torch.randn(restorer.noise_shape(dark), generator=torch.Generator().manual_seed(1))
    whole, tiled = (restorer(dark, tile=side, noise=noise, clamp=False) for side in (None, 352))
    assert (tiled - whole).abs().max() > 1e-4 * whole.abs().max().clamp(min=1)


class HalfHalo(RestorerConfig):
    @property
    def halo(self) -> int:
        return super().halo // 2 // self.multiple * self.multiple
