"""LPIPS and NIQE by pyiqa, which is an optional package: figures of a picture (h, w, 3) uint8, lower is better."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from .measure import as_batch

Measure = Callable[[np.ndarray, np.ndarray], float | None]  # (output, reference), both (h, w, 3) uint8
METRICS = {"lpips": True, "niqe": False}  # pyiqa's name -> whether it takes a reference


def perceptual_measures(device: torch.device, say: Callable[[str], object]) -> dict[str, Measure]:
    """What can be measured here: nothing where pyiqa is missing, and nothing that it can't get its own weights for.

    A measure returns None for pictures that it can't judge, small ones for example. say(line) is told what is left out
    although pyiqa is there.
    """
    if importlib.util.find_spec("pyiqa") is None:
        return {}
    found = {name: _measure(name, device, say) for name in METRICS}
    return {name: measure for name, measure in found.items() if measure is not None}


def _measure(name: str, device: torch.device, say: Callable[[str], object]) -> Measure | None:
    try:
        with contextlib.redirect_stdout(sys.stderr):  # where pyiqa tells of its downloads
            import pyiqa

            return partial(_measured, pyiqa.create_metric(name, device=device), METRICS[name])
    except Exception as error:  # whatever fails in downloading weights and building networks
        say(f"note: {name.upper()} is left out: {type(error).__name__}: {error}".splitlines()[0])
        return None


def _measured(metric: Any, referenced: bool, output: np.ndarray, reference: np.ndarray) -> float | None:
    try:
        pictures = [as_batch(output), as_batch(reference)] if referenced else [as_batch(output)]
        return float(metric(*pictures))
    except (RuntimeError, ValueError, AssertionError, IndexError):
        return None
