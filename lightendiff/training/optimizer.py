"""Muon for convolutions: momentum whose every matrix is orthogonalised, so that all directions are learned alike.

Source: Keller Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; the step's size follows
Liu et al., "Muon is scalable for LLM training", 2025. torch.optim.Muon takes matrices only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..runtime.devices import has_native_bfloat16

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of the quintic iteration: steep at 0, near 1 for all singular values
OTHERS = 0.3  # share of Muon's learning rate that the rest gets
RMS = 0.2  # root mean square of an update at learning rate 1, as AdamW's usually has


class Muon(torch.optim.Optimizer):
    """Muon for hidden convolutions and linear layers, AdamW for everything else.

    A kernel (out, in, k, k) counts as a matrix (out, in·k·k). Gradients must be dense.

    Args:
        hidden: weights of at least two dimensions.
        others: biases, normalisation, first and last layers.
        lr: learning rate of Muon, scaled to what AdamW would take; that of AdamW is `OTHERS` times it.
        momentum: of Muon, with Nesterov's look-ahead.
        betas, eps: of AdamW.
        weight_decay: decoupled, of both, but for biases and normalisation's gains.
    """

    def __init__(
        self,
        hidden: Iterable[Tensor],
        others: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        groups: list[dict[str, Any]] = [
            {"params": list(hidden), "lr": lr, "matrices": True},
            {"params": list(others), "lr": OTHERS * lr, "matrices": False},
        ]
        for weight in groups[0]["params"]:
            if weight.ndim < 2:
                raise ValueError(f"hidden: expected weights of at least two dimensions, got {tuple(weight.shape)}")
        defaults = {"lr": lr, "momentum": momentum, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__([group for group in groups if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = _muon if group["matrices"] else _adam
            for p in group["params"]:
                if p.grad is not None:
                    if p.ndim > 1:
                        p.mul_(1.0 - group["lr"] * group["weight_decay"])
                    p.add_(update(p.grad, self.state[p], group), alpha=-group["lr"])
        return loss


def split_parameters(module: nn.Module, apart: Iterable[str]) -> tuple[list[Tensor], list[Tensor]]:
    """Trainable parameters of `module` for `Muon`: hidden ones, and the others with the weights named in `apart`.

    Raises:
        ValueError: a name in `apart` is none of `module`'s parameters.
    """
    apart, everything = set(apart), dict(module.named_parameters())
    if unknown := sorted(apart - everything.keys()):
        raise ValueError(f"apart: expected names of parameters, got {', '.join(unknown)}")
    named: dict[str, Tensor] = {name: p for name, p in everything.items() if p.requires_grad}
    hidden = [p for name, p in named.items() if p.ndim > 1 and name not in apart]
    return hidden, [p for name, p in named.items() if p.ndim <= 1 or name in apart]


def orthogonalised(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Near U·Vᵀ of matrix = U·S·Vᵀ, float32 (m, n), by Newton and Schulz's iteration in bfloat16 where
    the device computes in it: singular values come to lie in about [0.7, 1.2].
    """
    a, b, c = NEWTON_SCHULZ
    x = matrix.bfloat16() if has_native_bfloat16(matrix.device) else matrix.float()
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = (x.T if tall else x).float()
    return result


def _muon(grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> Tensor:
    momentum = state.setdefault("momentum", torch.zeros_like(grad))
    momentum.lerp_(grad, 1.0 - group["momentum"])
    ahead = grad.lerp(momentum, group["momentum"]).flatten(1)
    return orthogonalised(ahead).mul_(RMS * max(ahead.shape) ** 0.5).view(grad.shape)


def _adam(grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> Tensor:
    if not state:
        state.update(step=torch.zeros(()), mean=torch.zeros_like(grad), square=torch.zeros_like(grad))
    beta1, beta2 = group["betas"]
    state["step"] += 1
    step = int(state["step"])
    state["mean"].lerp_(grad, 1.0 - beta1)
    state["square"].lerp_(grad.square(), 1.0 - beta2)
    deviation = (state["square"] / (1.0 - beta2**step)).sqrt_().add_(group["eps"])
    update: Tensor = state["mean"] / (1.0 - beta1**step) / deviation
    return update
