"""How far restorations may differ between numbers of threads and sizes of batches, which docs/limits.md says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from skimage import data

from lightendiff import LightenPipeline


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def dark_pictures() -> list[np.ndarray]:
    """(160, 224, 3) uint8: two scenes, and noise."""
    scenes = [data.coffee()[50:210, 100:324] // 6, data.astronaut()[:160, :224] // 12]
    return [*scenes, np.random.default_rng(0).integers(0, 60, (160, 224, 3), dtype=np.uint8)]


def furthest(one: list[np.ndarray], other: list[np.ndarray]) -> int:
    return max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(one, other, strict=True))


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1), (torch.bfloat16, 3)])
def test_threads_and_batches_change_little(dtype: torch.dtype, most: int) -> None:
    pipe, dark = LightenPipeline.from_pretrained(device="cpu", dtype=dtype), dark_pictures()
    torch.set_num_threads(1)
    alone = [pipe(picture) for picture in dark]
    assert furthest(alone, [pipe(picture) for picture in dark]) == 0  # the same call gives the same
    assert furthest(alone, pipe(dark, batch_size=3)) <= most
    torch.set_num_threads(2)
    assert furthest(alone, [pipe(picture) for picture in dark]) <= most
