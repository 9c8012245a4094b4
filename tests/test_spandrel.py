"""spandrel's own loader on our files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lightendiff import LightenPipeline
from lightendiff.models.presets import PRESETS
from lightendiff.pipeline import SHIPPED_WEIGHTS
from lightendiff.restorer import Restorer
from lightendiff.runtime import memory
from lightendiff.tiling import smallest_side

spandrel = pytest.importorskip("spandrel")
from lightendiff.integrations import spandrel as ours  # noqa: E402  # which needs it


@pytest.fixture(autouse=True)
def _installed() -> None:
    ours.install()


def dark(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 0.2


def test_the_shipped_weights() -> None:
    descriptor = spandrel.ModelLoader().load_from_file(SHIPPED_WEIGHTS / "model.safetensors")
    assert isinstance(descriptor, spandrel.ImageModelDescriptor)
    assert (descriptor.architecture.id, descriptor.purpose, descriptor.scale) == (ours.ID, "Restoration", 1)
    assert (descriptor.input_channels, descriptor.output_channels) == (3, 3)
    assert descriptor.size_requirements.none
    assert descriptor.tags == ["default", "2 steps"]
    pictures = dark(1, 3, 45, 61)
    restored = descriptor(pictures)
    expected = LightenPipeline.from_pretrained(device="cpu", dtype=torch.float32)(pictures)
    torch.testing.assert_close(restored, expected, atol=1e-5, rtol=0)  # the pipeline's layout rounds differently
    assert restored.mean() > 2 * pictures.mean()


def test_a_batch_in_lower_precision(weights: Path) -> None:
    descriptor = spandrel.ModelLoader().load_from_file(weights / "model.safetensors")
    pictures = dark(2, 3, 40, 56)
    full = descriptor(pictures)
    torch.testing.assert_close(descriptor(pictures[1:]), full[1:], atol=1e-5, rtol=0)
    with pytest.raises(spandrel.UnsupportedDtypeError):
        descriptor.half()
    low = descriptor.bfloat16()(pictures.bfloat16())
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), full, atol=0.03, rtol=0)
    torch.testing.assert_close(descriptor.float()(pictures), full, atol=0.03, rtol=0)  # weights were rounded


def test_little_memory_means_small_windows_one_picture_at_a_time(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = spandrel.ModelLoader().load_from_file(weights / "model.safetensors")
    pictures = dark(2, 3, 300, 480)
    whole = descriptor(pictures)
    seen = []
    encode = descriptor.model.model.encode

    def spy(image: torch.Tensor, mean: torch.Tensor) -> object:
        seen.append(image.shape)
        return encode(image, mean)

    monkeypatch.setattr(descriptor.model.model, "encode", spy)
    monkeypatch.setattr(memory, "budget", lambda device: 0.0)
    assert torch.allclose(descriptor(pictures), whole, atol=1e-5)
    config = PRESETS["tiny"]
    assert len(seen) > 2
    assert {shape[0] for shape in seen} == {1}
    assert max(max(shape[2:]) for shape in seen) <= smallest_side(config.halo, config.multiple)


def test_only_ours_is_detected(weights: Path) -> None:
    state_dict = load_file(weights / "model.safetensors")
    detecting = [arch.architecture.id for arch in spandrel.MAIN_REGISTRY if arch.detect(state_dict)]
    assert detecting == [ours.ID]
    ours.install()  # again
    assert [arch.architecture.id for arch in spandrel.MAIN_REGISTRY].count(ours.ID) == 1


def test_every_preset_is_told_apart() -> None:
    for name, config in PRESETS.items():
        assert ours.preset_of(Restorer(config).state_dict()) == name


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape", "config"])
def test_what_is_no_preset(weights: Path, tmp_path: Path, change: str) -> None:
    state_dict = load_file(weights / "model.safetensors")
    if change == "missing":
        del state_dict["model.decoder.head.bias"]
    elif change == "unexpected":
        state_dict["stray"] = torch.zeros(1)
    elif change == "shape":
        state_dict["unet.conv_out.bias"] = torch.zeros(4)
    else:
        state_dict = {"unet.conv_in.weight": 1}
    assert ours.preset_of(state_dict) is None
    with pytest.raises(
        ValueError, match=r"state_dict: expected the names and shapes of a preset \(default, paper, tiny\)"
    ):
        ours.LightenArchitecture().load(state_dict)
    if change != "config":
        save_file(state_dict, tmp_path / "other.safetensors")
        with pytest.raises(spandrel.UnsupportedModelError):
            spandrel.ModelLoader().load_from_file(tmp_path / "other.safetensors")


def test_without_spandrel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    monkeypatch.delitem(sys.modules, "lightendiff.integrations.spandrel")
    with pytest.raises(ImportError, match=r"needs spandrel: pip install 'lightendiff\[spandrel\]'"):
        import lightendiff.integrations.spandrel  # noqa: F401
