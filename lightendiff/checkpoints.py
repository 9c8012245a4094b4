"""Restorers on disk: our folders (`config.json` + `model.safetensors`) and the published checkpoint."""

from __future__ import annotations

import argparse
import json
import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch
from torch import Tensor

from .files.atomic import replace_files
from .models.presets import PRESETS, RestorerConfig
from .restorer import Restorer

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
LIGHTNING_KEY = "pytorch-lightning_version"  # in every checkpoint of Lightning's
MAX_LISTED = 12  # names in a message before it only counts

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


class CheckpointError(ValueError):
    """A file or folder that is no usable checkpoint; the message is one line and starts with its path."""


def save_restorer(restorer: Restorer, folder: str | Path, half: bool = False) -> None:
    """Write `config.json` and `model.safetensors`; an existing pair is replaced only when the new one is whole.

    Args:
        restorer: its `config` and its weights are stored.
        folder: created where it doesn't exist.
        half: store floating-point tensors as float16, at half the size.

    Raises:
        ValueError: a weight isn't finite, or is too large for float16.
        OSError: the files can't be written; those of before are as they were, but for what `replace_files` says.
    """
    weights = {name: _to_store(name, tensor, half) for name, tensor in restorer.state_dict().items()}
    config = json.dumps(restorer.config.to_dict(), indent=2) + "\n"
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    replace_files(
        {
            folder / WEIGHTS_NAME: safetensors_torch.save(weights, metadata={"format": "pt"}),
            folder / CONFIG_NAME: config.encode(),
        }
    )


def load_restorer(path: str | Path) -> Restorer:
    """The restorer stored at `path`, in float32 on the CPU and in evaluation mode.

    Args:
        path: a folder written by `save_restorer`, the `.safetensors` file in it, or a published stage-2 checkpoint
            (`stage2_weight.pth.tar`). Files are recognised by their content, whatever their name.

    Raises:
        FileNotFoundError: nothing exists at `path`.
        CheckpointError: what is there is damaged, is something else, refers to code, or doesn't fit the network; the
            message lists missing and unexpected tensors and those of the wrong shape.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if path.is_dir():
        return _load_folder(path / CONFIG_NAME, path / WEIGHTS_NAME)
    if is_safetensors(path):
        return _load_folder(path.parent / CONFIG_NAME, path)
    return _load_published(path)


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


def _load_folder(config_path: Path, weights_path: Path) -> Restorer:
    for file in (config_path, weights_path):
        if not file.is_file():
            raise CheckpointError(f"{file.parent}: no {file.name} in it; a restorer is stored as both files")
    try:
        values = json.loads(config_path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"expected an object, got {type(values).__name__}")
        restorer = Restorer(RestorerConfig.from_dict(values))
    except Exception as error:  # values of the wrong type or size surface anywhere in the modules' constructors
        raise CheckpointError(f"{config_path}: {_one_line(error)}") from error
    try:
        weights = safetensors_torch.load_file(weights_path)
    except SafetensorError as error:
        raise CheckpointError(f"{weights_path}: damaged or not a safetensors file ({_one_line(error)})") from error
    fill(restorer, weights, {name: name for name in restorer.state_dict()}, weights_path)
    return restorer.eval()


def _load_published(path: Path) -> Restorer:
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


def unpickle(path: Path) -> Any:
    """The content of a `torch.save` file, from tensors, plain containers and `argparse.Namespace` alone."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that it then fails on
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler fails on arbitrary bytes with nearly any exception
        if refused := re.search(r"GLOBAL ([\w.]+\w)", str(error)):
            raise CheckpointError(
                f"{path}: refused, because it refers to {refused[1]}, which is neither tensor nor plain value; "
                "loading it could run foreign code"
            ) from error
        raise CheckpointError(f"{path}: damaged, cut short, or not a checkpoint at all") from error


def fill(restorer: Restorer, weights: Mapping[str, Tensor], names: Mapping[str, str], path: Path) -> None:
    """Copy `weights` into the restorer, whose own name for the file's tensor `name` is `names[name]`."""
    own = restorer.state_dict()
    problems = []
    if missing := [name for name in names if name not in weights]:
        problems.append(f"{len(missing)} missing: {_listed(missing)}")
    if unexpected := [name for name in weights if name not in names]:
        problems.append(f"{len(unexpected)} unexpected: {_listed(unexpected)}")
    if wrong := [
        f"{name} (expected {tuple(own[names[name]].shape)}, got {tuple(tensor.shape)})"
        for name, tensor in weights.items()
        if name in names and tensor.shape != own[names[name]].shape
    ]:
        problems.append(f"{len(wrong)} of the wrong shape: {_listed(wrong)}")
    if problems:
        raise CheckpointError(f"{path}: tensors don't fit the network; {'; '.join(problems)}")
    restorer.load_state_dict({names[name]: tensor for name, tensor in weights.items()})


def _to_store(name: str, tensor: Tensor, half: bool) -> Tensor:
    stored = tensor.detach().cpu()
    if stored.is_floating_point():
        stored = stored.half() if half else stored
        if not stored.isfinite().all():
            raise ValueError(f"restorer: {name} has values that are not finite in {stored.dtype}")
    return stored.contiguous()  # channels-last weights can't be stored as they lie


def is_safetensors(path: Path) -> bool:
    with open(path, "rb") as file:
        start = file.read(9)
    return start[8:] == b"{"  # eight bytes of length, then the header's JSON


def _listed(names: list[Any]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(map(str, names[:MAX_LISTED])) + more


def _one_line(error: Exception) -> str:
    text = type(error).__name__
    with suppress(IndexError):
        text = str(error).strip().splitlines()[0].strip()
    return text if len(text) <= 200 else text[:199] + "…"
