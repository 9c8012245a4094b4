"""LightenDiffusion's published checkpoint, read and written under its own names of tensors."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files.atomic import replace_files
from ..models.presets import PRESETS, PresetName, RestorerConfig
from ..restorer import Restorer
from .folder import LIGHTNING_KEY, CheckpointError, fill, unpickle

SAMPLING = ("num_inference_steps", "start_timestep")  # what else than the preset a run's configuration may say

# Our names -> those of the published checkpoint: the first row whose pattern matches whole dotted parts at the start
# names the module, and the second table names the parts of such a module.
_PUBLISHED_MODULES = [
    (r"unet\.time_embedding\.linear1", "Unet.temb.dense.0"),
    (r"unet\.time_embedding\.linear2", "Unet.temb.dense.1"),
    (r"unet\.middle\.block(\d)", r"Unet.mid.block_\1"),
    (r"unet\.middle\.attention", "Unet.mid.attn_1"),
    (r"unet\.(up|down)\.(\d)\.blocks\.(\d)", r"Unet.\1.\2.block.\3"),
    (r"unet\.(up|down)\.(\d)\.attentions\.(\d)", r"Unet.\1.\2.attn.\3"),
    (r"unet\.(up|down)\.(\d)\.resample", r"Unet.\1.\2.\1sample"),
    (r"unet", "Unet"),
    (r"model\.encoder\.stem\.(\d)", r"decom.ReconNet.pyramid.convs.\1"),
    (r"model\.encoder\.blocks\.(\d)", r"decom.ReconNet.pyramid.block\1"),
    (r"model\.encoder\.downs\.(\d)", r"decom.ReconNet.pyramid.down\1"),
    (r"model\.encoder\.to_latent\.(\d)", r"decom.ReconNet.channel_down.conv\1"),
    (r"model\.decoder\.from_latent\.(\d)", r"decom.ReconNet.channel_up.conv\1"),
    (r"model\.decoder\.blocks\.(\d)", r"decom.ReconNet.block_up\1"),
    (r"model\.decoder\.ups\.(\d)", r"decom.ReconNet.up_sampling\1.conv"),
    (r"model\.decoder\.head\.0", "decom.ReconNet.conv2"),
    (r"model\.decoder\.head\.1", "decom.ReconNet.conv3"),
    (r"model\.retinex\.reflectance_in\.0", "decom.retinex.conv0"),
    (r"model\.retinex\.reflectance_in\.1", "decom.retinex.blocks0.0"),
    (r"model\.retinex\.reflectance_in\.2", "decom.retinex.blocks0.1"),
    (r"model\.retinex\.reflectance_out\.(\d)", r"decom.retinex.conv0_1.\1"),
    (r"model\.retinex\.illumination_in\.0", "decom.retinex.conv1"),
    (r"model\.retinex\.illumination_in\.1", "decom.retinex.blocks1.0"),
    (r"model\.retinex\.illumination_in\.2", "decom.retinex.blocks1.1"),
    (r"model\.retinex\.illumination_out\.(\d)", r"decom.retinex.conv1_1.\1"),
    (r"model\.retinex\.cross_attention\.(query|key|value)\.0", r"decom.retinex.cross_attention.\1.depth_conv"),
    (r"model\.retinex\.cross_attention\.(query|key|value)\.1", r"decom.retinex.cross_attention.\1.point_conv"),
    (r"model\.retinex\.self_attention\.qkv\.0", "decom.retinex.self_attention.qkv"),
    (r"model\.retinex\.self_attention\.qkv\.1", "decom.retinex.self_attention.qkv_dwconv"),
    (r"model\.retinex\.self_attention\.project", "decom.retinex.self_attention.project_out"),
]
_PUBLISHED_PARTS = {
    "Unet": {
        "time": "temb_proj",
        "shortcut": "nin_shortcut",
        "query": "q",
        "key": "k",
        "value": "v",
        "project": "proj_out",
    },
    "decom": {"conv1": "model.0", "conv2": "model.2", "shortcut": "conv"},
}


def published_name(name: str) -> str:
    """The published checkpoint's name of a tensor of the `paper` restorer, without the prefix `module.`."""
    for pattern, replacement in _PUBLISHED_MODULES:
        if match := re.match(rf"{pattern}(?=\.)", name):
            module = match.expand(replacement)
            parts = _PUBLISHED_PARTS[module.split(".")[0]]
            # `head`, `down`, … hold convolutions themselves: nothing is left to translate but weight or bias
            rest = name[match.end() + 1 :].split(".")
            return ".".join([module, *(parts.get(part, part) for part in rest)])
    raise KeyError(f"{name} is not a tensor of the published network")


def load_published(path: Path) -> Restorer:
    """The restorer of a published stage-2 checkpoint. CheckpointError if it is none."""
    content = unpickle(path)
    if isinstance(content, Mapping) and LIGHTNING_KEY in content:
        raise CheckpointError(
            f"{path}: a checkpoint of train.py, to go on training from; what was exported beside it restores pictures, "
            "or what `lightendiff convert` makes of it"
        )
    weights = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(weights, Mapping) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise CheckpointError(f"{path}: not a LightenDiffusion checkpoint: it has no state_dict of tensors")
    restorer = Restorer(PRESETS["paper"])
    # put in front of every name by the data-parallel wrapper
    prefix = "module." if any(str(name).startswith("module.") for name in weights) else ""
    fill(restorer, weights, {prefix + published_name(name): name for name in restorer.state_dict()}, path)
    return restorer.eval()


def write_published(restorer: Restorer, path: str | os.PathLike[str]) -> None:
    """Write a restorer of the `paper` preset as the published code loads it.

    The file holds `state_dict` under the published names, in float32, and `step` and `epoch`, which are 0. What only
    the published training needs (optimizer, average, arguments) is left out, and so there is nothing in the file that
    `torch.load(weights_only=True)` would refuse.

    Raises:
        ValueError: the network, or the schedule that it is for, isn't that of the preset.
    """
    if (preset := preset_of(restorer.config)) != "paper":
        got = "other widths or another schedule" if preset is None else f"the preset {preset}"
        raise ValueError(f"restorer: expected the preset paper, which the published layout is for, got {got}")
    named = {f"module.{published_name(n)}": t.cpu().float().contiguous() for n, t in restorer.state_dict().items()}
    path, content = Path(path), io.BytesIO()
    torch.save({"step": 0, "epoch": 0, "state_dict": named}, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_files({path: content.getbuffer()})


def preset_of(config: RestorerConfig) -> PresetName | None:
    """The preset that this is, in however many steps it is sampled, and with a decomposition or without one."""
    return next((name for name, preset in PRESETS.items() if _fixed(preset) == _fixed(config)), None)


def _fixed(config: RestorerConfig) -> dict[str, Any]:
    return {name: value for name, value in asdict(config.for_restoring).items() if name not in SAMPLING}
