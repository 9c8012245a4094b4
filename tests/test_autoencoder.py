"""What every architecture says of itself, and that nothing else has to know which one it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lightendiff.models import presets
from lightendiff.models.autoencoder import Autoencoder, AutoencoderConfig
from lightendiff.models.lean import LeanAutoencoder
from lightendiff.models.presets import ARCHITECTURES, PRESETS, PresetName, RestorerConfig, build_autoencoder
from lightendiff.pipeline import LightenPipeline
from lightendiff.restorer import Restorer
from lightendiff.training.optimizer import split_parameters


@pytest.mark.parametrize("preset", PRESETS)
def test_first_and_last_layers_lie_between_pixels_or_latents_and_features(preset: PresetName) -> None:
    restorer = Restorer(PRESETS[preset])
    shapes = {name: restorer.get_parameter(name).shape for name in restorer.first_and_last}
    assert len(shapes) >= 5
    # pixels, blocks of them, latents, and illumination, which has one channel
    inputs = {3, 4 * 6 + 1, 64 * 6 + 1, restorer.unet.condition_channels + 3, 1}
    outputs = {3, 4 * 6, 1}
    assert all(shape[1] in inputs or shape[0] in outputs for shape in shapes.values()), shapes
    hidden, others = split_parameters(restorer, restorer.first_and_last)
    assert len(hidden) + len(others) == len(list(restorer.parameters()))
    assert sum(p.ndim > 1 for p in others) == len(shapes)


@pytest.mark.parametrize(("preset", "multiple", "halo"), [("default", 32, 224), ("tiny", 32, 160), ("paper", 64, 192)])
def test_geometry_is_known_without_networks(
    preset: PresetName, multiple: int, halo: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Autoencoder, "__init__", None)
    assert (PRESETS[preset].multiple, PRESETS[preset].halo) == (multiple, halo)


def test_without_exposure_control() -> None:
    with torch.device("meta"):
        model = build_autoencoder(PRESETS["paper"])
    latent = torch.rand(1, 3, 8, 8)
    assert not model.exposure_control
    for call in (lambda: model.apply_tone_curve(latent, torch.sqrt), lambda: model.code_values(latent)):
        with pytest.raises(ValueError, match="expected an architecture with exposure control, got PaperAutoencoder"):
            call()
    with pytest.raises(ValueError, match="enlarge: expected an architecture whose UNet may see pictures smaller, got"):
        model.enlarge(latent, latent, latent)


def test_a_new_architecture_is_a_subclass_and_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wide(LeanAutoencoder):
        exposure_control = False
        preferred_dtype = torch.float32

        @classmethod
        def encoder_multiple(cls, config: AutoencoderConfig) -> int:
            return 128

        @classmethod
        def reach(cls, config: AutoencoderConfig) -> int:
            return 300

    monkeypatch.setitem(presets.ARCHITECTURES, "wide", Wide)
    config = replace(PRESETS["tiny"], architecture="wide")
    assert RestorerConfig.from_dict(config.to_dict()) == config
    assert (config.multiple, config.halo) == (128, 384)
    pipe = LightenPipeline(Restorer(config), device="cpu")
    dark = torch.full((3, 60, 90), 0.1)
    assert pipe.dtype == torch.float32
    assert pipe(dark).shape == dark.shape
    with pytest.raises(ValueError, match=r"exposure: expected 0, the architecture 'wide' has no control, got 0.5"):
        pipe(dark, exposure=0.5)
    with pytest.raises(ValueError, match="tile: expected an integer of at least 896, got 895"):
        pipe(dark, tile=895)


def test_every_preset_is_of_an_architecture() -> None:
    assert {config.architecture for config in PRESETS.values()} == set(ARCHITECTURES)
