from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lightendiff.models.presets import PRESETS, PresetName, RestorerConfig, build_autoencoder
from lightendiff.restorer import Restorer


def parameters(preset: PresetName) -> int:
    return sum(p.numel() for p in Restorer(PRESETS[preset]).parameters())


@pytest.mark.parametrize("preset", PRESETS)
def test_round_trip_through_json(preset: PresetName) -> None:
    stored = json.loads(json.dumps(PRESETS[preset].to_dict()))
    assert RestorerConfig.from_dict(stored) == PRESETS[preset]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"chanels": [1], "depth": 3},
            r"unknown configuration keys \['chanels', 'depth'\]; known are \['architecture'",
        ),
        ({"architecture": ...}, "unusable configuration: .*missing 1 required positional argument: 'architecture'"),
    ],
)
def test_unknown_and_missing_entries_are_errors(change: dict[str, Any], message: str) -> None:
    values = {key: value for key, value in (PRESETS["tiny"].to_dict() | change).items() if value is not ...}
    with pytest.raises(ValueError, match=message):
        RestorerConfig.from_dict(values)


def test_unknown_architecture() -> None:
    config = dataclasses.replace(PRESETS["tiny"], architecture="fat")
    with pytest.raises(ValueError, match="architecture: expected 'lean' or 'paper', got 'fat'"):
        build_autoencoder(config)


def test_unknown_scheduler_option() -> None:
    with pytest.raises(TypeError, match="beta_stop"):
        Restorer(dataclasses.replace(PRESETS["tiny"], scheduler={"beta_stop": 1}))


@pytest.mark.parametrize("preset", PRESETS)
def test_sizes_are_multiples_of_what_the_unet_halves(preset: PresetName) -> None:
    config = PRESETS[preset]
    assert config.multiple % (8 * 2 ** (len(config.unet_channels) - 1)) == 0


def test_default_is_small_enough_to_ship() -> None:
    assert parameters("default") <= 8_000_000
    assert 2 * parameters("default") <= 16e6  # bytes in half precision


def test_tiny_has_every_part_of_default() -> None:
    assert parameters("tiny") < parameters("default") / 10
    tiny, default = (Restorer(PRESETS[preset]) for preset in ("tiny", "default"))
    top = [{name.split(".")[1] for name, _ in r.model.named_parameters()} for r in (tiny, default)]
    assert top[0] == top[1]
    assert tiny.scheduler.config == default.scheduler.config


def test_paper_has_the_published_size() -> None:
    assert parameters("paper") == pytest.approx(27.8e6, rel=0.01)


def test_default_cost_of_a_lol_picture() -> None:
    restorer = Restorer(PRESETS["default"]).eval()
    dark = torch.full((1, 3, 400, 600), 0.1)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        restorer(dark, generator=torch.Generator().manual_seed(0))
    assert 10e9 < counter.get_total_flops() <= 60e9
