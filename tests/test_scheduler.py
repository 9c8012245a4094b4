"""The scheduler against closed forms in float64 and, element by element, against diffusers."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import warnings
from itertools import pairwise, product

import diffusers
import pytest
import torch

from lightendiff.diffusion.scheduler import DDIMScheduler, DDIMSchedulerOutput, gaussian_noise

BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
PREDICTION_TYPES = ("epsilon", "sample", "v_prediction")
SPACINGS = ("leading", "linspace", "trailing")
LIMITS = (
    {"clip_sample": False},
    {"clip_sample": True, "clip_sample_range": 0.8},
    {"thresholding": True, "sample_max_value": 2.0, "dynamic_thresholding_ratio": 0.95},
)
SHAPE = (2, 3, 3, 4)


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape or SHAPE, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def true_output(scheduler: DDIMScheduler, x0: torch.Tensor, eps: torch.Tensor, t: int) -> torch.Tensor:
    """What a network that knows x0 and eps returns."""
    alpha = scheduler.alphas_cumprod[t]
    v = alpha**0.5 * eps - (1 - alpha) ** 0.5 * x0
    return {"epsilon": eps, "sample": x0, "v_prediction": v}[scheduler.config.prediction_type]


def assert_close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-9) -> None:
    """Every element within `tolerance`, of itself where it is larger than 1."""
    error = ((actual - expected).abs() / expected.abs().clamp(min=1)).max().item()
    assert error <= tolerance, f"off by {error:.2e}"


# --- parity with diffusers -------------------------------------------------------------------------------------------


def self_consistent_steps(scheduler: DDIMScheduler, timesteps: list[int], eta: float) -> list[bool]:
    """For every step of a run, whether diffusers' result is one that its own definitions allow.

    It isn't in three cases, which the closed-form tests below cover instead:
    1. t − T//N isn't the next entry of the list, or not below 0 after the last: linspace, and trailing where N ∤ T.
    2. ε-prediction at ᾱ_t = 0 (zero terminal SNR, trailing, first step): diffusers divides by 0.
    3. η = 1 at ᾱ_t ≈ 0 (zero terminal SNR or the cosine schedule, trailing, first step): 1−ᾱ_{t−n}−σ² is 0 up to
       ᾱ_t; diffusers takes the root of what float32 rounding makes of that, up to 3e-4, or NaN where it is negative.
    """
    stride = len(scheduler) // len(timesteps)
    alphas = scheduler.alphas_cumprod[timesteps].tolist()
    follows = [max(t - stride, -1) == following for t, following in pairwise([*timesteps, -1])]
    divides = [scheduler.config.prediction_type != "epsilon" or alpha > 0 for alpha in alphas]
    rounds = [eta < 1 or alpha > 1e-6 for alpha in alphas]
    return [all(reasons) for reasons in zip(follows, divides, rounds, strict=True)]


def plausible_inputs(scheduler: DDIMScheduler, timesteps: list[int]) -> tuple[torch.Tensor, ...]:
    """For every step of a run a noised image, what an imperfect network says to it, and noise.

    The network is off by noise of its target's size. For x₀-prediction that shrinks with √(1−ᾱ_t), as the step divides
    by it, and near t = 0 diffusers' float32 tables hold 1−ᾱ_t to 0.1% only.
    """
    x0, eps, off, z = normal(len(timesteps), 4, len(timesteps), *SHAPE)
    t = torch.tensor(timesteps)
    x = scheduler.add_noise(x0, eps, t)
    if scheduler.config.prediction_type == "sample":
        return x, x0 + scheduler.add_noise(torch.zeros_like(off), off, t), z
    return x, off + (eps if scheduler.config.prediction_type == "epsilon" else scheduler.get_velocity(x0, eps, t)), z


@pytest.mark.parametrize("rescale_betas_zero_snr", [False, True])
@pytest.mark.parametrize("timestep_spacing", ["leading", "trailing"])
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("beta_schedule", BETA_SCHEDULES)
@torch.inference_mode()
def test_parity_with_diffusers(beta_schedule, prediction_type, timestep_spacing, rescale_betas_zero_snr):
    """Each element of each step of the whole grid within 1e-4, wherever diffusers is self-consistent."""
    skipped = 0
    for limit in LIMITS:
        reference: Reference = {}
        for set_alpha_to_one, steps_offset in product((True, False), (0, 1)):
            settings = {
                "beta_schedule": beta_schedule,
                "prediction_type": prediction_type,
                "timestep_spacing": timestep_spacing,
                "rescale_betas_zero_snr": rescale_betas_zero_snr,
                "set_alpha_to_one": set_alpha_to_one,
                "steps_offset": steps_offset,
                **limit,
            }
            ours, theirs = DDIMScheduler(**settings), diffusers.DDIMScheduler(**settings)
            skipped += sum(compare_runs(ours, theirs, n, reference) for n in (1, 4, 7, 20, 50))
    assert skipped == 12 * expected_skips(beta_schedule, prediction_type, timestep_spacing, rescale_betas_zero_snr)


Reference = dict[tuple[int, int, int, float, float], tuple[torch.Tensor, ...]]


def compare_runs(ours: DDIMScheduler, theirs: diffusers.DDIMScheduler, n: int, reference: Reference) -> int:
    """Compare all steps of the runs of n steps; how many couldn't be compared.

    `reference` keeps what diffusers says of a step for settings that say the same of it: they may differ in their
    offset, if timesteps are equal nevertheless, and in the final ᾱ, which counts in the last step only.
    """
    ours.set_timesteps(n)
    theirs.set_timesteps(n)
    timesteps = ours.timesteps.tolist()
    assert timesteps == theirs.timesteps.tolist()
    x, output, z = (stack.unbind() for stack in plausible_inputs(ours, timesteps))
    actual: list[torch.Tensor] = []
    expected: list[torch.Tensor] = []
    skipped = 0
    for eta in (0.0, 0.4, 1.0):
        for i, comparable in enumerate(self_consistent_steps(ours, timesteps, eta)):
            if not comparable:
                skipped += 1
                continue
            t = timesteps[i]
            actual += ours.step(output[i], t, x[i], eta, False, None, z[i])
            key = (n, i, t, eta, float(theirs.final_alpha_cumprod) if i == n - 1 else -1.0)
            if key not in reference:
                reference[key] = theirs.step(output[i], t, x[i], eta, False, None, z[i], False)
            expected += reference[key]
    if expected:
        assert_close(torch.stack(actual), torch.stack(expected), 1e-4)
    return skipped


def expected_skips(beta_schedule: str, prediction_type: str, timestep_spacing: str, zero_snr: bool) -> int:
    """How many of the 3·(1+4+7+20+50) steps of one configuration can't be compared, by the reasons given above."""
    if timestep_spacing == "leading":
        return 0
    one_eta = 6  # of the 7 steps of 7, which goes by 142 or 143, one happens to be right
    other_lists = 4  # each with its first step at T − 1; the list of 7 counts that already
    if prediction_type == "epsilon" and zero_snr:
        return 3 * (one_eta + other_lists)
    return 3 * one_eta + (other_lists if zero_snr or beta_schedule == "squaredcos_cap_v2" else 0)


@pytest.mark.parametrize("timestep_spacing", ["leading", "trailing"])
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@torch.inference_mode()
def test_arithmetic_equals_diffusers_on_the_same_tables(prediction_type, timestep_spacing):
    """With our float64 tables, diffusers gives our result to 1e-9 for any input. T is 700, which 7 divides."""
    for beta_schedule, limit, clipped, one, zero_snr, n in product(
        BETA_SCHEDULES, LIMITS, (False, True), (True, False), (False, True), (4, 7)
    ):
        settings = {
            "num_train_timesteps": 700,
            "beta_schedule": beta_schedule,
            "prediction_type": prediction_type,
            "timestep_spacing": timestep_spacing,
            "set_alpha_to_one": one,
            "rescale_betas_zero_snr": zero_snr,
            **limit,
        }
        ours, theirs = DDIMScheduler(**settings), diffusers.DDIMScheduler(**settings)
        theirs.alphas_cumprod, theirs.final_alpha_cumprod = ours.alphas_cumprod, ours.final_alpha_cumprod
        ours.set_timesteps(n)
        theirs.set_timesteps(n)
        x = normal(n)
        for i, (t, eta) in enumerate(zip(ours.timesteps.tolist(), (1.0, 0.0, 0.4, 1.0, 0.0, 0.4, 1.0), strict=False)):
            if not self_consistent_steps(ours, ours.timesteps.tolist(), eta)[i]:
                continue
            output, z = normal(i, 2, *SHAPE)
            arguments = {"eta": eta, "use_clipped_model_output": clipped, "variance_noise": z if eta else None}
            step = ours.step(output, t, x, **arguments)
            reference = theirs.step(output, t, x, **arguments)
            assert_close(step.prev_sample, reference.prev_sample)
            assert_close(step.pred_original_sample, reference.pred_original_sample)
            x = step.prev_sample


@pytest.mark.parametrize("rescale_betas_zero_snr", [False, True])
@pytest.mark.parametrize("beta_schedule", BETA_SCHEDULES)
def test_tables_and_noising_equal_diffusers(beta_schedule, rescale_betas_zero_snr):
    settings = {"beta_schedule": beta_schedule, "rescale_betas_zero_snr": rescale_betas_zero_snr}
    ours, theirs = DDIMScheduler(**settings), diffusers.DDIMScheduler(**settings)
    torch.testing.assert_close(ours.betas.float(), theirs.betas, rtol=1e-4, atol=5e-7)
    torch.testing.assert_close(ours.alphas_cumprod.float(), theirs.alphas_cumprod, rtol=2e-4, atol=2e-6)
    x0, eps = normal(0, 2, 5, 3, 4, 4).float()
    t = torch.tensor([0, 1, 250, 600, 999])
    torch.testing.assert_close(ours.add_noise(x0, eps, t), theirs.add_noise(x0, eps, t), rtol=0, atol=1e-4)
    torch.testing.assert_close(ours.get_velocity(x0, eps, t), theirs.get_velocity(x0, eps, t), rtol=0, atol=1e-4)


@pytest.mark.parametrize("timestep_spacing", SPACINGS)
@pytest.mark.parametrize("num_train_timesteps", [1000, 100])
def test_timestep_lists_equal_diffusers(num_train_timesteps, timestep_spacing):
    """All N. Where diffusers' trailing list has an entry too many, the timestep −1, ours ends before it."""
    settings = {"num_train_timesteps": num_train_timesteps, "timestep_spacing": timestep_spacing}
    ours, theirs = DDIMScheduler(**settings), diffusers.DDIMScheduler(**settings)
    for n in range(1, num_train_timesteps + 1):
        theirs.set_timesteps(n)
        expected = theirs.timesteps.tolist()
        assert ours.timestep_list(n) == expected[:n]
        assert expected[n:] in ([], [-1])


# --- closed forms ----------------------------------------------------------------------------------------------------


def every_list(scheduler: DDIMScheduler) -> list[list[int]]:
    """Full lists, short and odd ones among them, lists from a start timestep, and lists that no spacing gives."""
    lists = [scheduler.timestep_list(n) for n in (1, 2, 3, 4, 7, 20, 48, 61)]
    lists += [scheduler.timestep_list(n, start) for n, start in ((1, 400), (3, 400), (7, 998), (2, 5), (10, 777))]
    return [*lists, [998, 640, 17, 3], [0], [500, 499, 498], [999]]


@pytest.mark.parametrize("rescale_betas_zero_snr", [False, True])
@pytest.mark.parametrize("timestep_spacing", SPACINGS)
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("beta_schedule", BETA_SCHEDULES)
def test_true_noise_leads_along_add_noise_to_x0(
    beta_schedule, prediction_type, timestep_spacing, rescale_betas_zero_snr
):
    scheduler = DDIMScheduler(
        beta_schedule=beta_schedule,
        prediction_type=prediction_type,
        timestep_spacing=timestep_spacing,
        rescale_betas_zero_snr=rescale_betas_zero_snr,
        clip_sample=False,
    )
    x0, eps = normal(1), normal(2)
    for timesteps in every_list(scheduler):
        if prediction_type == "epsilon" and rescale_betas_zero_snr and timesteps[0] == 999:
            timesteps = timesteps[1:]
            if not timesteps:
                continue
        scheduler.timesteps = torch.tensor(timesteps)
        x = scheduler.add_noise(x0, eps, timesteps[0])
        for t, t_next in pairwise([*timesteps, None]):
            x, estimate = scheduler.step(true_output(scheduler, x0, eps, t), t, x)
            assert_close(estimate, x0)
            assert_close(x, x0 if t_next is None else scheduler.add_noise(x0, eps, t_next))


@pytest.mark.parametrize("set_alpha_to_one", [True, False])
def test_final_alpha(set_alpha_to_one):
    """After the last timestep ᾱ is 1, or ᾱ₀: then the last step ends on the noisiest image that still is "clean"."""
    scheduler = DDIMScheduler(set_alpha_to_one=set_alpha_to_one, clip_sample=False, steps_offset=1)
    scheduler.set_timesteps(20)
    x0, eps = normal(1), normal(2)
    last = int(scheduler.timesteps[-1])
    end = scheduler.step(eps, last, scheduler.add_noise(x0, eps, last)).prev_sample
    assert_close(end, x0 if set_alpha_to_one else scheduler.add_noise(x0, eps, 0))


@pytest.mark.parametrize("timestep_spacing", SPACINGS)
@pytest.mark.parametrize("prediction_type", ["sample", "v_prediction"])
def test_eta_1_is_the_posterior_of_ddpm(prediction_type, timestep_spacing):
    """q(x_s | x_t, x0) by Bayes' rule: the prior N(√ᾱ_s·x0, 1−ᾱ_s) times the likelihood N(√α·x_s, 1−α), α = ᾱ_t/ᾱ_s."""
    scheduler = DDIMScheduler(
        prediction_type=prediction_type,
        timestep_spacing=timestep_spacing,
        clip_sample=False,
        beta_schedule="scaled_linear",
    )
    scheduler.set_timesteps(7)
    x0, eps, z = normal(1), normal(2), normal(3)
    for t, s in pairwise(scheduler.timesteps.tolist()):
        alpha_t, alpha_s = scheduler.alphas_cumprod[t], scheduler.alphas_cumprod[s]
        alpha = alpha_t / alpha_s
        precision = 1 / (1 - alpha_s) + alpha / (1 - alpha)
        x = scheduler.add_noise(x0, eps, t)
        mean = (alpha_s**0.5 * x0 / (1 - alpha_s) + alpha**0.5 * x / (1 - alpha)) / precision
        output = true_output(scheduler, x0, eps, t)
        assert_close(scheduler.step(output, t, x, eta=1.0, variance_noise=z).prev_sample, mean + precision**-0.5 * z)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_every_eta_keeps_the_marginals(eta):
    """The step's noise and what it takes from ε̂ add up to the variance of add_noise at the next timestep."""
    scheduler = DDIMScheduler(prediction_type="v_prediction", clip_sample=False, rescale_betas_zero_snr=True)
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    for t, s in ((999, 400), (999, 0), (600, 599), (1, 0), (20, -1)):
        # x0 = 0 and ε = 1: then v = √ᾱ and x = √(1−ᾱ)
        x, v = scheduler.add_noise(zero, one, t), scheduler.get_velocity(zero, one, t)
        direction = scheduler.step(v, t, x, eta=eta, variance_noise=zero, prev_timestep=s).prev_sample
        noise = scheduler.step(v, t, x, eta=eta, variance_noise=one, prev_timestep=s).prev_sample - direction
        beta = 1 - (scheduler.alphas_cumprod[s] if s >= 0 else 1.0)
        assert_close(direction**2 + noise**2, beta * one)
        if t == 999:
            assert_close(noise, eta * beta**0.5 * one)


def test_rounding_at_zero_snr():
    """From ᾱ_t = 0 with η = 1 nothing is left of ε̂: its weight, the root of 1−ᾱ_{t−n}−σ², is 0, whatever is rounded."""
    scheduler = DDIMScheduler(prediction_type="sample", clip_sample=False, rescale_betas_zero_snr=True)
    x0, x, z = normal(1, 3, 1, 2)
    for s in range(999):
        for t in (999, torch.tensor([999])):
            prev_sample = scheduler.step(x0, t, x, eta=1.0, variance_noise=z, prev_timestep=s).prev_sample
            assert_close(prev_sample, scheduler.add_noise(x0, z, s), 1e-7)


def test_zero_terminal_snr():
    plain, zero = DDIMScheduler(), DDIMScheduler(rescale_betas_zero_snr=True)
    assert zero.alphas_cumprod.dtype == torch.float64
    assert zero.alphas_cumprod[-1] == 0
    assert zero.betas[-1] == 1
    assert_close(zero.alphas_cumprod[0], plain.alphas_cumprod[0], 1e-15)
    assert bool((zero.alphas_cumprod.diff() < 0).all())
    eps = normal(2)
    assert torch.equal(zero.add_noise(normal(1), eps, 999), eps)


def test_tables_in_float64():
    linear = DDIMScheduler(num_train_timesteps=3, beta_start=0.1, beta_end=0.3)
    torch.testing.assert_close(linear.alphas_cumprod, torch.tensor([0.9, 0.72, 0.504], dtype=torch.float64))
    scaled = DDIMScheduler(num_train_timesteps=3, beta_start=0.01, beta_end=0.09, beta_schedule="scaled_linear")
    torch.testing.assert_close(scaled.betas, torch.tensor([0.01, 0.04, 0.09], dtype=torch.float64))
    trained = DDIMScheduler(num_train_timesteps=2, trained_betas=[0.5, 0.75])
    torch.testing.assert_close(trained.alphas_cumprod, torch.tensor([0.5, 0.125], dtype=torch.float64))
    cosine = DDIMScheduler(beta_schedule="squaredcos_cap_v2")
    # ᾱ_t = f(t+1)/f(0) as long as β isn't capped
    f = torch.cos((torch.tensor([500, 0], dtype=torch.float64) / 1000 + 0.008) / 1.008 * torch.pi / 2) ** 2
    torch.testing.assert_close(cosine.alphas_cumprod[499], f[0] / f[1], rtol=1e-12, atol=0)
    assert_close(cosine.betas[-1], torch.tensor(0.999, dtype=torch.float64))


def test_dynamic_thresholding_by_hand():
    """Per image: the quantile's rank 0.75·(5−1) = 3 is the second largest magnitude; then at least 1, at most 2.5."""
    scheduler = DDIMScheduler(
        prediction_type="sample", thresholding=True, dynamic_thresholding_ratio=0.75, sample_max_value=2.5
    )
    x0 = torch.tensor([[0.0, 0.1, -0.5, 0.6, 0.9], [0.0, 1.0, -2.0, 0.5, 8.0], [9.0, -9.0, 5.0, 1.0, 0.0]])
    expected = torch.tensor([[0.0, 0.1, -0.5, 0.6, 0.9], [0.0, 0.5, -1.0, 0.25, 1.0], [1.0, -1.0, 1.0, 0.4, 0.0]])
    estimate = scheduler.step(x0, 500, torch.zeros(3, 5), prev_timestep=100).pred_original_sample
    torch.testing.assert_close(estimate, expected)
    # the maximum has the last word, even below 1
    low = DDIMScheduler.from_config(scheduler.config, sample_max_value=0.5)
    estimate = low.step(x0[:1], 500, torch.zeros(1, 5), prev_timestep=100).pred_original_sample
    torch.testing.assert_close(estimate, torch.tensor([[0.0, 0.2, -1.0, 1.0, 1.0]]))


def test_use_clipped_model_output_makes_x0_and_eps_explain_x():
    scheduler = DDIMScheduler(clip_sample_range=0.5)
    x, eps = normal(1), normal(2)
    prev, x0 = scheduler.step(eps, 300, x, use_clipped_model_output=True, prev_timestep=200)
    assert float(x0.abs().max()) == 0.5
    noise = (x - scheduler.alphas_cumprod[300] ** 0.5 * x0) / (1 - scheduler.alphas_cumprod[300]) ** 0.5
    assert_close(prev, scheduler.add_noise(x0, noise, 200))


# --- timesteps -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps_offset", [0, 1])
@pytest.mark.parametrize("timestep_spacing", SPACINGS)
def test_start_timestep(timestep_spacing, steps_offset):
    scheduler = DDIMScheduler(timestep_spacing=timestep_spacing, steps_offset=steps_offset)
    for n in (1, 2, 4, 7, 50, 999):
        full = scheduler.timestep_list(n)
        assert scheduler.timestep_list(n, full[0]) == full
        for start in (999, 500, 123):
            if n <= start:
                timesteps = scheduler.timestep_list(n, start)
                assert timesteps[0] == start
                assert len(timesteps) == n
                assert all(a > b for a, b in pairwise([*timesteps, -1]))
                gaps = {a - b for a, b in pairwise(timesteps)}
                assert not gaps or max(gaps) - min(gaps) <= 1
    expected = {"trailing": [399, 299, 199, 99], "linspace": [399, 266, 133, 0]}
    expected["leading"] = expected["linspace"] if steps_offset == 0 else [399, 266, 134, 1]
    assert scheduler.timestep_list(4, 399) == expected[timestep_spacing]


def test_next_entry_however_it_is_asked_for():
    """An int, a 0-d tensor, one per image, or given; a t that isn't in the list leads to the next entry below it."""
    scheduler = DDIMScheduler(timestep_spacing="linspace", clip_sample=False)
    scheduler.set_timesteps(7)
    output, x = normal(1), normal(2)
    for t, t_next in pairwise([*scheduler.timesteps.tolist(), -1]):
        expected = scheduler.step(output, t, x, prev_timestep=t_next).prev_sample
        for asked in (t, torch.tensor(t), torch.tensor([t]), torch.tensor([t, t], dtype=torch.int32)):
            assert_close(scheduler.step(output, asked, x).prev_sample, expected, 1e-15)
    between = scheduler.step(output, 510, x).prev_sample
    assert torch.equal(between, scheduler.step(output, 510, x, prev_timestep=500).prev_sample)


def test_one_timestep_per_image():
    scheduler = DDIMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")
    scheduler.set_timesteps(6)
    output, x, z = normal(1), normal(2), normal(3)
    t = torch.tensor([999, int(scheduler.timesteps[3])])
    together = scheduler.step(output, t, x, eta=0.7, variance_noise=z)
    noised, velocity = scheduler.add_noise(x, z, t), scheduler.get_velocity(x, z, t)
    for i in range(2):
        one, alone = slice(i, i + 1), int(t[i])
        step = scheduler.step(output[one], alone, x[one], eta=0.7, variance_noise=z[one])
        assert_close(together.prev_sample[one], step.prev_sample, 1e-14)
        assert_close(together.pred_original_sample[one], step.pred_original_sample, 1e-14)
        assert_close(noised[one], scheduler.add_noise(x[one], z[one], alone), 1e-14)
        assert_close(velocity[one], scheduler.get_velocity(x[one], z[one], alone), 1e-14)


def test_set_timesteps_and_assigned_lists():
    scheduler = DDIMScheduler()
    assert scheduler.timesteps.tolist() == list(range(999, -1, -1))
    assert scheduler.num_inference_steps is None
    scheduler.set_timesteps(4, device="cpu")
    assert scheduler.timesteps.tolist() == [750, 500, 250, 0]
    assert scheduler.timesteps.dtype == torch.int64
    assert scheduler.num_inference_steps == 4
    scheduler.timesteps = torch.tensor([900, 30])
    assert scheduler.num_inference_steps == 2
    assert len(scheduler) == 1000
    x = normal(1)
    assert scheduler.scale_model_input(x, 30) is x
    assert scheduler.init_noise_sigma == 1


# --- devices, precision, gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_no_host_synchronisation(prediction_type, eta):
    """A meta tensor has no values: whatever asked one for a value, as a synchronisation does, would raise."""
    scheduler = DDIMScheduler(prediction_type=prediction_type, thresholding=True)
    scheduler.set_timesteps(5)
    x = torch.empty(2, 3, 4, 4, device="meta")
    for t in (400, torch.tensor(400), torch.tensor(400, device="meta"), torch.tensor([400, 200], device="meta")):
        prev_sample, x0 = scheduler.step(x, t, x, eta=eta)
        assert prev_sample.shape == x0.shape == x.shape
        assert prev_sample.device == x.device
        assert scheduler.add_noise(x, x, t).shape == x.shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("limit", LIMITS)
def test_half_precision_keeps_its_dtype_and_is_calculated_in_float32(dtype, limit):
    scheduler = DDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing", **limit)
    scheduler.set_timesteps(7)
    x, output, z = (normal(i).to(dtype) for i in range(3))
    for t in (142, torch.tensor([142, 999])):
        results = scheduler.step(output, t, x, eta=0.5, variance_noise=z)
        exact = scheduler.step(output.double(), t, x.double(), eta=0.5, variance_noise=z.double())
        for result, reference in zip(results, exact, strict=True):
            assert result.dtype == dtype
            # one rounding, at the end
            torch.testing.assert_close(result.double(), reference, rtol=torch.finfo(dtype).eps, atol=1e-6)
        noised, velocity = scheduler.add_noise(x, z, t), scheduler.get_velocity(x, z, t)
        assert noised.dtype == velocity.dtype == dtype
        torch.testing.assert_close(
            noised.double(), scheduler.add_noise(x.double(), z.double(), t), rtol=torch.finfo(dtype).eps, atol=1e-6
        )
    # a network in half precision, a sample in single: the sample's wins
    assert scheduler.step(output, 142, x.float()).prev_sample.dtype == torch.float32


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_gradients(prediction_type, limit):
    scheduler = DDIMScheduler(prediction_type=prediction_type, **limit)
    output, x, z = (normal(i, 2, 1, 2, 3).requires_grad_() for i in range(3))

    def step(output, x, z, t):
        return tuple(scheduler.step(output, t, x, eta=0.5, variance_noise=z, prev_timestep=100))

    assert torch.autograd.gradcheck(lambda *tensors: step(*tensors, 400), (output, x, z))
    assert torch.autograd.gradcheck(lambda *tensors: step(*tensors, torch.tensor([400, 200])), (output, x, z))
    assert torch.autograd.gradcheck(lambda a, b: scheduler.add_noise(a, b, torch.tensor([400, 200])), (output, x))


def test_training_after_inference_mode():
    with torch.inference_mode():
        scheduler = DDIMScheduler()
        scheduler.set_timesteps(5)
        scheduler.step(normal(1), torch.tensor([400]), normal(2))
    output = normal(1).requires_grad_()
    scheduler.step(output, torch.tensor([400, 200]), normal(2)).prev_sample.sum().backward()
    assert output.grad is not None
    assert bool(output.grad.isfinite().all())


# --- generators ------------------------------------------------------------------------------------------------------


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_an_images_noise_does_not_depend_on_its_batch():
    scheduler = DDIMScheduler()
    output, x = normal(1, 3, 3, 4, 4), normal(2, 3, 3, 4, 4)
    batch = scheduler.step(output, 500, x, eta=1.0, generator=generators(7, 8, 9), prev_timestep=250).prev_sample
    for i, seed in enumerate((7, 8, 9)):
        one = slice(i, i + 1)
        for generator in (generators(seed), generators(seed)[0]):
            alone = scheduler.step(output[one], 500, x[one], eta=1.0, generator=generator, prev_timestep=250)
            assert torch.equal(alone.prev_sample, batch[one])


def test_one_generator_draws_as_diffusers_does():
    ours, theirs = DDIMScheduler(), diffusers.DDIMScheduler()
    ours.set_timesteps(4)
    theirs.set_timesteps(4)
    output, x = normal(1).float(), normal(2).float()
    (a,), (b,) = generators(5), generators(5)
    step = ours.step(output, 500, x, eta=1.0, generator=a).prev_sample
    torch.testing.assert_close(step, theirs.step(output, 500, x, eta=1.0, generator=b).prev_sample)
    assert torch.equal(a.get_state(), b.get_state())
    z = gaussian_noise(x.shape, generators(5)[0], "cpu", x.dtype)
    assert torch.equal(ours.step(output, 500, x, eta=1.0, variance_noise=z).prev_sample, step)


def test_without_a_generator_noise_comes_from_torch():
    scheduler = DDIMScheduler()
    torch.manual_seed(0)
    first = scheduler.step(normal(1), 500, normal(2), eta=1.0, prev_timestep=0).prev_sample
    torch.manual_seed(0)
    assert torch.equal(scheduler.step(normal(1), 500, normal(2), eta=1.0, prev_timestep=0).prev_sample, first)
    assert not torch.equal(scheduler.step(normal(1), 500, normal(2), eta=1.0, prev_timestep=0).prev_sample, first)


# --- configuration ---------------------------------------------------------------------------------------------------

UNUSUAL = {
    "num_train_timesteps": 50,
    "beta_start": 0.001,
    "beta_end": 0.05,
    "beta_schedule": "scaled_linear",
    "trained_betas": [0.01 * (i + 1) for i in range(50)],
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "v_prediction",
    "thresholding": True,
    "dynamic_thresholding_ratio": 0.9,
    "clip_sample_range": 2.0,
    "sample_max_value": 3.0,
    "timestep_spacing": "trailing",
    "rescale_betas_zero_snr": True,
}


def public(config) -> dict:
    return {key: value for key, value in config.items() if not key.startswith("_")}


def test_arguments_and_defaults_are_diffusers():
    def arguments(function):
        return [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]

    assert arguments(DDIMScheduler.__init__) == arguments(diffusers.DDIMScheduler.__init__)
    assert arguments(DDIMScheduler.step)[:-1] == arguments(diffusers.DDIMScheduler.step)
    assert set(UNUSUAL) == set(DDIMScheduler().config)
    assert all(UNUSUAL[key] != value for key, value in DDIMScheduler().config.items())


@pytest.mark.parametrize("settings", [{}, UNUSUAL])
def test_round_trip_through_files_with_diffusers(settings, tmp_path):
    ours, theirs = DDIMScheduler(**settings), diffusers.DDIMScheduler(**settings)
    ours.save_config(tmp_path / "new" / "ours")
    theirs.save_config(tmp_path / "theirs")
    assert DDIMScheduler.from_pretrained(tmp_path / "new" / "ours").config == ours.config
    assert DDIMScheduler.from_pretrained(tmp_path / "theirs").config == ours.config
    for config in (diffusers.DDIMScheduler.from_pretrained(tmp_path / "new" / "ours").config, theirs.config):
        assert public(config) == ours.config
    text = (tmp_path / "new" / "ours" / "scheduler_config.json").read_text()
    reference = json.loads((tmp_path / "theirs" / "scheduler_config.json").read_text())
    reference.pop("_diffusers_version")
    assert text == json.dumps(reference, indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize("settings", [{}, UNUSUAL])
def test_from_config_both_ways(settings):
    theirs = diffusers.DDIMScheduler(**settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = DDIMScheduler.from_config(theirs.config)
    assert ours.config == public(theirs.config)
    assert public(diffusers.DDIMScheduler.from_config(ours.config).config) == ours.config
    assert DDIMScheduler.from_config(ours.config, prediction_type="sample").config == {
        **ours.config,
        "prediction_type": "sample",
    }


def test_from_config_of_another_scheduler_takes_what_was_chosen_there():
    """As diffusers does: linspace is what the Euler scheduler does by default and nobody's wish for this one."""
    euler = diffusers.EulerDiscreteScheduler(beta_end=0.012, use_karras_sigmas=True)
    with pytest.warns(UserWarning, match="use_karras_sigmas"):
        ours = DDIMScheduler.from_config(euler.config)
    theirs = diffusers.DDIMScheduler.from_config(euler.config)
    assert ours.config == {name: theirs.config[name] for name in ours.config}
    assert ours.config.beta_end == 0.012
    assert ours.config.timestep_spacing == "leading"


def test_config_is_read_only_and_travels():
    scheduler = DDIMScheduler(beta_end=0.03)
    config = scheduler.config
    assert config.beta_end == config["beta_end"] == 0.03
    for change in (
        lambda: setattr(config, "beta_end", 1),
        lambda: config.update(beta_end=1),
        lambda: config.__setitem__("beta_end", 1),
        lambda: config.pop("beta_end"),
    ):
        with pytest.raises(TypeError, match="read-only"):
            change()
    with pytest.raises(AttributeError, match="no 'beta_and'"):
        _ = config.beta_and
    scheduler.set_timesteps(5)
    for other in (copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        assert other.config == config
        assert type(other.config) is type(config)
        assert torch.equal(other.timesteps, scheduler.timesteps)
        assert torch.equal(other.alphas_cumprod, scheduler.alphas_cumprod)


def test_plain_tuple():
    x = normal(1)
    result = DDIMScheduler().step(x, 5, x, prev_timestep=0)
    assert isinstance(result, DDIMSchedulerOutput)
    plain = DDIMScheduler().step(x, 5, x, prev_timestep=0, return_dict=False)
    assert type(plain) is tuple
    assert torch.equal(plain[0], result.prev_sample)
    assert torch.equal(plain[1], result.pred_original_sample)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"beta_schedule": "cosine"}, ValueError, r"beta_schedule: expected one of \('linear',.*got 'cosine'"),
        ({"prediction_type": "eps"}, ValueError, r"prediction_type: expected one of \('epsilon',.*got 'eps'"),
        ({"timestep_spacing": "even"}, ValueError, r"timestep_spacing: expected one of \('leading',.*got 'even'"),
        ({"num_train_timesteps": 0}, ValueError, "num_train_timesteps: expected at least 1, got 0"),
        ({"num_train_timesteps": 10.5}, TypeError, "num_train_timesteps: expected an integer, got 10.5"),
        ({"steps_offset": -1}, ValueError, "steps_offset: expected at least 0, got -1"),
        ({"beta_start": 0.0}, ValueError, "beta_start: expected between 0 and 1.0, got 0.0"),
        ({"beta_end": 2}, ValueError, "beta_end: expected between 0 and 1.0, got 2"),
        ({"beta_end": "2"}, TypeError, "beta_end: expected a number, got '2'"),
        ({"clip_sample": "no"}, TypeError, "clip_sample: expected True or False, got 'no'"),
        ({"clip_sample_range": float("nan")}, ValueError, "clip_sample_range: .* got nan"),
        ({"dynamic_thresholding_ratio": 1.1}, ValueError, "dynamic_thresholding_ratio: expected from 0 to 1, got 1.1"),
        ({"trained_betas": [0.1, 0.2]}, ValueError, r"trained_betas: expected 1000.*\(2,\)"),
        ({"num_train_timesteps": 2, "trained_betas": [0.1, 1.2]}, ValueError, r"between 0 and 1, got 0.1 … 1.2"),
        ({"num_train_timesteps": 3, "trained_betas": [0.1, 1.0, 0.2]}, ValueError, "last timestep only, got 0 from 1"),
        ({"num_train_timesteps": 1, "rescale_betas_zero_snr": True}, ValueError, "at least 2, got 1"),
        ({"beta_shedule": "linear"}, TypeError, "beta_shedule"),
    ],
)
def test_errors_of_the_constructor(settings, error, message):
    with pytest.raises(error, match=message):
        DDIMScheduler(**settings)
    with pytest.raises(error, match=message):
        DDIMScheduler.from_config({}, **settings)


@pytest.mark.parametrize(
    ("settings", "n", "start", "message"),
    [
        ({}, 0, None, "num_inference_steps: expected from 1 to 1000, got 0"),
        ({}, 1001, None, "num_inference_steps: expected from 1 to 1000, got 1001"),
        ({}, 12, 10, "num_inference_steps: expected from 1 to 11, got 12"),
        ({}, 1, 1000, "start_timestep: expected from 0 to 999, got 1000"),
        ({"steps_offset": 3}, 1, 2, "start_timestep: expected from 3 to 999, got 2"),
        ({"steps_offset": 60}, 50, None, "steps_offset 60 moves the first of 50 timesteps to 1040, past the last, 999"),
    ],
)
def test_errors_of_timestep_lists(settings, n, start, message):
    with pytest.raises(ValueError, match=message):
        DDIMScheduler(**settings).timestep_list(n, start)
    with pytest.raises(TypeError, match=r"num_inference_steps: expected an integer, got 4\.0"):
        DDIMScheduler().timestep_list(4.0)


@pytest.mark.parametrize("timesteps", [[], [3, 3], [1, 2], [1000], [4, -1]])
def test_errors_of_assigned_lists(timesteps):
    with pytest.raises(ValueError, match="timesteps must descend strictly within 999"):
        DDIMScheduler().timesteps = torch.tensor(timesteps)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"eta": 1.5}, ValueError, "eta: expected from 0 to 1, got 1.5"),
        ({"timestep": 1000}, ValueError, "timestep: expected from 0 to 999, got 1000"),
        ({"timestep": -1}, ValueError, "timestep: expected from 0 to 999, got -1"),
        ({"timestep": torch.tensor([3, 1000])}, ValueError, r"timestep: expected from 0 to 999, got \[3, 1000\]"),
        (
            {"timestep": torch.tensor([3, 4, 5])},
            ValueError,
            r"timestep: expected one or one per image, 2, got shape \(3,\)",
        ),
        ({"timestep": 2.5}, TypeError, "timestep: expected an integer, got 2.5"),
        ({"timestep": torch.tensor([2.5])}, TypeError, "timestep: expected integers, got torch.float32"),
        ({"prev_timestep": -2}, ValueError, "prev_timestep: expected from -1 to 999, got -2"),
        ({"prev_timestep": 500}, ValueError, "prev_timestep: expected one below timestep 500, got 500"),
        ({"prev_timestep": torch.tensor([4, 500])}, ValueError, "prev_timestep: expected one below timestep"),
        ({"prev_timestep": None}, ValueError, "call set_timesteps"),
        ({"model_output": torch.zeros(2, 6, 3, 4)}, ValueError, r"model_output: .*\(2, 3, 3, 4\), got \(2, 6, 3, 4\)"),
        (
            {"variance_noise": torch.zeros(1, 3, 3, 4)},
            ValueError,
            r"variance_noise: .*\(2, 3, 3, 4\), got \(1, 3, 3, 4\)",
        ),
        ({"generator": generators(1)}, ValueError, "generator: expected one or a list of 2, one per image, got 1"),
        ({"generator": generators(1)[0], "variance_noise": torch.zeros(SHAPE)}, ValueError, "exclude each other"),
    ],
)
def test_errors_of_step(change, error, message):
    x = torch.zeros(SHAPE)
    arguments = {"model_output": x, "timestep": 500, "sample": x, "eta": 1.0, "prev_timestep": 0}
    with pytest.raises(error, match=message):
        DDIMScheduler().step(**(arguments | change))


def test_errors_of_noising():
    scheduler, x = DDIMScheduler(), torch.zeros(SHAPE)
    for noising in (scheduler.add_noise, scheduler.get_velocity):
        with pytest.raises(ValueError, match=r"noise: expected the sample's shape, \(2, 3, 3, 4\), got \(1, 3, 3, 4\)"):
            noising(x, x[:1], 5)
        with pytest.raises(ValueError, match=r"timesteps: expected from 0 to 999, got \[-1, 4\]"):
            noising(x, x, torch.tensor([-1, 4]))


def test_epsilon_at_zero_snr_is_an_error():
    scheduler = DDIMScheduler(rescale_betas_zero_snr=True, timestep_spacing="trailing")
    scheduler.set_timesteps(4)
    x = normal(1)
    for t in (999, scheduler.timesteps[0], torch.tensor([499, 999])):
        with pytest.raises(ValueError, match=r"prediction_type 'epsilon' .* timestep 999, where ᾱ = 0"):
            scheduler.step(x, t, x)
    assert bool(scheduler.step(x, 749, x).prev_sample.isfinite().all())


def test_errors_of_generators_and_configs():
    class Elsewhere:  # stands in for a generator of a device that may not be here
        device = torch.device("cuda")

    with pytest.raises(ValueError, match=r"generator: expected one on the CPU or .* device, cpu, got one on cuda"):
        gaussian_noise((1, 2), Elsewhere(), "cpu", torch.float32)
    with pytest.raises(TypeError, match="config: expected a mapping, like a scheduler's config, got str"):
        DDIMScheduler.from_config("folder")
