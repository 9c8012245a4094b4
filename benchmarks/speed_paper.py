"""`speed.py paper`: LightenDiffusion's own code against ours."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
import yaml
from speed_timing import in_turn, made_picture, ratio
from torch import Tensor

from lightendiff import LightenPipeline
from lightendiff.diffusion.options import Sampling
from lightendiff.evaluation import measure as ev


class Contender(NamedTuple):
    name: str
    steps: int
    dtype: torch.dtype
    answer: Callable[[], Tensor]


def paper(args: argparse.Namespace) -> int:
    contenders = list(paper_contenders(args))
    with torch.inference_mode():
        seconds = in_turn([contender.answer for contender in contenders], args.repeats, torch.device(args.device))
        pictures = [contender.answer() for contender in contenders]

    def lines() -> Iterator[list[str]]:
        for i, contender in enumerate(contenders):
            difference = pictures[i] - pictures[0]
            likeness = [f"{difference.abs().max().item():.1e}", f"{decibels(difference):.1f}"]
            compared = i > 1  # the first is what is compared with, and the second has other weights
            times = [f"{statistics.median(seconds[i]):.4f}", f"{ratio(seconds[0], seconds[i]):.2f}"]
            what = [contender.name, str(contender.steps), str(contender.dtype).removeprefix("torch.")]
            yield [*what, *times, *(likeness if compared else ["–", "–"])]

    head = ["code", "steps", "precision", "s/image", "times as fast", "largest difference", "PSNR against theirs, dB"]
    print(ev.markdown_table(head, lines()))
    return 0


def paper_contenders(args: argparse.Namespace) -> Iterator[Contender]:
    """LightenDiffusion, our default preset, and our paper preset in two precisions."""
    device = torch.device(args.device)
    dark = torch.from_numpy(made_picture(args.size)).permute(2, 0, 1)[None].to(device) / 255
    weights = {name: torch.from_numpy(array) for name, array in stand_in_weights(args.weights_folder).items()}
    net = published_network(args.repository, weights, args.steps, device)
    yield Contender("LightenDiffusion", args.steps, torch.float32, partial(published_answer, net, dark))
    pipe = LightenPipeline.from_pretrained(args.weights, device)
    steps = pipe.restorer.config.num_inference_steps
    yield Contender("ours, default", steps, pipe.dtype, partial(our_answer, pipe, dark, steps))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "stage2_weight.pth.tar"
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in weights.items()}}, path)
        for dtype in (torch.float32, torch.bfloat16):
            pipe = LightenPipeline.from_pretrained(path, device, dtype)
            yield Contender("ours, paper", args.steps, dtype, partial(our_answer, pipe, dark, args.steps))


def stand_in_weights(folder: Path) -> dict[str, np.ndarray]:
    """`state_dict(1)` of the folder's weights.py: arrays by the published checkpoint's names."""
    spec = importlib.util.spec_from_file_location("stand_in_weights", folder / "weights.py")
    if spec is None or spec.loader is None or not (folder / "weights.py").is_file():
        raise FileNotFoundError(f"{folder}: no weights.py in it")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.state_dict(1)


def published_network(
    repository: Path, weights: Mapping[str, Tensor], steps: int, device: torch.device
) -> torch.nn.Module:
    """LightenDiffusion's `Net` as its evaluate.py makes it, without the wrapper for several GPUs."""
    sections = yaml.safe_load((repository / "configs" / "unsupervised.yml").read_text(encoding="utf-8"))
    config = argparse.Namespace(**{name: argparse.Namespace(**section) for name, section in sections.items()})
    config.device, config.diffusion.num_sampling_timesteps = device, steps
    sys.path.insert(0, str(repository.resolve()))  # it imports its own packages, `models` and `utils`, by these names
    try:
        net = importlib.import_module("models.ddm").Net(argparse.Namespace(mode="evaluation"), config)
    finally:
        sys.path.pop(0)
    net.load_state_dict(weights, strict=True)
    return net.eval().to(device)


def published_answer(net: torch.nn.Module, dark: Tensor) -> Tensor:
    """As its restoration.py calls it, the dark picture in the place of the bright one, which evaluation lacks."""
    height, width = dark.shape[2:]
    padded = torch.nn.functional.pad(dark, (0, -width % 64, 0, -height % 64), "reflect")
    torch.manual_seed(0)
    return net(torch.cat((padded, padded), dim=1))["pred_x"][:, :, :height, :width]


def our_answer(pipe: LightenPipeline, dark: Tensor, steps: int) -> Tensor:
    """From the noise that `published_answer` begins with, where the shape of the latent is the same."""
    torch.manual_seed(0)
    noise = torch.randn(pipe.restorer.noise_shape(dark), device=dark.device)
    return pipe.restorer(dark, Sampling(steps), noise=noise, clamp=False)


def decibels(difference: Tensor) -> float:
    """PSNR for a peak of 1, of what is neither clamped nor rounded."""
    return -10 * torch.log10(difference.square().mean()).item()
