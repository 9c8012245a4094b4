"""What several test modules need."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def load_script() -> Callable[[Path], ModuleType]:
    """A script that lies outside the package, imported as a module."""

    def load(script: Path) -> ModuleType:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(script.parent)
            return importlib.import_module(script.stem)

    return load


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inference folder with a new tiny network."""
    import torch

    from lightendiff.checkpoints import save_restorer
    from lightendiff.models.presets import PRESETS
    from lightendiff.restorer import Restorer

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    save_restorer(Restorer(PRESETS["tiny"]), folder)
    return folder
