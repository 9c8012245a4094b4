"""`torch.compile` for a restorer's networks: in place, and undone where a machine can't do it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

from torch import nn

from ..restorer import Restorer

Backend = str | Callable[..., Any]


def compile_networks(restorer: Restorer, backend: Backend = "inductor") -> None:
    """Have the encoder, the UNet and the decoder compiled when they first run; what they are and hold stays the same.

    Args:
        restorer: its networks are changed in place; copies made of it run uncompiled.
        backend: as of `torch.compile`.

    Where PyTorch doesn't compile at all (a platform or a release of Python), that is a RuntimeWarning and all stays as
    it is. Failures that show later only, as that of a missing C++ compiler, are for `failed` and `undo`.
    """
    try:
        for network in _networks(restorer):
            network.compile(backend=backend)
    except RuntimeError as error:
        warnings.warn(f"the networks run uncompiled: {reason(error)}", RuntimeWarning, stacklevel=3)


def undo(restorer: Restorer) -> None:
    """Let the networks run as they are."""
    for network in _networks(restorer):
        network.compile(disable=True)


def failed(error: BaseException) -> bool:
    """Whether an exception of running a restorer means that its networks couldn't be compiled."""
    dynamo = sys.modules.get("torch._dynamo.exc")  # takes seconds to import, and isn't needed where nothing is compiled
    return dynamo is not None and isinstance(error, dynamo.TorchDynamoException)


def reason(error: BaseException) -> str:
    """One line of an exception of compiling."""
    cause = getattr(error, "inner_exception", error)
    return f"{type(cause).__name__}: {cause}".splitlines()[0]


def _networks(restorer: Restorer) -> tuple[nn.Module, ...]:
    return restorer.model.encoder, restorer.unet, restorer.model.decoder
