"""Which device to use when none is given, and in which precision it computes at full speed."""

from __future__ import annotations

import torch

PRECISIONS = (torch.float32, torch.bfloat16, torch.float16)


def best_device() -> torch.device:
    """CUDA, else MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def existing_device(device: str | torch.device) -> torch.device:
    """The device of that name; ValueError, which says what there is, if this machine has none."""
    try:
        known = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device: expected one that this machine has, got {device!r}; there is {_present()}"
        ) from error
    try:
        return torch.empty(0, device=known).device
    except (RuntimeError, AssertionError) as error:  # which of them depends on how torch was built
        reason = str(error).partition("\n")[0]
        text = f"device: expected one that this machine has, got {device!r} ({reason}); there is {_present()}"
        raise ValueError(text) from error


def _present() -> str:
    """The names of the devices that there are."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ["cpu"] + ["cuda"] * (count > 0) + [f"cuda:{number}" for number in range(count) if count > 1]
    return " and ".join(names + ["mps"] * torch.backends.mps.is_available())


def best_precision(preferred: torch.dtype, device: torch.device) -> torch.dtype:
    """What an architecture prefers, or float32 where that is bfloat16 and `device` doesn't have it."""
    return torch.float32 if preferred == torch.bfloat16 and not has_native_bfloat16(device) else preferred


def check_precision(dtype: torch.dtype | None) -> None:
    """ValueError unless it's one that the networks can run in, or None."""
    if dtype is not None and dtype not in PRECISIONS:
        raise ValueError(f"dtype: expected None, torch.float32, torch.bfloat16 or torch.float16, got {dtype!r}")


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether `device` has bfloat16 instructions; without them bfloat16 is slower than float32, on CPUs many times."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":  # queries that older releases lack
        queries = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, query, bool)() for query in queries)
    return False
