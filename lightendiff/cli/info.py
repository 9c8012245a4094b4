"""`lightendiff info`: what weights are."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NoReturn

from ..files.locations import shown
from .loading import LICENCE

if TYPE_CHECKING:
    from ..weights.training import Weights

HELP = "say what weights are and where they come from"
EXAMPLES = """
lightendiff info
lightendiff info runs/default_stage2/export
lightendiff info runs/default_stage2/last.ckpt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "weights", metavar="PATH", nargs="?", help="folder or checkpoint file (default: the weights of the package)"
    )


def run(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> int:
    from ..pipeline import SHIPPED_WEIGHTS
    from ..weights.load import read_weights

    weights = read_weights(args.weights or SHIPPED_WEIGHTS)
    lines = dict(describe(weights))
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:<{width}}  {shown(value)}")
    return 0


def describe(weights: Weights) -> Iterator[tuple[str, str]]:
    """What there is to say, line by line: its name and its text."""
    from ..pipeline import SHIPPED_WEIGHTS
    from ..weights.published import preset_of

    restorer, config = weights.restorer, weights.restorer.config
    ours = ", which come with the package" if weights.file.parent == SHIPPED_WEIGHTS else ""
    yield "weights", f"{weights.file}{ours}"
    yield "layout", weights.layout
    card = weights.file.with_name("README.md")
    if card.is_file():
        yield "described in", str(card)
    if ours:
        yield "licence", f"{LICENCE}: {weights.file.with_name('LICENSE')}"
    preset = preset_of(config)
    yield "architecture", f"{config.architecture}, {f'preset {preset}' if preset else 'of widths of its own'}"
    unet, rest = (sum(p.numel() for p in part.parameters()) / 1e6 for part in (restorer.unet, restorer.model))
    yield "parameters", f"{unet + rest:.2f} M: {unet:.2f} M UNet, {rest:.2f} M encoder, decomposition and decoder"
    yield "stored in", f"{', '.join(weights.dtypes)}; {weights.file.stat().st_size / 1e6:.1f} MB"
    start = "pure noise" if config.start_timestep is None else f"the noised dark picture at {config.start_timestep}"
    yield "sampling", f"{config.num_inference_steps} steps, from {start}"
    yield "scheduler", _scheduler(weights)
    if config.context is not None:
        yield "UNet sees", f"at most {config.context} pixels a side; larger pictures are shown to it smaller"


def _scheduler(weights: Weights) -> str:
    c = weights.restorer.scheduler.config
    predicts = {"sample": "x₀", "epsilon": "ε", "v_prediction": "v"}[c.prediction_type]
    ends = ", rescaled to zero terminal SNR" if c.rescale_betas_zero_snr else ""
    betas = f"β {c.beta_schedule} from {c.beta_start:g} to {c.beta_end:g}"
    return f"DDIM, predicts {predicts}, {c.timestep_spacing} timesteps of {c.num_train_timesteps}, {betas}{ends}"
