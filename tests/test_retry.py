"""What happens when memory runs out or a precision doesn't suffice."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightendiff.diffusion.options import Sampling
from lightendiff.models.presets import PRESETS
from lightendiff.restorer import Restorer
from lightendiff.runtime.retry import ran_out_of_memory, restore

SAMPLING = Sampling(2, eta=1.0)


class Limited(Restorer):
    """Runs out of memory where a window is larger than `limit` pixels to a side; not finite in bfloat16 if `coarse`."""

    limit = 10**6
    coarse = False
    error: Exception = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def decode(self, latent: Tensor, skips: list[Tensor]) -> Tensor:
        if max(latent.shape[2:]) * 8 > self.limit:
            raise self.error
        image = super().decode(latent, skips)
        return image * float("nan") if self.coarse and self.autocast_dtype is not None else image


@pytest.fixture
def limited() -> Limited:
    torch.manual_seed(0)
    return Limited(PRESETS["tiny"]).eval().requires_grad_(False)


def dark(size: tuple[int, int] = (64, 800)) -> Tensor:
    return 0.2 * torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(5)]


def test_all_goes_as_asked(limited: Limited) -> None:
    expected = limited(dark(), SAMPLING, generator=generators())
    assert torch.equal(restore(limited, dark(), generators(), None, SAMPLING), expected)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("out"), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_windows_shrink_until_they_fit_and_the_noise_stays(limited: Limited, error: Exception) -> None:
    expected = limited(dark(), SAMPLING, generator=generators())
    limited.limit, limited.error = 416, error
    with pytest.warns(RuntimeWarning, match="out of memory on cpu: trying again in windows of 400 pixels on cpu"):
        restored = restore(limited, dark(), generators(), None, SAMPLING)
    torch.testing.assert_close(restored, expected, atol=1e-4, rtol=1e-4)


def test_in_the_end_the_error_is_told(limited: Limited) -> None:
    limited.limit = 100
    with (
        pytest.warns(RuntimeWarning, match="windows of 352 pixels"),
        pytest.raises(torch.OutOfMemoryError, match="Tried to allocate"),
    ):
        restore(limited, dark(), generators(), 416, SAMPLING)


def test_other_errors_are_not_tried_again(limited: Limited) -> None:
    limited.limit, limited.error = 100, RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        restore(limited, dark(), generators(), None, SAMPLING)
    assert not ran_out_of_memory(ValueError("no"))


@pytest.mark.parametrize(
    "message",
    [
        "MPS backend out of memory (MPS allocated: 6.05 GB, other allocations: 1.02 GB, max allowed: 9.07 GB)",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: out of memory",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes",
        "std::bad_alloc",
    ],
)
def test_memory_that_ran_out_without_a_type_of_its_own(message: str) -> None:
    assert ran_out_of_memory(RuntimeError(message))


def test_float32_takes_over_where_a_lower_precision_fails(limited: Limited) -> None:
    expected = limited(dark(), SAMPLING, generator=generators())
    limited.autocast_dtype, limited.coarse = torch.bfloat16, True
    with pytest.warns(RuntimeWarning, match="isn't finite in torch.bfloat16: trying again in float32"):
        restored = restore(limited, dark(), generators(), None, SAMPLING)
    assert torch.equal(restored, expected)
    assert limited.autocast_dtype == torch.bfloat16  # for the next picture


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_cpu_takes_over_from_a_gpu(limited: Limited) -> None:
    expected = limited(dark(), SAMPLING, generator=generators())

    class Full(Limited):
        def decode(self, latent: Tensor, skips: list[Tensor]) -> Tensor:
            if latent.is_cuda:
                raise self.error
            return super().decode(latent, skips)

    limited.__class__ = Full
    with pytest.warns(RuntimeWarning, match="out of memory on cuda:0: trying again whole on cpu"):
        restored = restore(limited.cuda(), dark().cuda(), generators(), None, SAMPLING)
    torch.testing.assert_close(restored.cpu(), expected, atol=1e-3, rtol=1e-3)
