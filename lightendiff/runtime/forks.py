"""Forked processes: they compute in one thread, as PyTorch's threads don't come along and would be waited for."""

from __future__ import annotations

import os
from functools import cache

import torch


@cache
def forks_use_one_thread() -> None:
    """From now on, processes that are forked from this one compute in one thread; called again, nothing more happens.

    OpenMP's threads aren't there in a fork. Where the process has used them before, a fork that wants them would wait
    for ever. Spawned processes have threads of their own.
    """
    if hasattr(os, "register_at_fork"):  # not on Windows, which doesn't fork
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
