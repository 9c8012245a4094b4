"""What decides how pictures are sampled, as one value that is checked once and handed down whole."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from numbers import Real
from statistics import NormalDist

MAX_EXPOSURE = 3.0  # stops
EXPOSURE_DEVIATION = 0.5  # stops; of photographers' exposures about the automatic one: benchmarks/variants.py


@dataclass(frozen=True)
class Sampling:
    """How dark pictures are restored, beside weights, noise and precision.

    Attributes:
        num_inference_steps: DDIM steps, from 1; None for what the weights were made for.
        start_timestep: start from the dark picture's latent noised to this timestep, from 0 (clean); None for what the
            weights were made for, which may be pure noise.
        eta: 0 for deterministic DDIM, 1 for as much noise in each step as DDPM, or between.
        exposure: stops by which the result is to be brighter than what is chosen automatically, from -3 to 3; through
            the latent, so that lights roll off instead of clipping.
        strength: 0 for the dark picture, 1 for the restored one, between for a linear blend of both.

    Raises:
        TypeError: an option is of another type.
        ValueError: an option is out of its range. What a restorer's scheduler and architecture can't do is found by
            `Restorer.check`.
    """

    num_inference_steps: int | None = None
    start_timestep: int | None = None
    eta: float = 0.0
    exposure: float = 0.0
    strength: float = 1.0

    def __post_init__(self) -> None:
        for name, low in (("num_inference_steps", 1), ("start_timestep", 0)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checked_integer(name, getattr(self, name), low))
        for name, least, most in (("eta", 0, 1), ("exposure", -MAX_EXPOSURE, MAX_EXPOSURE), ("strength", 0, 1)):
            object.__setattr__(self, name, checked_number(name, getattr(self, name), least, most))


def plausible_exposures(count: int) -> list[float]:
    """`count` exposures in stops, rising, each as likely as the others to be the nearest to what a photographer takes.

    They are the middle quantiles of equal shares of a normal distribution about the automatic exposure.
    """
    choices = NormalDist(0.0, EXPOSURE_DEVIATION)
    return [choices.inv_cdf((i + 0.5) / count) for i in range(count)]


def checked_integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """`value` as an int. TypeError if it is no integer, ValueError if it isn't from `low` to `high`."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {value!r}") from None
    if number < low or (high is not None and number > high):
        limits = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name}: expected an integer {limits}, got {number}")
    return number


def checked_number(name: str, value: object, low: float, high: float) -> float:
    """`value` as a float. TypeError if it is no real number, ValueError if it isn't from `low` to `high`."""
    if not isinstance(value, Real):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    number = float(value)
    if not low <= number <= high:
        raise ValueError(f"{name}: expected a number from {low} to {high}, got {value}")
    return number
