"""The layouts that weights come in: ours, a checkpoint of train.py, and LightenDiffusion's published one.

All are read without running anything that is pickled in them.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import safe_open
from torch import Tensor

from .. import hub
from ..checkpoints import (
    LIGHTNING_KEY,
    WEIGHTS_NAME,
    CheckpointError,
    fill,
    is_safetensors,
    load_restorer,
    published_name,
    unpickle,
)
from ..files.atomic import replace_files
from ..models.presets import PRESETS, PresetName, RestorerConfig
from ..restorer import Restorer

_LARGEST_NAMES = 2**26  # bytes of that file
_OWN = "restorer."  # train.py's modules hold the network under this name
_SAMPLING = ("num_inference_steps", "start_timestep")  # what else than the preset a run's configuration may say


@dataclass(frozen=True)
class Weights:
    """A restorer, in float32, on the CPU and in evaluation mode, and what its file says of itself.

    layout: in words. file: that the tensors are in. dtypes: that they are stored in, `float16` for example.
    """

    restorer: Restorer
    layout: str
    file: Path
    dtypes: tuple[str, ...]


def read_weights(path: str | os.PathLike[str]) -> Weights:
    """The weights at `path`, in any layout.

    Args:
        path: an inference folder, the `.safetensors` file in it, a checkpoint of train.py (the averaged weights, where
            the run averaged them), the published checkpoint, or `owner/name` on the Hugging Face Hub. Files are
            recognised by their content.

    Raises:
        FileNotFoundError, CheckpointError, ImportError, ConnectionError: as `load_restorer`.
    """
    path = hub.local_path(path)
    if path.is_file() and _is_lightning(path):
        return _read_training(path)
    restorer = load_restorer(path)
    file = path / WEIGHTS_NAME if path.is_dir() else path
    if is_safetensors(file):
        with safe_open(file, "pt") as content:
            return Weights(restorer, "inference folder", file, _dtypes(map(content.get_tensor, content.keys())))
    return Weights(restorer, "published checkpoint", file, _dtypes(unpickle(file)["state_dict"].values()))


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
    """The preset that this is, in however many steps it is sampled."""
    return next((name for name, preset in PRESETS.items() if _fixed(preset) == _fixed(config)), None)


def _fixed(config: RestorerConfig) -> dict[str, Any]:
    return {name: value for name, value in asdict(config).items() if name not in _SAMPLING}


def _is_lightning(path: Path) -> bool:
    """Whether this is such a file, without unpickling it: torch.save writes zips, with one file of names in them."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as content:
            names = [each for each in content.infolist() if each.filename.endswith("/data.pkl")]
            return any(
                LIGHTNING_KEY.encode() in content.read(each) for each in names if each.file_size < _LARGEST_NAMES
            )
    except Exception:  # damaged, which `load_restorer` will say
        return False


def _read_training(path: Path) -> Weights:
    content = unpickle(path)
    held = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(held, Mapping) or not all(isinstance(tensor, Tensor) for tensor in held.values()):
        raise CheckpointError(f"{path}: not a checkpoint of train.py: it has no state_dict of tensors")
    weights = {name.removeprefix(_OWN): tensor for name, tensor in held.items() if name.startswith(_OWN)}
    if not weights:
        raise CheckpointError(f"{path}: not a checkpoint of train.py: no tensor's name in it begins with {_OWN}")
    restorer = Restorer(_trained(path, weights))
    fill(restorer, weights, {name: name for name in restorer.state_dict()}, path)
    average = "averaged weights" if "averaging_state" in content else "weights that were not averaged"
    layout = f"checkpoint of train.py, step {content.get('global_step')}, {average}"
    return Weights(restorer.eval(), layout, path, _dtypes(weights.values()))


def _trained(path: Path, weights: Mapping[str, Tensor]) -> RestorerConfig:
    """The preset that fits best, and what the run's configuration, where it still lies beside it, says of sampling."""
    shapes = {(name, tuple(tensor.shape)) for name, tensor in weights.items()}

    def alike(config: RestorerConfig) -> int:
        return len(shapes ^ {(name, tuple(tensor.shape)) for name, tensor in Restorer(config).state_dict().items()})

    config = min(PRESETS.values(), key=alike)
    try:
        run = yaml.safe_load(path.with_name("config.yaml").read_text(encoding="utf-8"))
        given = run["model"]["init_args"]
        return replace(config, **{name: given[name] for name in _SAMPLING if given.get(name) is not None})
    except FileNotFoundError:
        return config
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path.with_name('config.yaml')}: not the configuration of a run of train.py") from error


def _dtypes(tensors: Iterable[Tensor]) -> tuple[str, ...]:
    return tuple(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors}))
