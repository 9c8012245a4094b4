"""Measure speed: benchmarks/speed.py restore | colour | folder | stream | scheduler | train | paper (each with --help).

`restore`: a picture from file to file, a line for every preset, size, number of steps, precision and device. Each line
is measured in a process of its own, after one run that isn't counted. Seconds are those of the median run, and the
stages are that run's; "other" is what lies between them, conversions and padding. Devices are waited for at the ends
of every stage. Pictures are handled one after another, whereas `infer.py` reads ahead and writes behind. The peak of
memory is, on CUDA, that of PyTorch's allocator and, on the CPU, what the process holds beyond the loaded libraries.
`colour`: restoring with the step that takes colours and darkness from the input, and without.
`folder`: a folder restored as `infer.py` does it, which is reading, restoring and writing, against the model alone on
the same pictures as arrays. "share" is that of the model's throughput with one picture after another: the median of the
rounds' shares, which needn't be the share of the medians.
`stream`: frames as `Stream` restores a camera's, one after another; the rate is that of the median frame.
`scheduler`: a step of our DDIMScheduler against one of diffusers'. `train`: a training step of both stages with the
settings of their configurations, on self-made pictures. `paper`: LightenDiffusion's own code against ours.
What is compared runs in turn, so that a change of the machine's speed meets all alike.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from report import describe_machine
from speed_colour import colour
from speed_folder import folder
from speed_paper import paper
from speed_restore import DTYPES, restore
from speed_scheduler import scheduler
from speed_stream import stream
from speed_timing import Size
from speed_train import train

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def parse_size(text: str) -> Size:
    """(height, width) of "WIDTHxHEIGHT"."""
    match = re.fullmatch(r"([1-9][0-9]*)x([1-9][0-9]*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT in pixels, like 600x400, got {text!r}")
    return int(match[2]), int(match[1])


def positive(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text!r}")
    return int(text)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = "restore | colour | folder | stream | scheduler | train | paper"
    commands = parser.add_subparsers(required=True, metavar=names)
    here = "cuda" if torch.cuda.is_available() else "cpu"

    def add(run: Callable[[argparse.Namespace], int], about: str, repeats: int | None) -> argparse.ArgumentParser:
        command = commands.add_parser(run.__name__, help=about, description=about)
        command.set_defaults(run=run)
        if repeats is not None:
            command.add_argument("--repeats", type=positive, default=repeats, metavar="N", help=f"default: {repeats}")
        return command

    command = add(restore, "from file to file, by preset, size, steps, precision and device", 5)
    about = "paper has random weights; default: default"
    command.add_argument("--presets", nargs="+", choices=("default", "paper"), default=["default"], help=about)
    command.add_argument("--weights", metavar="PATH", help="of default, in place of the weights of the package")
    sizes = [parse_size(text) for text in ("600x400", "1920x1080", "3840x2160")]
    command.add_argument("--sizes", nargs="+", type=parse_size, default=sizes, metavar="WIDTHxHEIGHT")
    command.add_argument("--steps", nargs="+", type=positive, default=[None], help="default: the preset's own")
    command.add_argument("--dtypes", nargs="+", choices=DTYPES, default=[None], help="default: the pipeline's choice")
    command.add_argument("--devices", nargs="+", default=[None], help="default: the pipeline's choice")
    command.add_argument("--batch-size", type=positive, default=1, metavar="N", help="so many pictures at a time")
    about = "of a line's runs, after which none begins; default: 120"
    command.add_argument("--limit", type=float, default=120, metavar="SECONDS", help=about)

    command = add(colour, "what taking colours and darkness from the input costs", 15)
    command.add_argument("--sizes", nargs="+", type=parse_size, default=sizes[:2], metavar="WIDTHxHEIGHT")
    command.add_argument("--weights", metavar="PATH", help="in place of the weights of the package")
    command.add_argument("--device", help="default: the pipeline's choice")

    command = add(folder, "a folder, restored as infer.py does it, against the model alone", 7)
    command.add_argument("--count", type=positive, default=8, metavar="N", help="of pictures; default: 8")
    command.add_argument("--size", type=parse_size, default=(400, 600), metavar="WIDTHxHEIGHT", help="of each")
    command.add_argument("--format", choices=("jpg", "png"), default="jpg", help="in and out; default: jpg")
    command.add_argument("--weights", metavar="PATH", help="in place of the weights of the package")
    command.add_argument("--dtype", choices=DTYPES, help="default: the pipeline's choice")
    command.add_argument("--device", help="default: the pipeline's choice")

    command = add(stream, "frames one after another, without flicker", 10)
    small = [parse_size(text) for text in ("320x240", "640x480", "1280x720", "1920x1080")]
    command.add_argument("--sizes", nargs="+", type=parse_size, default=small, metavar="WIDTHxHEIGHT")
    command.add_argument("--steps", nargs="+", type=positive, default=[None], help="default: the weights' own")
    command.add_argument("--weights", metavar="PATH", help="in place of the weights of the package")
    command.add_argument("--device", help="default: the pipeline's choice")

    command = add(scheduler, "a step of DDIMScheduler against one of diffusers'", 200)
    command.add_argument("--size", type=parse_size, default=(400, 600), metavar="WIDTHxHEIGHT")
    command.add_argument("--steps", type=positive, default=20, help="length of the list of timesteps; default: 20")
    command.add_argument("--device", default=here)

    command = add(train, "a training step of both stages, on self-made pictures", None)
    configs = [CONFIGS / f"default_stage{stage}.yaml" for stage in (1, 2)]
    command.add_argument("--configs", nargs="+", type=Path, default=configs, help="default: both stages of default")
    command.add_argument("--size", type=parse_size, default=(512, 512), metavar="WIDTHxHEIGHT", help="of the pictures")
    command.add_argument("--steps", type=positive, default=30, help="that are counted; default: 30")
    command.add_argument("--warmup", type=positive, default=5, metavar="STEPS", help="before these; default: 5")
    command.add_argument("--workers", type=int, metavar="N", help="processes that load; default: the configuration's")
    command.add_argument("--accelerator", choices=("cpu", "cuda"), default=here)

    command = add(paper, "LightenDiffusion's own code against ours", 5)
    command.add_argument("--repository", type=Path, required=True, metavar="DIR", help="with its code; needs einops")
    about = "with a weights.py whose state_dict(1) gives arrays by the published names"
    command.add_argument("--weights-folder", type=Path, required=True, metavar="DIR", help=about)
    command.add_argument("--weights", metavar="PATH", help="of default, in place of the weights of the package")
    command.add_argument("--size", type=parse_size, default=(400, 600), metavar="WIDTHxHEIGHT")
    command.add_argument("--steps", type=positive, default=20, help="of theirs and of paper; default: 20")
    command.add_argument("--device", default=here)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    try:
        print(f"{describe_machine()}{gpu}.\n")
        return args.run(args)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
