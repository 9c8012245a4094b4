"""How OpenMP's threads wait for each other."""

from __future__ import annotations

import os

_CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def wait_without_spinning() -> None:
    """Have threads that wait for others sleep rather than spin, unless the user's environment says how they wait.

    Threads that spin take the cores from the ones they wait for as soon as anything else runs beside them. It is read
    when PyTorch is imported, and so must come before.
    """
    if not any(name in os.environ for name in _CHOICES):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
