"""Restorers in folders of our own, `config.json` and `model.safetensors`, and what all files of weights share."""

from __future__ import annotations

import argparse
import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors_torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..files.atomic import replace_files
from ..files.locations import shown
from ..models.presets import RestorerConfig, build_autoencoder, build_scheduler, build_unet
from ..restorer import Restorer

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
_STORED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LIGHTNING_KEY = "pytorch-lightning_version"  # in every checkpoint of Lightning's
DECOMPOSITION = "model.retinex."  # the tensors of it
_LARGEST_CONFIG = 2**20  # bytes
MAX_LISTED = 12  # names in a message before it only counts


class CheckpointError(ValueError):
    """A file or folder that is no usable checkpoint; the message is one printable line and starts with its path."""

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))


def save_restorer(restorer: Restorer, folder: str | Path, half: bool = False) -> None:
    """Write `config.json` and `model.safetensors`; an existing pair is replaced only when the new one is whole.

    Args:
        restorer: its `config` and its weights are stored, without a decomposition that nothing asks for.
        folder: created where it doesn't exist.
        half: store floating-point tensors as float16, at half the size.

    Raises:
        ValueError: a weight isn't finite, or is too large for float16.
        OSError: the files can't be written; those of before are as they were, but for what `replace_files` says.
    """
    config = restorer.config.for_restoring
    weights = {
        name: _to_store(name, tensor, half)
        for name, tensor in restorer.state_dict().items()
        if config.retinex_width or not name.startswith(DECOMPOSITION)
    }
    described = json.dumps(config.to_dict(), indent=2) + "\n"
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    replace_files(
        {
            folder / WEIGHTS_NAME: safetensors_torch.save(weights, metadata={"format": "pt"}),
            folder / CONFIG_NAME: described.encode(),
        }
    )


def load_folder(config_path: Path, weights_path: Path) -> Restorer:
    """The restorer of such a pair of files. CheckpointError if they aren't there or don't fit each other."""
    for file in (config_path, weights_path):
        if not file.is_file():
            raise CheckpointError(f"{file.parent}: no {file.name} in it; a restorer is stored as both files")
    try:
        if config_path.stat().st_size > _LARGEST_CONFIG:
            raise ValueError(f"expected at most {_LARGEST_CONFIG} bytes, got {config_path.stat().st_size}")
        values = json.loads(config_path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"expected an object, got {type(values).__name__}")
        config = RestorerConfig.from_dict(values)
        own = _shapes(config)
    except Exception as error:  # values that don't go together surface anywhere in the modules' constructors
        raise CheckpointError(f"{config_path}: {_one_line(error)}") from error
    try:
        with safe_open(weights_path, "pt") as content:
            given = {name: tuple(content.get_slice(name).get_shape()) for name in content.keys()}  # noqa: SIM118
        _check_shapes(own, given, weights_path)  # before either takes memory
        weights = safetensors_torch.load_file(weights_path)
    except SafetensorError as error:
        raise CheckpointError(f"{weights_path}: damaged or not a safetensors file ({_one_line(error)})") from error
    try:
        restorer = Restorer(config)
    except Exception as error:
        raise CheckpointError(f"{config_path}: {_one_line(error)}") from error
    fill(restorer, weights, {name: name for name in restorer.state_dict()}, weights_path)
    return restorer.eval()


def unpickle(path: Path) -> Any:
    """The content of a `torch.save` file, from tensors, plain containers and `argparse.Namespace` alone."""
    if _is_compressed(path):
        raise CheckpointError(f"{path}: expected an archive as torch.save writes it, got a compressed one")
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


def _is_compressed(path: Path) -> bool:
    """Whether it's an archive that could inflate to more memory than its file takes; torch.save compresses nothing."""
    with suppress(Exception), zipfile.ZipFile(path) as archive:  # a damaged one is told when it is read
        return any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist())
    return False


def fill(restorer: Restorer, weights: Mapping[str, Tensor], names: Mapping[str, str], path: Path) -> None:
    """Copy `weights` into the restorer, whose own name for the file's tensor `name` is `names[name]`."""
    own = restorer.state_dict()
    expected = {name: tuple(own[ours].shape) for name, ours in names.items()}
    _check_shapes(expected, {name: tuple(tensor.shape) for name, tensor in weights.items()}, path)
    if odd := [f"{name} ({tensor.dtype})" for name, tensor in weights.items() if tensor.dtype not in _STORED]:
        kinds = ", ".join(str(kind).removeprefix("torch.") for kind in _STORED)
        raise CheckpointError(f"{path}: expected tensors of {kinds}, got {_listed(odd)}")
    restorer.load_state_dict({names[name]: tensor for name, tensor in weights.items()})


class _Uninitialised(TorchFunctionMode):
    """Leaves new tensors as they are: on the meta device, PyTorch imports its compiler to draw random values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        drawn = func in (Tensor.uniform_, Tensor.normal_, Tensor.fill_, Tensor.zero_)
        if drawn or getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _shapes(config: RestorerConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a restorer's tensors, for which none is allocated."""
    build_scheduler(config)
    with torch.device("meta"), _Uninitialised():
        parts = {"model": build_autoencoder(config), "unet": build_unet(config)}
    return {
        f"{part}.{name}": tuple(tensor.shape)
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }


def _check_shapes(own: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]], path: Path) -> None:
    problems = []
    if missing := [name for name in own if name not in given]:
        problems.append(f"{len(missing)} missing: {_listed(missing)}")
    if unexpected := [name for name in given if name not in own]:
        problems.append(f"{len(unexpected)} unexpected: {_listed(unexpected)}")
    if wrong := [
        f"{name} (expected {own[name]}, got {shape})"
        for name, shape in given.items()
        if name in own and shape != own[name]
    ]:
        problems.append(f"{len(wrong)} of the wrong shape: {_listed(wrong)}")
    if problems:
        raise CheckpointError(f"{path}: tensors don't fit the network; {'; '.join(problems)}")


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
