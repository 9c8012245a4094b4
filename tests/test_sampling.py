"""The sampling loop around networks whose answers are known in closed form."""

from __future__ import annotations

import copy

import diffusers
import pytest
import torch

from lightendiff.diffusion.sampling import sample
from lightendiff.diffusion.scheduler import DDIMScheduler

SHAPE = (3, 2, 4, 5)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape or SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


class Oracle:
    """A network that knows x0, and from x_t what noise is in it; remembers what it was called with."""

    def __init__(self, scheduler: DDIMScheduler, x0: torch.Tensor) -> None:
        self.scheduler, self.x0 = scheduler, x0
        self.timesteps: list[int] = []

    def __call__(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        assert t.shape == (len(x),)
        assert t.dtype == torch.int64
        assert bool((t == t[0]).all())
        self.timesteps.append(int(t[0]))
        alpha = self.scheduler.alphas_cumprod[t].reshape(-1, 1, 1, 1)
        eps = (x - alpha**0.5 * self.x0) / (1 - alpha) ** 0.5
        v = alpha**0.5 * eps - (1 - alpha) ** 0.5 * self.x0
        return {"epsilon": eps, "sample": self.x0, "v_prediction": v}[self.scheduler.config.prediction_type]


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("timestep_spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
def test_the_true_answer_ends_on_x0(prediction_type, timestep_spacing, eta):
    """From any noise, along any list, from the top or from a noised condition, whatever noise the steps add."""
    scheduler = DDIMScheduler(
        prediction_type=prediction_type,
        timestep_spacing=timestep_spacing,
        clip_sample=False,
        rescale_betas_zero_snr=prediction_type != "epsilon",
    )
    x0, noise = normal(1), normal(2)
    for n in (1, 3, 7, 20):
        for start in (None, 500):
            oracle = Oracle(scheduler, x0)
            result = sample(oracle, scheduler, noise, n, start_timestep=start, condition_latent=normal(3), eta=eta)
            torch.testing.assert_close(result, x0, rtol=0, atol=1e-9)
            assert oracle.timesteps == scheduler.timestep_list(n, start)


def test_the_state_between_steps_follows_add_noise():
    """With noise that an oracle recovers, the network sees the image noised with it at every timestep of the list."""
    scheduler = DDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing", clip_sample=False)
    x0, noise = normal(1), normal(2)
    seen = []

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return scheduler.get_velocity(x0, noise, t)

    sample(predict, scheduler, noise, 7, start_timestep=800, condition_latent=x0)
    for x, t in zip(seen, scheduler.timestep_list(7, 800), strict=True):
        torch.testing.assert_close(x, scheduler.add_noise(x0, noise, t), rtol=0, atol=1e-12)


def test_start_from_noise_and_from_the_noised_condition():
    scheduler = DDIMScheduler()
    noise, condition = normal(1), normal(2).float()
    starts = {}

    for start in (None, 300):

        def predict(x: torch.Tensor, t: torch.Tensor, start: int | None = start) -> torch.Tensor:
            starts.setdefault(start, x)
            return x

        sample(predict, scheduler, noise, 2, start_timestep=start, condition_latent=condition)
    assert torch.equal(starts[None], noise)
    assert torch.equal(starts[300], scheduler.add_noise(condition.double(), noise, 300))


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_samples_are_distributed_like_the_data(eta):
    """For data N(μ, s²) the best estimate of x₀ is linear in x_t, and the sampler gives μ + s·z.

    At η = 0, z is the very noise that it began with, at η = 1 other noise of the same distribution.
    """
    mean, deviation = 0.7, 0.4
    scheduler = DDIMScheduler(
        prediction_type="sample", timestep_spacing="trailing", rescale_betas_zero_snr=True, clip_sample=False
    )

    def posterior_mean(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha = scheduler.alphas_cumprod[t].reshape(-1, 1, 1, 1)
        gain = deviation**2 * alpha**0.5 / (alpha * deviation**2 + 1 - alpha)
        return mean + gain * (x - alpha**0.5 * mean)

    noise = normal(1, 1, 1, 60, 60)
    result = sample(posterior_mean, scheduler, noise, 1000, eta=eta, generator=generators(2))
    if eta == 0:
        torch.testing.assert_close(result, mean + deviation * noise, rtol=0, atol=0.01)
    else:
        correlation = torch.corrcoef(torch.stack([result.flatten(), noise.flatten()]))[0, 1]
        assert abs(float(correlation)) < 0.06  # 3.6 standard errors
    assert abs(float(result.mean()) - mean) < 4 * deviation / 60
    assert abs(float(result.std()) / deviation - 1) < 4 / (2**0.5 * 60)


def test_equals_a_loop_of_diffusers():
    settings = {"prediction_type": "v_prediction", "timestep_spacing": "trailing"}
    ours, theirs = DDIMScheduler(**settings), diffusers.DDIMScheduler(**settings)

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return 0.5 * x.roll(1, dims=-1) - 0.1 * torch.cos(t.to(x) / 100).reshape(-1, 1, 1, 1)

    noise = normal(1).float()
    theirs.set_timesteps(20)
    x, (generator,) = noise, generators(3)
    for t in theirs.timesteps:
        x = theirs.step(predict(x, t.expand(3)), t, x, eta=0.4, generator=generator).prev_sample
    torch.testing.assert_close(sample(predict, ours, noise, 20, eta=0.4, generator=generators(3)[0]), x)


def test_an_image_does_not_depend_on_its_batch():
    scheduler = DDIMScheduler(timestep_spacing="trailing")

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return x.tanh()

    noise = normal(1)
    batch = sample(predict, scheduler, noise, 5, eta=0.8, generator=generators(4, 5, 6))
    for i, seed in enumerate((4, 5, 6)):
        alone = sample(predict, scheduler, noise[i : i + 1], 5, eta=0.8, generator=generators(seed))
        assert torch.equal(alone, batch[i : i + 1])


def test_callback_gets_every_steps_estimate():
    scheduler = DDIMScheduler(prediction_type="sample", timestep_spacing="trailing", clip_sample=False)
    calls = []
    result = sample(
        lambda x, t: x * 0.5, scheduler, normal(1), 4, callback=lambda index, t, x0: calls.append((index, t, x0))
    )
    assert [(index, t) for index, t, _ in calls] == [(0, 999), (1, 749), (2, 499), (3, 249)]
    assert torch.equal(calls[-1][2], result)
    assert torch.equal(calls[0][2], normal(1) * 0.5)


def test_progress_bar_is_drawn_on_request(capsys):
    scheduler = DDIMScheduler()
    sample(lambda x, t: x, scheduler, normal(1), 3)
    assert capsys.readouterr().err == ""
    sample(lambda x, t: x, scheduler, normal(1), 3, progress=True)
    drawn = capsys.readouterr()
    assert "sampling" in drawn.err
    assert "/3" in drawn.err
    assert drawn.out == ""


def test_the_scheduler_stays_as_it_was():
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(5)
    before = copy.deepcopy(vars(scheduler))
    sample(lambda x, t: x, scheduler, normal(1), 3, start_timestep=200, condition_latent=normal(2), eta=1.0)
    for name, value in vars(scheduler).items():
        same = torch.equal(value, before[name]) if isinstance(value, torch.Tensor) else value == before[name]
        assert same, name


@pytest.mark.parametrize("start", [None, 600])
def test_gradients_reach_network_noise_and_condition(start):
    """Through several steps, as when training on the sampler's own trajectories."""
    scheduler = DDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing", clip_sample=False)
    weight = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    noise, condition = (normal(i, 1, 1, 2, 2).requires_grad_() for i in (1, 2))

    def run(weight: torch.Tensor, noise: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return sample(
            lambda x, t: (weight * x).sin() + condition,
            scheduler,
            noise,
            3,
            start_timestep=start,
            condition_latent=condition,
        )

    assert torch.autograd.gradcheck(run, (weight, noise, condition))


def test_a_network_in_half_precision_leaves_the_state_in_single():
    scheduler = DDIMScheduler(prediction_type="v_prediction")
    seen = set()

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.add(x.dtype)
        return x.bfloat16()

    result = sample(predict, scheduler, normal(1).float(), 3, eta=0.5)
    assert seen == {torch.float32}
    assert result.dtype == torch.float32


def test_no_host_synchronisation():
    """A meta tensor has no values: whatever asked one for a value, as a synchronisation does, would raise."""
    noise = torch.empty(SHAPE, device="meta")
    result = sample(lambda x, t: x, DDIMScheduler(), noise, 4, start_timestep=700, condition_latent=noise, eta=1.0)
    assert result.device == noise.device
    assert result.shape == noise.shape


def test_errors():
    scheduler, noise = DDIMScheduler(), normal(1)

    def run(n: int = 2, **options: object) -> torch.Tensor:
        return sample(lambda x, t: x, scheduler, noise, n, **options)

    with pytest.raises(ValueError, match="condition_latent: expected a latent with start_timestep 300, got None"):
        run(start_timestep=300)
    with pytest.raises(ValueError, match=r"condition_latent: expected .* noise, \(3, 2, 4, 5\), got \(1, 2, 4, 5\)"):
        run(start_timestep=300, condition_latent=noise[:1])
    with pytest.raises(ValueError, match="start_timestep: expected from 0 to 999, got 1000"):
        run(start_timestep=1000, condition_latent=noise)
    with pytest.raises(ValueError, match="num_inference_steps: expected from 1 to 1000, got 0"):
        run(0)
    with pytest.raises(ValueError, match="generator: expected one or a list of 3, one per image, got 2"):
        run(eta=0.5, generator=generators(1, 2))
    with pytest.raises(ValueError, match=r"model_output: expected the sample's shape, .*, got \(3, 1, 4, 5\)"):
        sample(lambda x, t: x[:, :1], scheduler, noise, 2)
