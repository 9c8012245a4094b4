"""A torchvision.transforms.v2 transform that restores dark pictures and leaves everything else of a sample alone."""

from __future__ import annotations

from typing import Any

import PIL.Image
import torch

from ..pipeline import LightenPipeline
from ..runtime.conversion import as_pixels
from ..runtime.extras import needing

with needing("torchvision", "LightenTransform"):
    from torchvision import tv_tensors
    from torchvision.transforms import v2


def _is_pure(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not isinstance(value, tv_tensors.TVTensor)


class LightenTransform(v2.Transform):
    """Restores the pictures of a sample; boxes, masks, labels and all else pass through untouched.

    Works on PIL images, `tv_tensors.Image` and `Video`, and tensors as the other v2 transforms do (a pure tensor is
    taken for a picture where the sample has nothing else that is one): (…, 3 or 1, h, w), uint8 or floats in [0, 1].
    Type, dtype, size and device are kept. All frames of a video start from the same noise. In workers of a DataLoader,
    each loads the weights for itself when its first picture comes.

    Args:
        weights: path as in `LightenPipeline.from_pretrained`, or a pipeline; None for the weights of the package.
        p: probability with which a sample is restored.
        dark_below: restore only pictures whose mean is below this, in [0, 1]; 1 restores all.
        device: None for the CPU, which is where a DataLoader's pictures are.
        options: of the pipeline's call: `strength`, `exposure`, `num_inference_steps`, …

    Raises:
        ValueError: `p` or `dark_below` isn't in [0, 1].

    Example:
        >>> transform = v2.Compose([LightenTransform(dark_below=0.3), v2.ToDtype(torch.float32, scale=True)])
        >>> image, label = transform(tv_tensors.Image(torch.full((3, 48, 64), 12, dtype=torch.uint8)), 7)
        >>> type(image).__name__, image.dtype, label
        ('Image', torch.float32, 7)
    """

    _transformed_types = (_is_pure, PIL.Image.Image, tv_tensors.Image, tv_tensors.Video)

    def __init__(
        self,
        weights: str | LightenPipeline | None = None,
        p: float = 1.0,
        dark_below: float = 1.0,
        device: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        for name, value in (("p", p), ("dark_below", dark_below)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name}: expected a number from 0 to 1, got {value}")
        self.weights, self.p, self.dark_below, self.device, self.options = weights, p, dark_below, device, options
        self._pipe = weights if isinstance(weights, LightenPipeline) else None

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"chosen": bool(torch.rand(()) < self.p)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not params["chosen"] or (self.dark_below < 1.0 and _mean(inpt) >= self.dark_below):
            return inpt
        if self._pipe is None:
            assert not isinstance(self.weights, LightenPipeline)
            self._pipe = LightenPipeline.from_pretrained(self.weights, self.device or "cpu")
        if not isinstance(inpt, torch.Tensor) or inpt.ndim <= 4:
            return self._pipe(inpt, **self.options)
        flat = self._pipe(inpt.flatten(0, -4), **self.options)  # a batch of videos
        return flat.unflatten(0, inpt.shape[:-3]).as_subclass(type(inpt))

    def __getstate__(self) -> dict[str, Any]:
        # What was loaded from a path is loaded again where it is needed, rather than sent to every worker.
        state = self.__dict__.copy()
        if not isinstance(self.weights, LightenPipeline):
            state["_pipe"] = None
        return state

    def extra_repr(self) -> str:
        return f"p={self.p}, dark_below={self.dark_below}"


def _mean(picture: Any) -> float:
    """Mean in [0, 1] of a PIL image or a tensor."""
    if isinstance(picture, PIL.Image.Image):
        picture = as_pixels(picture, "picture").pixels
    white = 1.0 if picture.is_floating_point() else float(torch.iinfo(picture.dtype).max)
    return float(picture.float().mean()) / white
