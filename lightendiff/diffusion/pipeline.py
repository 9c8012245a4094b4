"""DDIM by itself: a UNet, a scheduler, pictures out; in the place of `diffusers.DDIMPipeline`."""

from __future__ import annotations

import importlib
import json
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from .sampling import sample
from .scheduler import DDIMScheduler, Generators, gaussian_noise

INDEX = "model_index.json"


class ImagePipelineOutput(NamedTuple):
    """The pictures that were sampled, as `output_type` says."""

    images: list[Image.Image] | np.ndarray | torch.Tensor


class DDIMPipeline:
    """Samples pictures from noise (Song et al., 2021, arXiv:2010.02502), unconditionally.

    Args:
        unet: `(x_t, t) -> output` or an object with `.sample`, as diffusers' `UNet2DModel` returns. Its `config` has
            `sample_size`, an int or (height, width), and `in_channels`.
        scheduler: ours, or one of diffusers', whose configuration is taken over.

    Attributes:
        device: where the UNet is; pictures are sampled there.
        dtype: of the UNet's weights, and so of what is sampled.
    """

    def __init__(self, unet: nn.Module, scheduler: Any) -> None:
        self.unet = unet
        self.scheduler = (
            scheduler if isinstance(scheduler, DDIMScheduler) else DDIMScheduler.from_config(scheduler.config)
        )
        self.progress = True

    @property
    def device(self) -> torch.device:
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.unet.parameters()).dtype

    def to(self, *args: Any, **kwargs: Any) -> DDIMPipeline:
        """Move the UNet, as `torch.nn.Module.to`; returns the pipeline itself."""
        self.unet.to(*args, **kwargs)
        return self

    def set_progress_bar_config(self, *, disable: bool = False) -> None:
        """Whether a call draws a progress bar."""
        self.progress = not disable

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        generator: Generators = None,
        eta: float = 0.0,
        num_inference_steps: int = 50,
        use_clipped_model_output: bool | None = None,
        output_type: Literal["pil", "np", "pt"] = "pil",
        return_dict: bool = True,
        callback: Callable[[int, int, torch.Tensor], None] | None = None,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Sample pictures.

        Args:
            batch_size: how many.
            generator: of the starting noise and of what each step adds; one for all, or a list with one per picture.
            eta: 0 for deterministic DDIM, 1 for DDPM's variance.
            num_inference_steps: how often the UNet is called.
            use_clipped_model_output: take ε̂ from the limited x̂₀; None is False.
            output_type: "pil" for a list, "np" for (b, h, w, c) and "pt" for (b, c, h, w) in [0, 1].
            return_dict: False for a plain tuple.
            callback: called after each step as `callback(step_index, timestep, x0_estimate)`.

        Returns:
            `images`, as `output_type` says: the only field of a named tuple, or of a plain one.

        Raises:
            ValueError: a list of generators of another length than `batch_size`, or an argument out of its range.
        """
        if operator.index(batch_size) < 1:
            raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
        if isinstance(generator, (list, tuple)) and len(generator) != batch_size:
            raise ValueError(f"generator: expected one or a list of {batch_size} (batch_size), got {len(generator)}")
        if output_type not in ("pil", "np", "pt"):
            raise ValueError(f"output_type: expected 'pil', 'np' or 'pt', got {output_type!r}")
        noise = gaussian_noise(self._shape(batch_size), generator, self.device, self.dtype)
        pictures = sample(
            self._predict,
            self.scheduler,
            noise,
            num_inference_steps,
            eta=eta,
            generator=generator,
            use_clipped_model_output=bool(use_clipped_model_output),
            callback=callback,
            progress=self.progress,
        )
        images = _as(output_type, (pictures / 2 + 0.5).clamp(0, 1).cpu())
        return ImagePipelineOutput(images) if return_dict else (images,)

    def _shape(self, batch_size: int) -> tuple[int, int, int, int]:
        config: Any = getattr(self.unet, "config", None)
        size, channels = (None, None) if config is None else (config["sample_size"], config["in_channels"])
        if size is None or channels is None:
            raise ValueError("unet: expected one whose config has sample_size and in_channels, got one without")
        height, width = (size, size) if isinstance(size, int) else size
        return batch_size, channels, height, width

    def _predict(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        output = self.unet(x, t)
        return output if isinstance(output, torch.Tensor) else output.sample

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `model_index.json`, `unet/` and `scheduler/`, which diffusers reads, too.

        Raises:
            ValueError: the UNet has no `save_pretrained`.
            OSError: the files can't be written.
        """
        if not hasattr(self.unet, "save_pretrained"):
            raise ValueError(f"unet: expected one with save_pretrained, got {type(self.unet).__name__}")
        folder = Path(folder)
        self.unet.save_pretrained(folder / "unet")  # type: ignore[operator]
        self.scheduler.save_config(folder / "scheduler")
        library = type(self.unet).__module__.partition(".")[0]
        index = {
            "_class_name": "DDIMPipeline",
            "scheduler": ["diffusers", "DDIMScheduler"],
            "unet": [library, type(self.unet).__name__],
        }
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(cls, folder: str | Path, unet: nn.Module | None = None) -> DDIMPipeline:
        """Read what `save_pretrained`, ours or diffusers', wrote. `unet` takes the place of the stored one.

        Raises:
            FileNotFoundError: one of those files is missing.
            ValueError: the folder's UNet isn't diffusers', and no `unet` is given.
        """
        folder = Path(folder)
        library, name = json.loads((folder / INDEX).read_text(encoding="utf-8"))["unet"]
        if unet is None:
            if library != "diffusers":  # nothing is imported because a file says so
                raise ValueError(f"{folder / INDEX}: expected a unet of diffusers, got {library}.{name}; pass unet=")
            unet = getattr(importlib.import_module("diffusers"), name).from_pretrained(folder / "unet")
        return cls(unet, DDIMScheduler.from_pretrained(folder / "scheduler"))


def _as(output_type: str, pictures: torch.Tensor) -> Any:
    if output_type == "pt":
        return pictures
    arrays = pictures.permute(0, 2, 3, 1).float().numpy()
    if output_type == "np":
        return arrays
    codes = (255 * arrays).round().astype(np.uint8)
    return [Image.fromarray(each[..., 0] if each.shape[-1] == 1 else each) for each in codes]
