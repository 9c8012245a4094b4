from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from lightendiff.training.optimizer import OTHERS, RMS, Muon, orthogonalised, split_parameters


@pytest.mark.parametrize("shape", [(8, 8), (6, 40), (40, 6), (1, 5)])
def test_orthogonalised_keeps_directions_and_evens_out_their_sizes(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    u, _, vh = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    sizes = torch.linspace(0.1, 1.0, min(shape))
    result = orthogonalised(u * sizes @ vh)
    assert result.shape == shape
    core = u.T @ result @ vh.T  # diagonal where the directions were kept
    assert ((core.diagonal() > 0.6) & (core.diagonal() < 1.3)).all()
    assert (core - core.diagonal().diag()).abs().max() < 0.05


def test_first_step_by_hand() -> None:
    kernel, bias = torch.randn(4, 3, 3, 3).requires_grad_(), torch.randn(4).requires_grad_()
    before = kernel.detach().clone(), bias.detach().clone()
    kernel.grad, bias.grad = torch.randn_like(kernel), torch.randn_like(bias)
    Muon([kernel], [bias], lr=0.01, weight_decay=0.1).step()
    # momentum is 0.05·g, with the look-ahead 0.05·g + 0.95·0.05·g, whose size doesn't matter
    update = orthogonalised(kernel.grad.flatten(1)) * RMS * 27**0.5
    expected = before[0] * (1 - 0.01 * 0.1) - 0.01 * update.view_as(kernel)
    torch.testing.assert_close(kernel.detach(), expected, atol=1e-3, rtol=0)  # bfloat16 rounds
    # Adam's first step has the gradient's sign and the learning rate's size
    expected = before[1] - OTHERS * 0.01 * bias.grad.sign()  # biases don't decay
    torch.testing.assert_close(bias.detach(), expected, atol=1e-5, rtol=0)


def test_the_rest_goes_as_with_adamw() -> None:
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(5, 2)) for _ in range(2))
    options = {"betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1}
    one = Muon([], [ours], lr=0.01 / OTHERS, **options)  # type: ignore[arg-type]
    other = torch.optim.AdamW([theirs], lr=0.01, **options)  # type: ignore[arg-type]
    for _ in range(5):
        ours.grad = theirs.grad = torch.randn(5, 2)
        one.step()
        other.step()
    torch.testing.assert_close(ours, theirs)


def test_an_ill_conditioned_problem_is_solved_and_a_saved_state_goes_on_the_same() -> None:
    torch.manual_seed(0)
    scales = 10.0 ** torch.linspace(-2, 0, 12)
    inputs, truth = torch.randn(256, 12) * scales, torch.randn(6, 12)
    layer = torch.nn.Linear(12, 6)
    optimizer = Muon(*split_parameters(layer, ()), lr=0.05)

    def step(layer: torch.nn.Linear, optimizer: Muon) -> float:
        loss = ((layer(inputs) - inputs @ truth.T) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    losses = [step(layer, optimizer) for _ in range(60)]
    assert losses[-1] < 0.25 * losses[0]
    copy = torch.nn.Linear(12, 6)
    copy.load_state_dict(layer.state_dict())
    resumed = Muon(*split_parameters(copy, ()), lr=0.05)
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    assert [step(layer, optimizer) for _ in range(3)] == [step(copy, resumed) for _ in range(3)]


def test_parameters_are_split() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.GroupNorm(2, 4), torch.nn.Conv2d(4, 4, 3))
    net[2].bias.requires_grad_(False)
    hidden, others = split_parameters(net, ["0.weight"])
    assert [tuple(p.shape) for p in hidden] == [(4, 4, 3, 3)]
    assert [tuple(p.shape) for p in others] == [(4, 3, 3, 3), (4,), (4,), (4,)]
    with pytest.raises(ValueError, match=r"apart: expected names of parameters, got 0.wait, 3.weight"):
        split_parameters(net, ["3.weight", "0.weight", "0.wait"])
    with pytest.raises(ValueError, match=r"hidden: expected weights of at least two dimensions, got \(4,\)"):
        Muon([net[0].bias], [], lr=0.1)
