"""The sampling loop: from noise, or from a noised condition, to the restored latent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from tqdm.auto import tqdm

from .scheduler import DDIMScheduler

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Callback = Callable[[int, int, torch.Tensor], None]


def sample(
    predict: Predict,
    scheduler: DDIMScheduler,
    noise: torch.Tensor,
    num_inference_steps: int | Sequence[int],
    *,
    start_timestep: int | None = None,
    condition_latent: torch.Tensor | None = None,
    eta: float = 0.0,
    use_clipped_model_output: bool = False,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    callback: Callback | None = None,
    progress: bool = False,
) -> torch.Tensor:
    """Run the reverse process with DDIM (Song et al., 2021, eq. 12) and return the last latent.

    It starts from `noise` itself at the first entry of the scheduler's timestep list or, with `start_timestep`, from
    `scheduler.add_noise(condition_latent, noise, start_timestep)` at that timestep. The whole loop is differentiable
    and the scheduler isn't changed, so that training can back-propagate through it and share one scheduler.

    Args:
        predict: `(x_t, t) -> output`, with `x_t` (b, c, h, w) and `t` (b,) int64 on its device. The output has the
            shape of `x_t` and the meaning of the scheduler's `prediction_type`; its dtype may be a lower precision.
        scheduler: gives the timesteps and the steps between them.
        noise: (b, c, h, w), standard normal. Its dtype and device are those of the sampler's state and the result.
        num_inference_steps: how often `predict` is called; or the timesteps themselves, descending.
        start_timestep: where to start, counted from 0 (clean); None: pure noise.
        condition_latent: shape of `noise`; read only with `start_timestep`, and then required.
        eta: 0 deterministic, 1 as stochastic as DDPM.
        use_clipped_model_output: take ε̂ from the limited estimate of x₀; see `DDIMScheduler.step`.
        generator: of the noise that each step adds when `eta` > 0; one, or a list with one per image, which makes an
            image's result independent of its batch.
        callback: called after each step as `callback(step_index, timestep, x0_estimate)`.
        progress: whether to draw a progress bar.

    Returns:
        (b, c, h, w), in the dtype and on the device of `noise`.

    Raises:
        ValueError: an argument is out of range, shapes don't match, or `start_timestep` came without
            `condition_latent`.
    """
    if isinstance(num_inference_steps, Sequence):
        timesteps = list(num_inference_steps)
    else:
        timesteps = scheduler.timestep_list(num_inference_steps, start_timestep)
    x = _start(scheduler, noise, start_timestep, condition_latent)
    pairs = pairwise([*timesteps, -1])
    bar = tqdm(pairs, total=len(timesteps), desc="sampling", leave=False, disable=not progress)
    for index, (t, t_prev) in enumerate(bar):
        output = predict(x, torch.full((x.shape[0],), t, dtype=torch.int64, device=x.device))
        x, x0 = scheduler.step(output, t, x, eta, use_clipped_model_output, generator, prev_timestep=t_prev)
        if callback is not None:
            callback(index, t, x0)
    return x


def _start(
    scheduler: DDIMScheduler,
    noise: torch.Tensor,
    start_timestep: int | None,
    condition_latent: torch.Tensor | None,
) -> torch.Tensor:
    if start_timestep is None:
        return noise * scheduler.init_noise_sigma
    if condition_latent is None:
        raise ValueError(f"condition_latent: expected a latent with start_timestep {start_timestep}, got None")
    if condition_latent.shape != noise.shape:
        raise ValueError(
            f"condition_latent: expected the shape of noise, {tuple(noise.shape)}, got {tuple(condition_latent.shape)}"
        )
    return scheduler.add_noise(condition_latent.to(noise), noise, start_timestep)
