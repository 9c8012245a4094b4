"""Weights out of a checkpoint of train.py."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..models.presets import PRESETS, RestorerConfig
from ..restorer import Restorer
from ..runtime.extras import needing
from .folder import LIGHTNING_KEY, CheckpointError, fill, unpickle
from .published import SAMPLING

_LARGEST_NAMES = 2**26  # bytes of that file
_OWN = "restorer."  # train.py's modules hold the network under this name


@dataclass(frozen=True)
class Weights:
    """A restorer, in float32, on the CPU and in evaluation mode, and what its file says of itself.

    layout: in words. file: that the tensors are in. dtypes: that they are stored in, `float16` for example.
    """

    restorer: Restorer
    layout: str
    file: Path
    dtypes: tuple[str, ...]


def is_lightning(path: Path) -> bool:
    """Whether train.py wrote this, without unpickling it: torch.save writes zips, with one file of names in them."""
    try:
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as content:
            names = [each for each in content.infolist() if each.filename.endswith("/data.pkl")]
            return any(
                LIGHTNING_KEY.encode() in content.read(each) for each in names if each.file_size < _LARGEST_NAMES
            )
    except Exception:  # damaged, which `load_restorer` will say
        return False


def read_training(path: Path) -> Weights:
    """The weights of such a checkpoint, averaged where the run averaged them. CheckpointError if it is none."""
    content = unpickle(path)
    held = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(held, Mapping) or not all(isinstance(tensor, Tensor) for tensor in held.values()):
        raise CheckpointError(f"{path}: not a checkpoint of train.py: it has no state_dict of tensors")
    weights = {name.removeprefix(_OWN): tensor for name, tensor in held.items() if name.startswith(_OWN)}
    if not weights:
        raise CheckpointError(f"{path}: not a checkpoint of train.py: no tensor's name in it begins with {_OWN}")
    restorer = Restorer(_trained(path, weights, _own(path, content)))
    fill(restorer, weights, {name: name for name in restorer.state_dict()}, path)
    average = "averaged weights" if "averaging_state" in content else "weights that were not averaged"
    layout = f"checkpoint of train.py, step {content.get('global_step')}, {average}"
    return Weights(restorer.eval(), layout, path, dtypes(weights.values()))


def _own(path: Path, content: Mapping[str, Any]) -> RestorerConfig | None:
    """The architecture of one's own that a run was given, or None."""
    given = content.get("hyper_parameters")
    if not isinstance(given, Mapping) or given.get("network") is None:
        return None
    try:
        sampling = {name: given[name] for name in SAMPLING if given.get(name) is not None}
        return replace(RestorerConfig.from_dict(given["network"]), **sampling)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: network: {str(error).splitlines()[0]}") from error


def _trained(path: Path, weights: Mapping[str, Tensor], own: RestorerConfig | None) -> RestorerConfig:
    """The run's own architecture or else the preset that fits best, and what its configuration, where it still lies
    beside it, says of sampling.
    """
    shapes = {(name, tuple(tensor.shape)) for name, tensor in weights.items()}

    def alike(config: RestorerConfig) -> int:
        return len(shapes ^ {(name, tuple(tensor.shape)) for name, tensor in Restorer(config).state_dict().items()})

    config = min(PRESETS.values(), key=alike) if own is None else own
    beside = path.with_name("config.yaml")
    if not beside.exists():
        return config
    with needing("train", f"{beside}"):
        import yaml
    try:
        run = yaml.safe_load(beside.read_text(encoding="utf-8"))
        given = run["model"]["init_args"]
        return replace(config, **{name: given[name] for name in SAMPLING if given.get(name) is not None})
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{beside}: not the configuration of a run of train.py") from error


def dtypes(tensors: Iterable[Tensor]) -> tuple[str, ...]:
    return tuple(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors}))
