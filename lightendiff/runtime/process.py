"""What a process that does nothing but restore or train sets before PyTorch is imported."""

from __future__ import annotations

import ctypes
import os
import sys

_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_MALLOC = {-4: 0, -1: 2**30, -2: 2**26}  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD of malloc.h


def tune_process() -> None:
    """Both of what follows."""
    wait_without_spinning()
    keep_freed_memory()


def wait_without_spinning() -> None:
    """Have threads that wait for others sleep rather than spin, unless the user's environment says how they wait.

    Threads that spin take the cores from the ones they wait for as soon as anything else runs beside them. It is read
    when PyTorch is imported, and so must come before.
    """
    if not any(name in os.environ for name in _WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def keep_freed_memory() -> None:
    """Have the GNU C library keep up to 1 GiB of freed memory, unless the user's environment sets its `malloc`.

    By itself it asks the kernel for every large block and gives it back at once, so that the output of each layer is
    mapped and cleared anew, which takes up to a third of the time. Other C libraries are left as they are.
    """
    chosen = any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if sys.platform == "linux" and not chosen:
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt") and hasattr(library, "gnu_get_libc_version"):
            for parameter, value in _MALLOC.items():
                library.mallopt(parameter, value)
