"""How a run writes its checkpoints."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from ..files.atomic import replace_files


class WholeCheckpoints(TorchCheckpointIO):
    """Trainer plugin: a checkpoint replaces the last one only when it is whole and on the disk.

    Lightning's own way collects the file in the system's folder for temporary files and moves it from there. Where
    that is another disk, moving is copying, and a run killed meanwhile leaves neither the old checkpoint nor the new.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        target, content = Path(path), io.BytesIO()
        torch.save(checkpoint, content)  # into a file itself, it would hide why writing failed
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_files({target: content.getbuffer()})
