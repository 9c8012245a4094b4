"""Configurations of earlier versions: losses were weights in the stages, and a field of sources had another name."""

from __future__ import annotations

from typing import Any

import yaml

# field of a stage: the loss that it belongs to, and its name there
_MOVED = {
    "ssim_weight": ("image_loss", "ssim"),
    "matched_weight": ("image_loss", "matched"),
    "retinex_weight": ("retinex_loss", "weight"),
    "latent_weight": ("latent_loss", "weight"),
    "consistency_weight": ("consistency_loss", "weight"),
}


def load_configuration(stream: str) -> Any:
    """YAML, with fields of earlier versions where they are now; ValueError where both are given."""
    content = yaml.safe_load(stream)
    if isinstance(content, dict):
        held = content.get("fit", content)  # a file may hold the options of several subcommands
        model = held.get("model") if isinstance(held, dict) else None
        if isinstance(model, dict) and isinstance(model.get("init_args"), dict):
            model["init_args"] = moved(model["init_args"])
        _rename_fields(held.get("data") if isinstance(held, dict) else None)
    return content


def _rename_fields(sources: Any) -> None:
    """Give fields of sources, however they are nested, their names of now."""
    for entry in sources.values() if isinstance(sources, dict) else sources if isinstance(sources, list) else ():
        _rename_fields(entry)
    if isinstance(sources, dict) and "tones_only" in sources:
        sources["ignore_detail"] = sources.pop("tones_only")


def moved(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a stage with those of earlier versions in the losses that they belong to."""
    now = {name: value for name, value in fields.items() if name not in (*_MOVED, "retinex_shapes_latent")}
    for old in (name for name in fields if name in _MOVED):
        loss, name = _MOVED[old]
        if loss in fields:
            raise ValueError(f"{old}: expected it as {loss}.{name}, since {loss} is given")
        now[loss] = {**now.get(loss, {}), name: fields[old]}
    if "retinex_weight" in fields or "retinex_shapes_latent" in fields:
        begin = 0 if fields.get("retinex_shapes_latent") else None
        now["retinex_loss"] = {"smoothness": 0.1, "shapes_latent_from": begin, **now.get("retinex_loss", {})}
    return now
