"""DDIM: the noise schedule's tables and the step from x_t to x_{t−n}. Numbers only, no networks.

| here | in the papers |
| --- | --- |
| `alpha`, `beta` | ᾱ_t and 1 − ᾱ_t |
| `alpha_prev`, `beta_prev` | ᾱ_{t−n} and 1 − ᾱ_{t−n} |
| `x0`, `eps` | x̂₀ and ε̂, the estimates at timestep t |
| `variance`, `rest` | σ_t² and 1 − ᾱ_{t−n} − σ_t² |
"""

from __future__ import annotations

import inspect
import json
import math
import operator
import warnings
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise
from numbers import Real
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn, get_args

import numpy as np
import torch

BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2"]
PredictionType = Literal["epsilon", "sample", "v_prediction"]
TimestepSpacing = Literal["leading", "linspace", "trailing"]
Generators = torch.Generator | Sequence[torch.Generator] | None
Timestep = int | torch.Tensor
Scalar = float | torch.Tensor

CONFIG_NAME = "scheduler_config.json"


class DDIMSchedulerOutput(NamedTuple):
    """What a step returns, both shaped like its sample: x_{t−n} and the (limited) estimate of x₀."""

    prev_sample: torch.Tensor
    pred_original_sample: torch.Tensor

    def __getitem__(self, key: Any) -> Any:
        """By index, as a tuple, or by name, as diffusers' outputs."""
        return getattr(self, key) if isinstance(key, str) else tuple.__getitem__(self, key)


class SchedulerConfig(dict[str, Any]):
    """The constructor's arguments, read-only, as `config.beta_start` or `config["beta_start"]`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the scheduler's config has no {name!r}; it has {list(self)}") from None

    def _read_only(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a scheduler's config is read-only; make a new one with from_config(config, name=value)")

    __setattr__ = __delattr__ = __setitem__ = __delitem__ = _read_only
    __ior__ = update = pop = popitem = setdefault = clear = _read_only

    def __reduce__(self) -> tuple[type[SchedulerConfig], tuple[dict[str, Any]]]:
        return type(self), (dict(self),)  # copying item by item would run into the lock


class DDIMScheduler:
    """Denoising diffusion implicit models (Song et al., 2021, arXiv:2010.02502), in the place of diffusers' class.

    Arguments, defaults, files and lists of timesteps are those of `diffusers.DDIMScheduler`. The difference: a step
    leads to the *next entry of the list*, not to t − T//N, which isn't in the list for linspace and, where N doesn't
    divide T, for trailing.

    Args:
        num_train_timesteps: T; timesteps are 0 (almost clean) … T − 1 (almost noise).
        beta_start, beta_end: first and last β of the linear schedules, both in (0, 1).
        beta_schedule: "linear" for linear β, "scaled_linear" for linear √β, or "squaredcos_cap_v2" for the cosine
            schedule (arXiv:2102.09672, eq. 17, with β at most 0.999).
        trained_betas: T values that replace the schedule, in (0, 1); the last may be 1.
        clip_sample: clamp the estimate of x₀ to ±`clip_sample_range`. `thresholding` replaces it.
        set_alpha_to_one: after the last timestep ᾱ is 1; otherwise ᾱ₀.
        steps_offset: added to the timesteps of leading spacing.
        prediction_type: what the network returns: "epsilon" for ε, "sample" for x₀, or "v_prediction" for
            v = √ᾱ·ε − √(1−ᾱ)·x₀ (arXiv:2202.00512).
        thresholding: clamp the estimate of x₀ to ±s and divide it by s, where s is the `dynamic_thresholding_ratio`
            quantile of its magnitudes in an image, raised to at least 1, then cut to at most `sample_max_value`
            (arXiv:2205.11487, sec. 2.3).
        timestep_spacing: "leading", "linspace" or "trailing", as in arXiv:2305.08891, table 2.
        rescale_betas_zero_snr: shift and scale √ᾱ so that it is exactly 0 at T − 1 (same paper, algorithm 1).

    Attributes:
        config: the arguments, by name.
        alphas_cumprod: (T,) float64 on the CPU, ᾱ.
        betas: (T,) float64 on the CPU, β.
        final_alpha_cumprod: () float64 on the CPU, ᾱ after the last timestep.
        timesteps: (N,) int64, the list that `step` follows. Any list that descends strictly may be assigned.
        num_inference_steps: N, or None before a list was set.

    Raises:
        ValueError, TypeError: an argument is outside what is said above.

    Example:
        >>> scheduler = DDIMScheduler(timestep_spacing="trailing", prediction_type="sample")
        >>> scheduler.timestep_list(4)
        [999, 749, 499, 249]
        >>> scheduler.set_timesteps(4)
        >>> x0 = torch.full((1, 3, 8, 8), 0.5)
        >>> x = scheduler.add_noise(x0, torch.randn(x0.shape), 249)
        >>> torch.equal(scheduler.step(x0, 249, x).prev_sample, x0)  # the last step leads to what the network says
        True
    """

    order = 1
    init_noise_sigma = 1.0
    num_inference_steps: int | None

    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: BetaSchedule = "linear",
        trained_betas: np.ndarray | Sequence[float] | None = None,
        clip_sample: bool = True,
        set_alpha_to_one: bool = True,
        steps_offset: int = 0,
        prediction_type: PredictionType = "epsilon",
        thresholding: bool = False,
        dynamic_thresholding_ratio: float = 0.995,
        clip_sample_range: float = 1.0,
        sample_max_value: float = 1.0,
        timestep_spacing: TimestepSpacing = "leading",
        rescale_betas_zero_snr: bool = False,
    ) -> None:
        settings = {name: value for name, value in locals().items() if name != "self"}
        if trained_betas is not None:
            settings["trained_betas"] = np.asarray(trained_betas, dtype=np.float64).tolist()
        self.config = SchedulerConfig(_checked(settings))
        self.alphas_cumprod = _alphas_cumprod(self.config)
        before = torch.cat([torch.ones(1, dtype=torch.float64), self.alphas_cumprod[:-1]])
        self.betas = 1 - self.alphas_cumprod / before
        self.final_alpha_cumprod = before[0] if set_alpha_to_one else self.alphas_cumprod[0]
        # Timestep t is row t + 1: row 0 serves t = −1, "after the last timestep".
        alpha = torch.cat([self.final_alpha_cumprod[None], self.alphas_cumprod])
        self._table = torch.stack([alpha, 1 - alpha], dim=1)
        self._rows: list[list[float]] = self._table.tolist()
        self._table_on: dict[torch.device, torch.Tensor] = {}
        self.timesteps = torch.arange(num_train_timesteps - 1, -1, -1)
        self.num_inference_steps = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any], **overrides: Any) -> DDIMScheduler:
        """Make a scheduler from a config: this class's, that of any scheduler of diffusers, or a plain mapping.

        Keys that begin with an underscore are diffusers' notes. Other keys that this class doesn't know belong to
        another scheduler and are ignored with a warning. `overrides` replace entries and must be known.

        Raises:
            TypeError: `config` is no mapping, or an override isn't known.
            ValueError: an entry is outside what the constructor says.
        """
        if not isinstance(config, Mapping):
            raise TypeError(f"config: expected a mapping, like a scheduler's config, got {type(config).__name__}")
        known = inspect.signature(cls).parameters
        # diffusers lists here what was left at the default of *its* class, which is nobody's choice.
        defaulted = config.get("_use_default_values") or ()
        values = {key: value for key, value in config.items() if not key.startswith("_") and key not in defaulted}
        if ignored := sorted(values.keys() - known.keys()):
            warnings.warn(f"{cls.__name__} doesn't know these entries of the config: {ignored}", stacklevel=2)
        return cls(**{key: value for key, value in values.items() if key in known} | overrides)

    @classmethod
    def from_pretrained(cls, folder: str | Path, subfolder: str | None = None) -> DDIMScheduler:
        """Read `scheduler_config.json`, written by `save_config` or by diffusers, in a folder or its `subfolder`.

        Raises:
            FileNotFoundError: there is no such file.
            TypeError, ValueError: it isn't JSON, or as `from_config`.
        """
        return cls.from_config(json.loads((Path(folder) / (subfolder or "") / CONFIG_NAME).read_text(encoding="utf-8")))

    def save_config(self, folder: str | Path) -> None:
        """Write `scheduler_config.json`, which diffusers reads too, into a folder; make the folder if need be."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        text = json.dumps({"_class_name": "DDIMScheduler", **self.config}, indent=2, sort_keys=True)
        (Path(folder) / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")

    def save_pretrained(self, folder: str | Path) -> None:
        """As `save_config`: the name that diffusers' pipelines call."""
        self.save_config(folder)

    def __len__(self) -> int:
        count: int = self.config.num_train_timesteps
        return count

    def timestep_list(self, num_inference_steps: int, start_timestep: int | None = None) -> list[int]:
        """Return the N timesteps of a run, descending, as diffusers chooses them.

        With `start_timestep` they lie over [0, start_timestep] in the same manner, and the first is `start_timestep`
        itself: trailing and linspace as if T were start_timestep + 1, leading evenly spaced down to `steps_offset`.
        Starting where the full list starts gives the full list.
        """
        n = _integer("num_inference_steps", num_inference_steps)
        last, spacing = len(self) - 1, self.config.timestep_spacing
        low = self.config.steps_offset if spacing == "leading" else 0
        top = last if start_timestep is None else _integer("start_timestep", start_timestep)
        if not low <= top <= last:
            raise ValueError(f"start_timestep: expected from {low} to {last}, got {top}")
        if not 1 <= n <= top - low + 1:
            raise ValueError(
                f"num_inference_steps: expected from 1 to {top - low + 1}, got {n} (timesteps {low} to {top})"
            )
        if spacing == "trailing":
            # Float error can append a 0 to the range, hence [:n]; diffusers keeps it and goes to timestep −1.
            steps: list[int] = (np.arange(top + 1, 0, -(top + 1) / n)[:n].round().astype(int) - 1).tolist()
            return steps
        if start_timestep is None and spacing == "leading":
            top = low + len(self) // n * (n - 1)
            if top > last:
                raise ValueError(f"steps_offset {low} moves the first of {n} timesteps to {top}, past the last, {last}")
        if n == 1:  # a full list of one is the lowest timestep: diffusers' lists are kept, even the useless ones
            return [low if start_timestep is None else top]
        steps = np.linspace(low, top, n).round().astype(int)[::-1].tolist()
        return steps

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Set `timesteps` to `timestep_list(num_inference_steps)`, on a device."""
        self.timesteps = torch.tensor(self.timestep_list(num_inference_steps), device=device)

    @property
    def timesteps(self) -> torch.Tensor:
        return self._timesteps

    @timesteps.setter
    def timesteps(self, timesteps: torch.Tensor) -> None:
        ascending = timesteps.tolist()[::-1]
        ends = [-1, *ascending, len(self)]
        if not ascending or any(a >= b for a, b in pairwise(ends)):
            raise ValueError(f"timesteps must descend strictly within {len(self) - 1} … 0, got {ascending[::-1]}")
        self._timesteps = timesteps
        self.num_inference_steps = len(ascending)
        # For every t the next entry below it, so that a step need not search, nor know the value of t on the host.
        self._next: list[int] = [ends[bisect_left(ascending, t)] for t in range(len(self))]
        self._next_on: dict[torch.device, torch.Tensor] = {}

    def scale_model_input(self, sample: torch.Tensor, timestep: Timestep | None = None) -> torch.Tensor:
        """Return the sample as it is; other schedulers scale here."""
        return sample

    def add_noise(self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: Timestep) -> torch.Tensor:
        """Return x_t = √ᾱ_t·x₀ + √(1−ᾱ_t)·ε in the dtype of x₀ (b, …), for one timestep or one per image (b,)."""
        x0, eps = _working(original_samples, "noise", noise)
        alpha, beta = self._alpha_beta(self._timestep("timesteps", timesteps, x0), x0)
        return (_sqrt(alpha, x0) * x0 + _sqrt(beta, x0) * eps).to(original_samples.dtype)

    def get_velocity(self, sample: torch.Tensor, noise: torch.Tensor, timesteps: Timestep) -> torch.Tensor:
        """Return v = √ᾱ_t·ε − √(1−ᾱ_t)·x₀, where `sample` is x₀, as `add_noise` returns x_t."""
        x0, eps = _working(sample, "noise", noise)
        alpha, beta = self._alpha_beta(self._timestep("timesteps", timesteps, x0), x0)
        return (_sqrt(alpha, x0) * eps - _sqrt(beta, x0) * x0).to(sample.dtype)

    def step(
        self,
        model_output: torch.Tensor,
        timestep: Timestep,
        sample: torch.Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool = False,
        generator: Generators = None,
        variance_noise: torch.Tensor | None = None,
        return_dict: bool = True,
        *,
        prev_timestep: Timestep | None = None,
    ) -> DDIMSchedulerOutput:
        """Go from x_t to x_{t−n}, DDIM eq. 12, where t−n is the next entry of the timestep list.

        Differentiable, and without a host synchronisation, whether timesteps are ints or lie on the sample's device
        (but for ε-prediction with `rescale_betas_zero_snr`, which must know whether ᾱ_t is 0).

        Args:
            model_output: (b, …), what the network returned for `sample`; see `prediction_type`.
            timestep: t of `sample`: an int, or a tensor of one element or of one per image (b,).
            sample: x_t, shaped like `model_output`. Half precision is calculated with in float32.
            eta: from 0, deterministic, to 1, the variance of DDPM's posterior.
            use_clipped_model_output: take ε̂ from the limited x̂₀ rather than from the network's.
            generator: of the step's noise when `eta` > 0; one for the batch, or a list with one per image.
            variance_noise: (b, …), that noise itself instead of a generator.
            return_dict: False: a plain tuple.
            prev_timestep: t−n, below t, or −1 for "after the last timestep". None: taken from `timesteps`, where a t
                that isn't an entry leads to the next one below it.

        Returns:
            x_{t−n} and x̂₀, in the dtype of `sample`.

        Raises:
            ValueError: an argument is out of range, shapes differ, no timestep list was set, or the network predicts ε
                where ᾱ_t = 0.
            TypeError: a timestep isn't an integer.
        """
        if not 0 <= eta <= 1:
            raise ValueError(f"eta: expected from 0 to 1, got {eta}")
        if generator is not None and variance_noise is not None:
            raise ValueError("generator and variance_noise exclude each other, got both")
        x, output = _working(sample, "model_output", model_output)
        t = self._timestep("timestep", timestep, x)
        alpha, beta = self._alpha_beta(t, x)
        alpha_prev, beta_prev = self._alpha_beta(self._prev_timestep(t, prev_timestep, x), x)

        # 1. What the network says of x₀ and ε.
        x0, eps = self._predictions(output, x, alpha, beta)
        x0 = self._limited(x0)
        if use_clipped_model_output:
            eps = (x - _sqrt(alpha, x) * x0) / _sqrt(beta, x)
        # 2. Eq. 16, and what it leaves for ε̂, 1−ᾱ_{t−n}−σ²; both written so that nothing cancels near ᾱ = 0 or 1.
        variance = eta**2 * (beta_prev / beta) * (beta - beta_prev) / alpha_prev
        rest = beta_prev * ((1 - eta**2) + eta**2 * (beta_prev / beta) * (alpha / alpha_prev))
        # 3. Eq. 12.
        prev_sample = _sqrt(alpha_prev, x) * x0 + _sqrt(rest, x) * eps
        if eta > 0:
            if variance_noise is None:
                variance_noise = gaussian_noise(x.shape, generator, x.device, x.dtype)
            prev_sample = prev_sample + _sqrt(variance, x) * _working(x, "variance_noise", variance_noise)[1]
        result = DDIMSchedulerOutput(prev_sample.to(sample.dtype), x0.to(sample.dtype))
        return result if return_dict else tuple(result)  # type: ignore[return-value]

    def _predictions(
        self, output: torch.Tensor, x: torch.Tensor, alpha: Scalar, beta: Scalar
    ) -> tuple[torch.Tensor, torch.Tensor]:
        signal, noise = _sqrt(alpha, x), _sqrt(beta, x)
        if self.config.prediction_type == "sample":
            return output, (x - signal * output) / noise
        if self.config.prediction_type == "v_prediction":
            return signal * x - noise * output, signal * output + noise * x
        if self._rows[-1][0] == 0 and _any(alpha == 0):
            raise ValueError(
                f"prediction_type 'epsilon' says nothing of x₀ at timestep {len(self) - 1}, where ᾱ = 0: use "
                f"'v_prediction' or 'sample', or a list without it (spacing is {self.config.timestep_spacing!r})"
            )
        return (x - noise * output) / signal, output

    def _limited(self, x0: torch.Tensor) -> torch.Tensor:
        config = self.config
        if config.thresholding:
            magnitudes = x0.flatten(1).abs().sort(dim=1).values
            # torch.quantile interpolates between ranks just so, but refuses more than 16 M elements.
            rank = config.dynamic_thresholding_ratio * (magnitudes.shape[1] - 1)
            s = torch.lerp(magnitudes[:, math.floor(rank)], magnitudes[:, math.ceil(rank)], rank % 1)
            s = s.clamp(min=1).clamp(max=config.sample_max_value).reshape(-1, *[1] * (x0.ndim - 1))
            return x0.clamp(-s, s) / s
        return x0.clamp(-config.clip_sample_range, config.clip_sample_range) if config.clip_sample else x0

    def _timestep(self, name: str, value: Timestep, x: torch.Tensor, low: int = 0) -> Timestep:
        """An int where that costs no synchronisation, otherwise (1,) or (b,) int64 on the device of x."""
        last = len(self) - 1
        if not isinstance(value, torch.Tensor) or (value.ndim == 0 and value.device.type == "cpu"):
            value = _integer(name, value)
            if not low <= value <= last:
                raise ValueError(f"{name}: expected from {low} to {last}, got {value}")
            return value
        if value.is_floating_point():
            raise TypeError(f"{name}: expected integers, got {value.dtype}")
        if value.numel() not in (1, len(x)):
            raise ValueError(f"{name}: expected one or one per image, {len(x)}, got shape {tuple(value.shape)}")
        if value.device.type == "cpu" and not low <= value.min() <= value.max() <= last:
            raise ValueError(f"{name}: expected from {low} to {last}, got {value.tolist()}")
        return value.reshape(-1).to(x.device, torch.int64)

    def _prev_timestep(self, t: Timestep, given: Timestep | None, x: torch.Tensor) -> Timestep:
        if given is not None:
            prev = self._timestep("prev_timestep", given, x, low=-1)
            if (x.device.type == "cpu" or (isinstance(t, int) and isinstance(prev, int))) and _any(prev >= t):
                raise ValueError(f"prev_timestep: expected one below timestep {t}, got {prev}")
            return prev
        if self.num_inference_steps is None:
            raise ValueError("no timestep list to follow: call set_timesteps before step, or give prev_timestep")
        if isinstance(t, int):
            return self._next[t]
        if x.device not in self._next_on:
            self._next_on[x.device] = torch.tensor(self._next, device=x.device)
        return self._next_on[x.device][t]

    def _alpha_beta(self, t: Timestep, x: torch.Tensor) -> tuple[Scalar, Scalar]:
        """ᾱ_t and 1 − ᾱ_t: floats, or tensors that broadcast over x."""
        if isinstance(t, int):
            alpha, beta = self._rows[t + 1]
            return alpha, beta
        if x.device not in self._table_on:
            dtype = torch.float32 if x.device.type == "mps" else torch.float64  # MPS has no float64
            self._table_on[x.device] = self._table.to(x.device, dtype)
        alphas, betas = self._table_on[x.device][t + 1].reshape(-1, 2, *[1] * (x.ndim - 1)).unbind(1)
        return alphas, betas


def gaussian_noise(
    shape: Sequence[int], generator: Generators, device: torch.device | str, dtype: torch.dtype
) -> torch.Tensor:
    """Draw standard normal noise (b, …) with one generator for all or a list with one per image.

    With a list, an image's noise depends on its own generator only. A CPU generator serves every device and gives the
    same numbers on each.
    """
    if isinstance(generator, Sequence):
        if len(generator) != shape[0]:
            raise ValueError(f"generator: expected one or a list of {shape[0]}, one per image, got {len(generator)}")
        return torch.cat([gaussian_noise((1, *shape[1:]), each, device, dtype) for each in generator])
    target = torch.device(device)
    source = target if generator is None else generator.device
    if source.type not in ("cpu", target.type):
        raise ValueError(f"generator: expected one on the CPU or on the sample's device, {target}, got one on {source}")
    return torch.randn(tuple(shape), generator=generator, device=source, dtype=dtype).to(target, non_blocking=True)


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with plain numbers, after refusing those that no schedule can be made of."""
    checked = dict(settings)
    choices = {"beta_schedule": BetaSchedule, "prediction_type": PredictionType, "timestep_spacing": TimestepSpacing}
    for name, choice in choices.items():
        if settings[name] not in get_args(choice):
            raise ValueError(f"{name}: expected one of {get_args(choice)}, got {settings[name]!r}")
    for name in ("clip_sample", "set_alpha_to_one", "thresholding", "rescale_betas_zero_snr"):
        if not isinstance(settings[name], bool):
            raise TypeError(f"{name}: expected True or False, got {settings[name]!r}")
    for name, low in {"num_train_timesteps": 1, "steps_offset": 0}.items():
        checked[name] = _integer(name, settings[name])
        if checked[name] < low:
            raise ValueError(f"{name}: expected at least {low}, got {settings[name]}")
    between = {"beta_start": 1.0, "beta_end": 1.0, "clip_sample_range": math.inf, "sample_max_value": math.inf}
    for name in (*between, "dynamic_thresholding_ratio"):
        if not isinstance(settings[name], Real):
            raise TypeError(f"{name}: expected a number, got {settings[name]!r}")
        checked[name] = float(settings[name])
    for name, high in between.items():
        if not 0 < checked[name] < high:
            raise ValueError(f"{name}: expected between 0 and {high}, got {settings[name]}")
    if not 0 <= checked["dynamic_thresholding_ratio"] <= 1:
        raise ValueError(
            f"dynamic_thresholding_ratio: expected from 0 to 1, got {checked['dynamic_thresholding_ratio']}"
        )
    return checked


def _alphas_cumprod(config: SchedulerConfig) -> torch.Tensor:
    """(T,) float64, ᾱ."""
    alphas_cumprod = torch.cumprod(1 - _betas(config), dim=0)
    if config.rescale_betas_zero_snr:
        if len(alphas_cumprod) < 2:
            raise ValueError("rescale_betas_zero_snr needs num_train_timesteps of at least 2, got 1")
        roots = alphas_cumprod.sqrt()
        alphas_cumprod = ((roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1]))) ** 2
    if bool((alphas_cumprod[:-1] == 0).any()):
        raise ValueError(f"ᾱ may be 0 at the last timestep only, got 0 from {int((alphas_cumprod > 0).sum())} on")
    return alphas_cumprod


def _betas(config: SchedulerConfig) -> torch.Tensor:
    """(T,) float64, β before the rescaling to zero terminal SNR."""
    total, start, end = config.num_train_timesteps, config.beta_start, config.beta_end
    if config.trained_betas is not None:
        betas = torch.tensor(config.trained_betas, dtype=torch.float64)
        if betas.shape != (total,):
            raise ValueError(
                f"trained_betas: expected {total} values, num_train_timesteps, got shape {tuple(betas.shape)}"
            )
        if not bool(((betas > 0) & (betas <= 1)).all()):
            raise ValueError(f"trained_betas must lie between 0 and 1, got {float(betas.min())} … {float(betas.max())}")
        return betas
    if config.beta_schedule == "linear":
        return torch.linspace(start, end, total, dtype=torch.float64)
    if config.beta_schedule == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, total, dtype=torch.float64) ** 2
    angles = (torch.arange(total + 1, dtype=torch.float64) / total + 0.008) / 1.008 * (math.pi / 2)
    squares = torch.cos(angles) ** 2
    return (1 - squares[1:] / squares[:-1]).clamp(max=0.999)


def _working(sample: torch.Tensor, name: str, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both tensors in the dtype to calculate in: the wider of theirs, at least float32."""
    if other.shape != sample.shape:
        raise ValueError(f"{name}: expected the sample's shape, {tuple(sample.shape)}, got {tuple(other.shape)}")
    dtype = torch.promote_types(torch.promote_types(sample.dtype, other.dtype), torch.float32)
    return sample.to(dtype), other.to(dtype)


def _integer(name: str, value: object) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {value!r}") from None


def _sqrt(value: Scalar, x: torch.Tensor) -> Scalar:
    """√value; a tensor of them in the dtype of x, which it must not widen."""
    return value.sqrt().to(x.dtype) if isinstance(value, torch.Tensor) else value**0.5


def _any(condition: bool | torch.Tensor) -> bool:
    return bool(condition.any()) if isinstance(condition, torch.Tensor) else condition
