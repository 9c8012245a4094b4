"""Low-light image restoration by few-step latent diffusion."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .diffusion.pipeline import DDIMPipeline
    from .diffusion.scheduler import DDIMScheduler
    from .pipeline import LightenPipeline
    from .progress import Stopped
    from .restorer import Restorer

__version__ = "0.1.0"

_PUBLIC = {
    "DDIMPipeline": "diffusion.pipeline",
    "DDIMScheduler": "diffusion.scheduler",
    "LightenPipeline": "pipeline",
    "Restorer": "restorer",
    "Stopped": "progress",
}

__all__ = ["DDIMPipeline", "DDIMScheduler", "LightenPipeline", "Restorer", "Stopped", "__version__"]


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that the command line answers --help before torch is imported.
    if name in _PUBLIC:
        return getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
