"""What is tried when pictures can't be restored as asked: smaller windows, the CPU, float32, uncompiled networks.

Each attempt starts from the same noise, so that the result is the one that was asked for. Nothing goes unsaid: every
change is a RuntimeWarning.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from ..diffusion.options import Sampling
from ..diffusion.sampling import Callback as StepCallback
from ..progress import Progress
from ..restorer import Adjust, Restorer
from ..tiling import smallest_side
from . import compile as compilation


def restore(
    restorer: Restorer,
    dark: Tensor,
    generators: Sequence[torch.Generator],
    tile: int | None,
    sampling: Sampling,
    *,
    adjust: Adjust | None = None,
    callback: StepCallback | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """`restorer(dark, sampling, generator=generators, tile=tile, …)`, if need be in another way.

    Where memory runs out, windows are halved down to the smallest there can be, and then the CPU takes over. Where the
    output isn't finite, the networks run in float32. Where they can't be compiled as was asked, they run as they are.

    Args:
        restorer: not changed, except that its networks stay uncompiled once that failed.
        dark: (b, 3, h, w) on its device.
        generators: one per picture.
        tile, sampling, adjust, callback, progress: as the restorer's; each attempt counts from the beginning.

    Returns:
        (b, 3, h, w) float32, finite, on the device of `dark`.

    Raises:
        RuntimeError: even so, memory runs out or the output isn't finite.
    """
    output: Tensor
    device, asked = dark.device, tile
    told = {"adjust": adjust, "callback": callback, "progress": progress}
    states = [generator.get_state() for generator in generators]
    while True:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        try:
            output = restorer(dark, sampling, generator=list(generators), tile=tile, **told)
        except (RuntimeError, MemoryError) as error:
            if compilation.failed(error):
                compilation.undo(restorer)
                _say(f"the networks run uncompiled: {compilation.reason(error)}")
                continue
            if not ran_out_of_memory(error):
                raise
            tile = _smaller(restorer, dark, tile)
            if tile is None:
                if dark.device.type == "cpu":
                    raise
                restorer, dark, tile = copy.deepcopy(restorer).cpu(), dark.cpu(), asked
            place = f"in windows of {tile} pixels" if tile is not None else "whole"
            _say(f"out of memory on {device}: trying again {place} on {dark.device}")
            continue
        if bool(output.isfinite().all()):
            return output.to(device)
        if restorer.autocast_dtype is None:
            raise RuntimeError("the networks' output isn't finite in float32: these weights are damaged")
        _say(f"the networks' output isn't finite in {restorer.autocast_dtype}: trying again in float32")
        restorer = copy.copy(restorer)  # shares the weights
        restorer.autocast_dtype = None


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether that is what an exception means; on the CPU and on MPS, and within cuDNN, it has no type of its own."""
    message = str(error).lower()
    words = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed", "bad_alloc")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(word in message for word in words)


def _smaller(restorer: Restorer, dark: Tensor, tile: int | None) -> int | None:
    """Half the side of the windows, or None where they are as small as can be."""
    config = restorer.config
    smallest = smallest_side(config.halo, config.multiple)
    side = max(dark.shape[2:]) if tile is None else tile
    return max(smallest, side // 2) if side > smallest else None


def _say(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=4)
