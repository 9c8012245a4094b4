"""The options of sampling as one value."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from lightendiff.diffusion.options import MAX_EXPOSURE, Sampling


def test_numbers_of_any_kind_become_plain_ones() -> None:
    sampling: Any = Sampling(np.int64(4), np.uint8(200), np.float32(0.5), np.float64(-1), 1)  # type: ignore[arg-type]
    assert sampling == Sampling(4, 200, 0.5, -1.0, 1.0)
    assert [type(value) for value in vars(sampling).values()] == [int, int, float, float, float]
    with pytest.raises(FrozenInstanceError):
        sampling.eta = 0.0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_inference_steps": 0}, ValueError, "num_inference_steps: expected an integer of at least 1, got 0"),
        ({"num_inference_steps": 2.0}, TypeError, "num_inference_steps: expected an integer, got 2.0"),
        ({"start_timestep": -1}, ValueError, "start_timestep: expected an integer of at least 0, got -1"),
        ({"eta": 1.5}, ValueError, "eta: expected a number from 0 to 1, got 1.5"),
        ({"exposure": -MAX_EXPOSURE - 0.1}, ValueError, "exposure: expected a number from -3.0 to 3.0, got -3.1"),
        ({"strength": "all"}, TypeError, "strength: expected a number, got 'all'"),
    ],
)
def test_refuses_other_values(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        Sampling(**options)
    assert str(caught.value) == message
