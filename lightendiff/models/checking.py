"""Checking a configuration as data, before anything is built of it: types, and ranges beyond any use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

MOST_TIMESTEPS = 100_000
_LEVELS, _WIDTH, _BLOCKS, _PIXELS = 8, 8192, 64, 2**20


def checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a stored `RestorerConfig`, lists as tuples; fields that it doesn't know are left as they are.

    Raises:
        ValueError: it names the field, what was expected and what came.
    """
    result = dict(values)
    for name, check in _FIELDS.items():
        if name in values:
            result[name] = check(name, values[name])
    last = result.get("scheduler", {}).get("num_train_timesteps", 1000)
    for name in ("num_inference_steps", "start_timestep"):
        if isinstance(result.get(name), int) and result[name] > last - (name == "start_timestep"):
            raise ValueError(f"{name}: expected no more than the schedule's {last} timesteps, got {result[name]}")
    return result


def _integer(low: int, high: int, none: bool = False) -> Callable[[str, Any], int | None]:
    def check(name: str, value: Any) -> int | None:
        if (none and value is None) or (type(value) is int and low <= value <= high):
            return value
        wanted = f"an integer from {low} to {high}{' or null' if none else ''}"
        raise ValueError(f"{name}: expected {wanted}, got {_shown(value)}")

    return check


def _integers(low: int, high: int, least: int) -> Callable[[str, Any], tuple[int, ...]]:
    def check(name: str, value: Any) -> tuple[int, ...]:
        listed = isinstance(value, (list, tuple)) and least <= len(value) <= _LEVELS
        if not listed or not all(type(each) is int and low <= each <= high for each in value):
            wanted = f"a list of {least} to {_LEVELS} integers from {low} to {high}"
            raise ValueError(f"{name}: expected {wanted}, got {_shown(value)}")
        return tuple(value)

    return check


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name}: expected true or false, got {_shown(value)}")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name}: expected text, got {_shown(value)}")
    return value


def _scheduler(name: str, value: Any) -> Mapping[str, Any]:
    """Its length alone: `DDIMScheduler` checks the rest before it makes its tables."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: expected the arguments of DDIMScheduler by name, got {_shown(value)}")
    _integer(1, MOST_TIMESTEPS)(f"{name}.num_train_timesteps", value.get("num_train_timesteps", 1000))
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


_FIELDS: dict[str, Callable[[str, Any], Any]] = {
    "architecture": _text,
    "latent_channels": _integer(1, _WIDTH),
    "channels": _integers(1, _WIDTH, 1),
    "unet_channels": _integers(1, _WIDTH, 1),
    "encoder_blocks": _integers(0, _BLOCKS, 0),
    "decoder_blocks": _integers(0, _BLOCKS, 0),
    "condition_features": _integer(0, _WIDTH),
    "retinex_width": _integer(0, _WIDTH),
    "unet_blocks": _integer(1, _BLOCKS),
    "unet_attention_levels": _integers(0, _LEVELS - 1, 0),
    "unet_norm_groups": _integer(1, _WIDTH),
    "unet_residual": _truth,
    "scheduler": _scheduler,
    "num_inference_steps": _integer(1, MOST_TIMESTEPS),
    "start_timestep": _integer(0, MOST_TIMESTEPS - 1, none=True),
    "context": _integer(1, _PIXELS, none=True),
    "input_colours": _truth,
}
