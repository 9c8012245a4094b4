"""The way in for weights of any layout: ours, a checkpoint of train.py, and LightenDiffusion's published one.

All are read without running anything that is pickled in them.
"""

from __future__ import annotations

import os
from pathlib import Path

from safetensors import safe_open

from ..restorer import Restorer
from . import hub
from .folder import CONFIG_NAME, WEIGHTS_NAME, CheckpointError, is_safetensors, load_folder, unpickle
from .published import load_published
from .training import Weights, dtypes, is_lightning, read_training


def load(given: str | os.PathLike[str]) -> Restorer:
    """The restorer at a path of this machine or in a repository: what `load_restorer` makes of `local_path`.

    Raises what these two do.
    """
    return load_restorer(local_path(given))


def local_path(given: str | os.PathLike[str]) -> Path:
    """The path given, or what `hub.download` returns for text that has a repository's form and is no path here."""
    if isinstance(given, str) and not os.path.exists(given) and hub.is_repository(given):
        return hub.download(given)
    return Path(given)


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
    if not path.is_dir() and not path.is_file():  # a pipe would be waited for
        raise CheckpointError(f"{path}: expected a file or a folder, got neither")
    if path.is_dir():
        return load_folder(path / CONFIG_NAME, path / WEIGHTS_NAME)
    if is_safetensors(path):
        return load_folder(path.parent / CONFIG_NAME, path)
    return load_published(path)


def read_weights(path: str | os.PathLike[str]) -> Weights:
    """The weights at `path`, in any layout.

    Args:
        path: an inference folder, the `.safetensors` file in it, a checkpoint of train.py (the averaged weights, where
            the run averaged them), the published checkpoint, or `owner/name` on the Hugging Face Hub. Files are
            recognised by their content.

    Raises:
        FileNotFoundError, CheckpointError, ImportError, ConnectionError: as `load_restorer`.
    """
    path = local_path(path)
    if path.is_file() and is_lightning(path):
        return read_training(path)
    restorer = load_restorer(path)
    file = path / WEIGHTS_NAME if path.is_dir() else path
    if is_safetensors(file):
        with safe_open(file, "pt") as content:
            return Weights(restorer, "inference folder", file, dtypes(map(content.get_tensor, content.keys())))
    return Weights(restorer, "published checkpoint", file, dtypes(unpickle(file)["state_dict"].values()))
