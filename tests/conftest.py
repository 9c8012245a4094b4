"""What several test modules need, and how the whole suite is spread over the cores."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lightendiff.models.presets import RestorerConfig

WORKER = "PYTEST_XDIST_WORKER" in os.environ  # one of several processes that share the tests
if WORKER:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # PyTorch and OpenMP read it when they are loaded


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """`pytest` alone runs a process on every core, up to four, each for other files; what is selected runs in one.

    `-n 0` runs everything in one process, as does `-s`, `--pdb` or a missing pytest-xdist.
    """
    option = config.option
    selected = config.args_source is not pytest.Config.ArgsSource.TESTPATHS or option.keyword or option.markexpr
    alone = WORKER or selected or option.usepdb or option.capture == "no" or option.collectonly
    cores = os.cpu_count() or 1
    if config.pluginmanager.hasplugin("xdist") and option.numprocesses is None and not alone and cores > 1:
        option.numprocesses, option.dist = min(4, cores), "loadfile"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the suite's own, in which the licence of the weights has been told."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "lightendiff").mkdir()
    (folder / "lightendiff" / "licence-told").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield


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

    from lightendiff.models.presets import PRESETS
    from lightendiff.restorer import Restorer
    from lightendiff.weights.folder import save_restorer

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    save_restorer(Restorer(PRESETS["tiny"]), folder)
    return folder


@pytest.fixture(scope="session")
def few_layers() -> RestorerConfig:
    """As `tiny`, in fewer layers: for what traces them, which takes the time."""
    from lightendiff.models.presets import PRESETS

    return replace(
        PRESETS["tiny"],
        channels=(8, 16, 16),
        encoder_blocks=(0, 1, 0),
        decoder_blocks=(0, 1, 0),
        unet_channels=(16, 16),
        unet_attention_levels=(),  # there is one in the middle
    )
