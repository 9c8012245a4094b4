"""Low-light image restoration by few-step latent diffusion."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch.single import restore_file
    from .diffusion.pipeline import DDIMPipeline
    from .diffusion.scheduler import DDIMScheduler
    from .images.picture import ImageError, Picture
    from .images.reading import read_picture
    from .images.writing import write_picture
    from .pipeline import LightenPipeline
    from .progress import Stopped
    from .restorer import Restorer
    from .video.stream import Stream

__version__ = "0.1.0"

_PUBLIC = {
    "DDIMPipeline": "diffusion.pipeline",
    "DDIMScheduler": "diffusion.scheduler",
    "ImageError": "images.picture",
    "LightenPipeline": "pipeline",
    "Picture": "images.picture",
    "Restorer": "restorer",
    "Stopped": "progress",
    "Stream": "video.stream",
    "read_picture": "images.reading",
    "restore_file": "batch.single",
    "write_picture": "images.writing",
}

__all__ = [
    "DDIMPipeline",
    "DDIMScheduler",
    "ImageError",
    "LightenPipeline",
    "Picture",
    "Restorer",
    "Stopped",
    "Stream",
    "__version__",
    "read_picture",
    "restore_file",
    "write_picture",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that the command line answers --help before torch is imported.
    if name in _PUBLIC:
        return getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
