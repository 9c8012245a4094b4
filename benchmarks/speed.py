"""Measure speed: python benchmarks/speed.py restore | scheduler | train | paper (each has its own --help).

`restore`: a picture from file to file, a line for every preset, size, number of steps, precision and device. Each line
is measured in a process of its own, after one run that isn't counted. Seconds are those of the median run, and the
stages are that run's; "other" is what lies between them, conversions and padding. Devices are waited for at the ends
of every stage. Pictures are handled one after another, whereas `infer.py` reads ahead and writes behind. The peak of
memory is, on CUDA, that of PyTorch's allocator and, on the CPU, what the process holds beyond the loaded libraries.
`scheduler`: a step of our DDIMScheduler against one of diffusers'. `train`: a training step of both stages with the
settings of their configurations, on self-made pictures. `paper`: LightenDiffusion's own code against ours.
What is compared runs in turn, so that a change of the machine's speed meets all alike.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import logging
import re
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from torch import Tensor
from tqdm import tqdm

from lightendiff import DDIMScheduler, LightenPipeline, Restorer
from lightendiff import evaluation as ev
from lightendiff.images import Picture, read_picture, write_picture
from lightendiff.models.presets import PRESETS, PresetName

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
STAGES = ("read", "encode", "sample", "decode", "write")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ALONE = "measure-alone"  # in place of a subcommand: the rest is for the process of one measurement

Size = tuple[int, int]  # height, width


# ------------------------------------------------------------------------------------------------------ time and memory


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class Stopwatch:
    """Adds up the seconds of stages. A stage within another one is part of that."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._running = False

    def now(self) -> float:
        synchronise(self.device)
        return time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        if self._running:
            yield
            return
        self._running, start = True, self.now()
        try:
            yield
        finally:
            self.seconds[name] += self.now() - start
            self._running = False

    def attach(self, restorer: Restorer) -> None:
        """Count this restorer's stages from now on, those of every tile where it works in tiles."""
        model = restorer.model
        for method in ("encode", "latent", "condition"):
            self._time(model, method, "encode")
        self._time(restorer, "sample_latent", "sample")
        self._time(restorer, "decode", "decode")

    def _time(self, owner: object, method: str, stage: str) -> None:
        original = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(stage):
                return original(*args, **kwargs)

        setattr(owner, method, timed)


def memory(peak: bool) -> int:
    """Bytes of memory that this process holds or, with `peak`, has held at most."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage begins with the peak of the process that started this one
        return 1024 * int(re.findall(r"VmHWM:\s*(\d+) kB" if peak else r"VmRSS:\s*(\d+) kB", status.read_text())[0])
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_turn(runs: Sequence[Callable[[], object]], repeats: int, device: torch.device) -> list[list[float]]:
    """Seconds of each of them, after one round that isn't counted; every other round goes in reverse order."""
    seconds: list[list[float]] = [[] for _ in runs]
    for number in range(repeats + 1):
        for run, taken in list(zip(runs, seconds, strict=True))[:: 1 if number % 2 else -1]:
            synchronise(device)
            start = time.perf_counter()
            run()
            synchronise(device)
            taken.append(time.perf_counter() - start)
    return [taken[1:] for taken in seconds]


def ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """How many times as long these took as those: the median over the rounds."""
    return statistics.median(a / b for a, b in zip(these, those, strict=True))


def made_picture(size: Size) -> np.ndarray:
    """A dark picture (h, w, 3) uint8."""
    from lightendiff.data.datasets import SelfMade

    source = SelfMade(1, size)
    source.load()
    return np.ascontiguousarray(source.pair(0).dark.transpose(1, 2, 0))


# -------------------------------------------------------------------------------------------------------------- restore


@dataclass(frozen=True)
class Setting:
    """What to measure: a picture file, the network that restores it, and how often. None: what the pipeline chooses."""

    source: str
    preset: str
    weights: str | None
    steps: int | None
    dtype: str | None
    device: str | None
    batch_size: int
    repeats: int
    limit: float


@dataclass(frozen=True)
class Timing:
    """Seconds of a picture in the median run and in its stages, peak of memory in bytes, and what was chosen."""

    seconds: float
    stages: dict[str, float]
    memory: int
    steps: int
    dtype: str
    device: str


def make_pipeline(setting: Setting) -> LightenPipeline:
    dtype = None if setting.dtype is None else DTYPES[setting.dtype]
    if setting.preset == "default":
        return LightenPipeline.from_pretrained(setting.weights, setting.device, dtype)
    torch.manual_seed(0)
    return LightenPipeline(Restorer(PRESETS["paper"]), setting.device, dtype)


def measure(setting: Setting) -> Timing:
    libraries = memory(peak=False)
    pipe = make_pipeline(setting)
    watch = Stopwatch(pipe.device)
    watch.attach(pipe.restorer)
    runs: list[tuple[float, dict[str, float]]] = []
    with TemporaryDirectory() as folder:
        begin = time.perf_counter()
        while len(runs) <= setting.repeats and (len(runs) < 2 or time.perf_counter() - begin < setting.limit):
            runs.append(run_once(pipe, setting, watch, Path(folder) / "restored.png"))
    counted = sorted(runs[1:], key=lambda run: run[0])
    seconds, stages = counted[(len(counted) - 1) // 2]
    cuda = pipe.device.type == "cuda"
    return Timing(
        seconds=seconds / setting.batch_size,
        stages={name: value / setting.batch_size for name, value in stages.items()},
        memory=torch.cuda.max_memory_allocated(pipe.device) if cuda else memory(peak=True) - libraries,
        steps=setting.steps or pipe.restorer.config.num_inference_steps,
        dtype=str(pipe.dtype).removeprefix("torch."),
        device=torch.cuda.get_device_name(pipe.device) if cuda else pipe.device.type,
    )


def run_once(pipe: LightenPipeline, setting: Setting, watch: Stopwatch, target: Path) -> tuple[float, dict[str, float]]:
    """Restore the picture, or a batch of it, from file to file: seconds in all, and of every stage."""
    watch.seconds = dict.fromkeys(STAGES, 0.0)
    start = watch.now()
    with watch.stage("read"):
        pictures = [read_picture(setting.source) for _ in range(setting.batch_size)]
    dark = [picture.pixels for picture in pictures]
    restored = pipe(dark, num_inference_steps=setting.steps, batch_size=setting.batch_size)
    with watch.stage("write"):
        for picture, pixels in zip(pictures, restored, strict=True):
            write_picture(target, replace(picture, pixels=pixels))
    return watch.now() - start, watch.seconds


def measure_apart(setting: Setting) -> Timing:
    """`measure` in a new process, so that no other measurement's memory counts. ValueError says why it failed."""
    command = [sys.executable, str(Path(__file__).resolve()), ALONE, json.dumps(asdict(setting))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise ValueError(said[-1] if said else f"the process ended with status {done.returncode}")
    return Timing(**json.loads(done.stdout.splitlines()[-1]))


def restore(args: argparse.Namespace) -> int:
    combinations = list(product(args.presets, args.sizes, args.steps, args.dtypes, args.devices))
    failures: list[str] = []

    def lines() -> Iterator[list[str]]:
        with TemporaryDirectory() as folder:
            for preset, size, steps, dtype, device in tqdm(combinations, unit="line", disable=None, leave=False):
                source = Path(folder) / f"{size[1]}x{size[0]}.png"
                if not source.exists():
                    write_picture(source, Picture(made_picture(size)))
                often = (args.batch_size, args.repeats, args.limit)
                setting = Setting(str(source), preset, args.weights, steps, dtype, device, *often)
                try:
                    yield [preset, source.stem, *timing_cells(measure_apart(setting))]
                except ValueError as error:  # the other lines can still be measured
                    asked = [preset, source.stem, *(str(value or "–") for value in (steps, dtype, device))]
                    failures.append(f"{', '.join(asked)}: {error}")
                    yield asked + ["–"] * (len(head) - len(asked))

    head = ["preset", "size", "steps", "precision", "device", "s/image", "images/s", "peak MiB", *STAGES, "other"]
    print(ev.markdown_table(head, lines()))
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def timing_cells(t: Timing) -> list[str]:
    whole = [f"{t.seconds:.4f}", f"{1 / t.seconds:.2f}", f"{t.memory / 2**20:.0f}"]
    split = [*t.stages.values(), t.seconds - sum(t.stages.values())]
    return [str(t.steps), t.dtype, t.device, *whole, *(f"{seconds:.4f}" for seconds in split)]


# ------------------------------------------------------------------------------------------------------------ scheduler


def scheduler(args: argparse.Namespace) -> int:
    device = torch.device(args.device)
    head = ["scheduler of", "latents", "ours, µs/step", "diffusers, µs/step", "diffusers / ours", "relative difference"]
    presets: tuple[PresetName, ...] = ("default", "paper")
    lines = (scheduler_line(name, batch, args, device) for name in presets for batch in (1, 16))
    print(ev.markdown_table(head, lines))
    return 0


def scheduler_line(name: PresetName, batch: int, args: argparse.Namespace, device: torch.device) -> list[str]:
    """Walks down the list of timesteps, each of whose steps is given the same output of a network."""
    import diffusers

    config, generator = PRESETS[name], torch.Generator().manual_seed(0)
    shape = Restorer(config).noise_shape(torch.empty(batch, 3, *args.size, device="meta"))
    noise, output = (torch.randn(shape, generator=generator).to(device) for _ in range(2))

    def walking(ddim: Any) -> Callable[[], list[Tensor]]:
        ddim.set_timesteps(args.steps, device=device)

        def walk() -> list[Tensor]:
            latents = [noise]
            for t in ddim.timesteps:
                latents.append(ddim.step(output, t, latents[-1]).prev_sample)
            return latents

        return walk

    ours, theirs = (walking(kind(**config.scheduler)) for kind in (DDIMScheduler, diffusers.DDIMScheduler))
    mine, others = in_turn([ours, theirs], args.repeats, device)
    each = [f"{1e6 * statistics.median(runs) / args.steps:.1f}" for runs in (mine, others)]
    a, b = torch.stack(ours()), torch.stack(theirs())
    difference = f"{((a - b).abs().max() / b.abs().max()).item():.1e}"
    return [name, "×".join(map(str, shape)), *each, f"{ratio(others, mine):.2f}", difference]


# ---------------------------------------------------------------------------------------------------------------- train


class Watched:
    """A loader, and when each of its batches was asked for and was there."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.times: list[tuple[float, float]] = []

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        for _ in range(len(self)):
            asked = time.perf_counter()
            batch = next(batches)
            self.times.append((asked, time.perf_counter()))
            yield batch


def train(args: argparse.Namespace) -> int:
    def lines() -> Iterator[list[str]]:
        for path in args.configs:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            for phase, changes in training_phases(content, args.warmup + args.steps + 1):
                yield training_line(path.stem + phase, content, changes, args)

    head = ["configuration", "batch", "crop", "precision", "s/step, median", "s/step, mean", "waiting for data"]
    print(ev.markdown_table(head, lines()))
    return 0


def training_phases(content: Mapping[str, Any], steps: int) -> list[tuple[str, dict[str, Any]]]:
    """The phases of a configuration, each with the argument of the model that puts all of so many steps into it."""
    if content["model"]["init_args"].get("joint_from_step") is None:
        return [("", {})]
    return [(", before the joint phase", {"joint_from_step": steps}), (", joint phase", {"joint_from_step": 0})]


def training_line(
    label: str, content: Mapping[str, Any], changes: Mapping[str, Any], args: argparse.Namespace
) -> list[str]:
    """Train from new weights, with Lightning's Trainer and the averaging of weights, but without logs or validation."""
    from lightendiff import training
    from lightendiff.data.datamodule import LowLightData

    torch.manual_seed(0)
    settings = {**content["model"]["init_args"], "init_from": None, **changes}
    model = getattr(training, class_name(content["model"]))(**settings)
    given = {key: value for key, value in content["data"].items() if key not in ("train", "val", "val_limits")}
    given["steps_per_epoch"] = args.warmup + args.steps + 1  # the last one only to end the one before
    if args.workers is not None:
        given["num_workers"] = args.workers
    data = LowLightData(train=self_made(content["data"]["train"], args.size), **given)
    data.setup("fit")
    loader = Watched(data.train_dataloader())
    fit(model, loader, content["trainer"], args.accelerator)
    times = loader.times[args.warmup :]
    spent = [after - before for (before, _), (after, _) in pairwise(times)]
    waited = sum(there - asked for asked, there in times[:-1])
    seconds = [f"{average(spent):.4f}" for average in (statistics.median, statistics.fmean)]
    share = f"{100 * waited / sum(spent):.1f} %"
    crop, precision = "×".join(map(str, given["crop"])), str(content["trainer"].get("precision", "32-true"))
    return [label, str(given["batch_size"]), crop, precision, *seconds, share]


def fit(model: Any, loader: Watched, settings: Mapping[str, Any], accelerator: str) -> None:
    import lightning

    from lightendiff.training import AveragedExport

    averages = [entry["init_args"] for entry in settings["callbacks"] if class_name(entry) == "AveragedExport"]
    with TemporaryDirectory() as folder, quiet("lightning.pytorch"):
        trainer = lightning.Trainer(
            accelerator=accelerator,
            devices=1,
            max_steps=len(loader),
            callbacks=[AveragedExport(**{**average, "folder": folder}) for average in averages],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **{key: settings[key] for key in ("precision", "gradient_clip_val") if key in settings},
        )
        trainer.fit(model, train_dataloaders=loader)


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Without warnings, and without what a library's logger says below an error."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def self_made(sources: Sequence[Mapping[str, Any]], size: Size) -> list[Any]:
    """Self-made pictures in the place of each source, darkened by the sensor model where the source's are."""
    from lightendiff.data.datasets import SelfMade

    names = [class_name(source) for source in sources]
    return [SelfMade(16, size, seed, darken=name == "Darkened") for seed, name in enumerate(names)]


def class_name(entry: Mapping[str, Any]) -> str:
    return entry["class_path"].rpartition(".")[2]


# ---------------------------------------------------------------------------------------------------------------- paper


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
    return pipe.restorer(dark, noise=noise, num_inference_steps=steps, clamp=False)


def decibels(difference: Tensor) -> float:
    """PSNR for a peak of 1, of what is neither clamped nor rounded."""
    return -10 * torch.log10(difference.square().mean()).item()


# ---------------------------------------------------------------------------------------------------------- the command


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
    commands = parser.add_subparsers(required=True, metavar="restore | scheduler | train | paper")
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
        print(f"{ev.describe_machine()}{gpu}.\n")
        return args.run(args)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    if sys.argv[1:2] == [ALONE]:
        print(json.dumps(asdict(measure(Setting(**json.loads(sys.argv[2]))))))
    else:
        sys.exit(main())
