"""Pictures of every common type as one kind of tensor, and back."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..images.picture import Picture
from ..images.pil import as_pil
from ..images.reading import read_picture
from ..images.working import filled, working

OVERSHOOT = 1e-5  # what rounding may carry a float pixel beyond [0, 1], through a colour space and back for example

_WHITE = {torch.uint8: 255.0, torch.uint16: 65535.0}
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_ARRAY_DTYPES = tuple(np.dtype(name) for name in ("uint8", "uint16", "float16", "float32", "float64"))
_LUMA = (0.299, 0.587, 0.114)  # Rec. 601, as Pillow's grey
_PIL_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")


@dataclass(frozen=True)
class Pixels:
    """What came in as pixels (b, c, h, w), c 1 or 3, in its own dtype; `back` makes the caller's type of their like."""

    pixels: Tensor
    back: Callable[[Tensor], Any]


def as_pixels(image: object, name: str) -> Pixels:
    """A file, PIL image, NumPy array or tensor as the pipeline takes them; `name` is what errors call it."""
    if isinstance(image, Tensor):
        return _from_tensor(image, name)
    if isinstance(image, np.ndarray):
        return _from_array(image, name)
    if isinstance(image, Image.Image):
        return _from_pil(image, name)
    if isinstance(image, Picture):
        return _from_picture(image, name)
    if isinstance(image, (str, os.PathLike)):
        picture = _from_picture(read_picture(image), name)
        return Pixels(picture.pixels, lambda output: as_pil(picture.back(output)))
    expected = f"{name}: expected a PIL image, a NumPy array, a torch tensor or a path (or a list of those)"
    if image is None:
        raise TypeError(f"{expected}, got None, which cv2.imread returns where it can't read a file")
    raise TypeError(f"{expected}, got {type(image).__name__}")


def _from_tensor(image: Tensor, name: str) -> Pixels:
    shape, kind = image.shape, type(image)
    if image.dtype not in (*_WHITE, *_FLOATS):
        raise TypeError(f"{name}: expected a tensor of uint8, uint16 or floats, got {image.dtype}")
    if image.ndim not in (3, 4) or shape[-3] not in (1, 2, 3, 4):
        hint = "; channels come first in a tensor" if image.ndim in (3, 4) and shape[-1] in (1, 3, 4) else ""
        raise ValueError(
            f"{name}: expected a tensor (c, h, w) or (b, c, h, w), c from 1 (grey) to 4 (RGBA), "
            f"got {tuple(shape)}{hint}"
        )
    if image.numel() == 0:
        raise ValueError(f"{name}: expected at least one pixel, got a tensor {tuple(shape)}")
    colour, whole = _split(image.detach().as_subclass(Tensor).reshape(-1, *shape[-3:]), name)
    return Pixels(colour, lambda output: whole(output).reshape(shape).as_subclass(kind))


def _from_array(image: np.ndarray, name: str) -> Pixels:
    shape, dtype = image.shape, image.dtype
    if dtype.newbyteorder("=") not in _ARRAY_DTYPES:
        raise TypeError(f"{name}: expected an array of uint8, uint16, float16, float32 or float64, got {dtype}")
    if image.ndim not in (2, 3) or (image.ndim == 3 and shape[2] not in (1, 2, 3, 4)):
        hint = "; channels come last in an array" if image.ndim == 3 and shape[0] in (1, 3, 4) else ""
        hint = "; give a list for several" if image.ndim == 4 else hint
        raise ValueError(
            f"{name}: expected an array (h, w) or (h, w, c), c from 1 (grey) to 4 (RGBA), got {shape}{hint}"
        )
    if image.size == 0:
        raise ValueError(f"{name}: expected at least one pixel, got an array {shape}")
    # torch takes neither foreign byte orders nor negative strides, and warns of read-only memory
    plain = np.require(image, dtype.newbyteorder("="), ["C", "W", "E"])
    colour, whole = _split(torch.from_numpy(plain.reshape(*shape[:2], -1)).permute(2, 0, 1)[None], name)

    def back(output: Tensor) -> np.ndarray:
        return np.ascontiguousarray(whole(output)[0].permute(1, 2, 0).numpy(), dtype).reshape(shape)

    return Pixels(colour, back)


def _split(pixels: Tensor, name: str) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The colours of pixels (b, c, h, w), and what adds their alpha, if there is one, to others in their place.

    What lies behind alpha 0 is replaced by what continues the rest.
    """
    if pixels.is_floating_point():
        low, high = (bound.item() for bound in pixels.aminmax())
        if not (low >= -OVERSHOOT and high <= 1 + OVERSHOOT):  # NaN isn't, either
            got = f"values from {low:.6g} to {high:.6g}" if low == low else "NaN"
            raise ValueError(f"{name}: expected float values in [0, 1], got {got}")
    if pixels.shape[1] in (1, 3):
        return pixels, lambda output: output
    colours = torch.empty_like(pixels[:, :-1])
    for target, each in zip(colours, pixels, strict=True):
        plain = (each.float() if each.is_floating_point() else each).permute(1, 2, 0).cpu().numpy()
        target.copy_(torch.from_numpy(filled(plain[..., :-1], plain[..., -1])).permute(2, 0, 1))

    def whole(output: Tensor) -> Tensor:
        result = torch.empty_like(pixels)
        result[:, :-1], result[:, -1:] = output, pixels[:, -1:]
        return result

    return colours, whole


def _from_picture(picture: Picture, name: str) -> Pixels:
    work = working(picture.pixels, picture.alpha, picture.icc_profile)
    given = _from_array(work.given, name)
    return Pixels(given.pixels, lambda output: replace(picture, pixels=work.back(given.back(output))))


def _from_pil(image: Image.Image, name: str) -> Pixels:
    mode = image.mode
    if mode not in _PIL_MODES:
        raise ValueError(
            f"{name}: expected a PIL image of mode {', '.join(_PIL_MODES)}, got {mode}; convert it to RGB first"
        )
    if 0 in image.size:
        raise ValueError(f"{name}: expected at least one pixel, got a PIL image of size {image.size}")
    plain = {"1": "L", "P": "RGB", "PA": "RGBA"}.get(mode, mode)
    if image.has_transparency_data and plain in ("L", "RGB"):
        plain += "A"  # the colour that it names won't be the same after restoring
    array = np.asarray(image if plain == mode else image.convert(plain))
    if mode == "I":
        if array.min() < 0 or array.max() > 65535:
            raise ValueError(
                f"{name}: expected values in 0…65535 for mode I, got values from {array.min()} to {array.max()}"
            )
        array = array.astype(np.uint16)
    colour, alpha = (array[..., :-1], array[..., -1:]) if plain[-1] == "A" else (array, None)
    work = None
    if array.dtype in (np.uint8, np.uint16):
        seen = None if alpha is None else alpha[..., 0]
        work = working(np.atleast_3d(colour), seen, image.info.get("icc_profile") or b"")
        colour = work.given.reshape(colour.shape)
    picture = _from_array(colour, name)

    def back(output: Tensor) -> Image.Image:
        result = picture.back(output)
        if work is not None:
            result = work.back(np.atleast_3d(result)).reshape(result.shape)
        if alpha is not None:
            result = np.concatenate([result, alpha], axis=2)
        restored = Image.fromarray(result.astype(np.int32) if mode == "I" else result)
        restored.info = {key: value for key, value in image.info.items() if key != "transparency"}
        return restored

    return Pixels(picture.pixels, back)


def swapped(array: np.ndarray) -> np.ndarray:
    """RGB as BGR and back: (h, w, 3 or 4) as a copy with its first and third channel exchanged; (h, w) as it is."""
    return array if array.ndim == 2 else np.take(array, [2, 1, 0, 3][: array.shape[2]], axis=2)


def to_unit(pixels: Tensor, device: torch.device) -> Tensor:
    """(c, h, w) of any dtype → (1, 3, h, w) float32 in [0, 1] on `device`."""
    white = _WHITE.get(pixels.dtype, 1.0)
    # bytes travel as they are; not every device has the other dtypes
    pixels = (pixels if pixels.dtype == torch.uint8 else pixels.float()).to(device).float()
    unit = (pixels / white).clamp(0.0, 1.0).expand(3, -1, -1)[None]
    return unit.contiguous()  # one layout whatever came in, because kernels for another one round differently


def from_unit(unit: Tensor, target: Tensor) -> None:
    """Fill `target` (c, h, w) of any dtype and device from (3, h, w) float32 in [0, 1]."""
    if len(target) == 1:
        unit = (unit * unit.new_tensor(_LUMA).view(3, 1, 1)).sum(dim=0, keepdim=True).clamp(0.0, 1.0)
    if target.dtype in _WHITE:
        unit = (unit * _WHITE[target.dtype]).round()
    unit = unit.to(torch.uint8) if target.dtype == torch.uint8 else unit
    target.copy_(unit.to(target.device))
