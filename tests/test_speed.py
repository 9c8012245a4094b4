"""The speed benchmark, with tiny networks and small pictures: what it counts and prints, not how fast anything is."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from lightendiff import LightenPipeline
from lightendiff.images import ImageError, Picture, read_picture, write_picture
from lightendiff.models.presets import PRESETS
from lightendiff.pipeline import BoundPipeline
from lightendiff.training import LatentDiffusion

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
ROUNDING = 5e-5  # of figures with four decimals


@pytest.fixture(scope="module")
def speed(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(BENCHMARKS / "speed.py")


@pytest.fixture(scope="module")
def timing(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(BENCHMARKS / "speed_timing.py")


@pytest.fixture(scope="module")
def apart(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    """What a process of its own measures."""
    return load_script(BENCHMARKS / "speed_restore.py")


@pytest.fixture
def picture(timing, tmp_path) -> Path:
    path = tmp_path / "dark.png"
    write_picture(path, Picture(timing.made_picture((40, 56))))
    return path


def run(
    speed: ModuleType, capsys: pytest.CaptureFixture[str], *argv: object, status: int = 0
) -> tuple[list[dict[str, str]], str]:
    """The lines of the printed table by the names of the columns, and what went to stderr."""
    assert speed.main([str(arg) for arg in argv]) == status
    printed = capsys.readouterr()
    lines = [line for line in printed.out.splitlines() if line.startswith("|")]
    head, _, *body = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
    return [dict(zip(head, line, strict=True)) for line in body], printed.err


# ---- the parts


@pytest.mark.parametrize("text", ["600", "600x", "x400", "0x400", "600x-4", "600 x 400", "600x400x3", "6e2x400"])
def test_bad_size_is_an_error_that_says_what_is_expected(speed, text, capsys):
    with pytest.raises(SystemExit, match="2"):
        speed.main(["restore", "--sizes", text])
    assert f"expected WIDTHxHEIGHT in pixels, like 600x400, got '{text}'" in capsys.readouterr().err


def test_size_is_height_and_width(speed, timing):
    assert speed.parse_size("600x400") == (400, 600)
    assert timing.made_picture((40, 56)).shape == (40, 56, 3)


def test_stages_are_timed_without_changing_the_picture(timing, weights, picture):
    pipe = LightenPipeline.from_pretrained(weights, "cpu", torch.float32)
    dark = read_picture(picture).pixels
    expected = pipe(dark)
    watch = timing.Stopwatch(pipe.device)
    watch.attach(pipe.restorer)
    np.testing.assert_array_equal(pipe(dark), expected)
    assert {name for name, seconds in watch.seconds.items() if seconds > 0} == {"encode", "sample", "decode"}


def test_a_stage_within_a_stage_counts_once(timing, monkeypatch):
    clock = iter(range(100))
    watch = timing.Stopwatch(torch.device("cpu"))
    monkeypatch.setattr(watch, "now", lambda: float(next(clock)))
    with watch.stage("encode"), watch.stage("decode"):
        pass
    with pytest.raises(ZeroDivisionError), watch.stage("encode"):
        raise ZeroDivisionError
    with watch.stage("write"):
        pass
    assert watch.seconds == {"read": 0, "encode": 2, "sample": 0, "decode": 0, "write": 1}


@pytest.mark.parametrize("batch_size", [1, 2])
def test_measured_run(apart, weights, picture, batch_size):
    measured = apart.measure(
        apart.Setting(str(picture), "default", str(weights), 3, "float32", "cpu", batch_size, 2, 60.0)
    )
    assert tuple(measured.stages) == apart.STAGES
    assert all(seconds > 0 for seconds in measured.stages.values())
    assert sum(measured.stages.values()) <= measured.seconds
    assert (measured.steps, measured.dtype, measured.device) == (3, "float32", "cpu")
    assert measured.memory >= 0


def test_the_median_run_is_reported(apart, weights, picture, monkeypatch):
    runs = iter([(9.0, {"read": 9.0}), (3.0, {"read": 3.0}), (1.0, {"read": 1.0}), (2.0, {"read": 2.0})])
    monkeypatch.setattr(apart, "run_once", lambda *_: next(runs))  # the first of them isn't counted
    measured = apart.measure(apart.Setting(str(picture), "default", str(weights), None, None, "cpu", 1, 3, 60.0))
    assert (measured.seconds, measured.stages) == (2.0, {"read": 2.0})
    assert measured.steps == PRESETS["tiny"].num_inference_steps


def test_time_limit_leaves_one_run_that_counts(apart, weights, picture, monkeypatch):
    calls: list[float] = []

    def once(*_: object) -> tuple[float, dict[str, float]]:
        calls.append(1.0)
        return float(len(calls)), {}

    monkeypatch.setattr(apart, "run_once", once)
    measured = apart.measure(apart.Setting(str(picture), "default", str(weights), None, None, "cpu", 1, 5, 0.0))
    assert (measured.seconds, len(calls)) == (2.0, 2)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="tells present and peak memory apart on Linux only")
def test_memory_peaks_are_kept(timing):
    now, peak = timing.memory(peak=False), timing.memory(peak=True)
    assert 0 < now <= peak
    # far more than is asked for below, since the system may take back other pages of this process meanwhile
    block = np.ones(peak - now + 2**29, np.uint8)
    assert timing.memory(peak=True) >= peak + 2**24
    del block
    assert timing.memory(peak=True) >= peak + 2**24


def test_runs_take_turns(timing):
    order: list[str] = []
    seconds = timing.in_turn([lambda: order.append("a"), lambda: order.append("b")], 3, torch.device("cpu"))
    assert "".join(order) in ("abbaabba", "baabbaab")
    assert [len(runs) for runs in seconds] == [3, 3]
    assert timing.ratio([2.0, 6.0, 8.0], [1.0, 2.0, 2.0]) == 3.0


# ---- the commands


def test_restore(speed, apart, weights, capsys):
    """The second device isn't there, which costs its own line only."""
    argv = ("--weights", weights, "--sizes", "56x40", "--steps", 3, "--devices", "cpu", "nowhere", "--repeats", 2)
    (good, bad), err = run(speed, capsys, "restore", *argv, status=1)
    whole = ["s/image", "images/s", "peak MiB"]
    assert list(good) == ["preset", "size", "steps", "precision", "device", *whole, *apart.STAGES, "other"]
    assert (good["preset"], good["size"], good["steps"], good["device"]) == ("default", "56x40", "3", "cpu")
    assert good["precision"] in apart.DTYPES
    seconds, stages = float(good["s/image"]), [float(good[name]) for name in apart.STAGES]
    assert all(value >= 0 for value in stages)
    assert float(good["other"]) >= 0
    assert sum(stages) <= seconds + 6 * ROUNDING
    assert sum(stages) + float(good["other"]) == pytest.approx(seconds, abs=7 * ROUNDING)
    rounded = max(1e-3, 0.0051 * seconds)  # images/s has two decimals
    assert 1 / float(good["images/s"]) == pytest.approx(seconds, rel=rounded, abs=2 * ROUNDING)
    assert 0 < float(good["peak MiB"]) < 1000
    assert (bad["device"], {bad[name] for name in (*whole, *apart.STAGES, "other")}) == ("nowhere", {"–"})
    assert "default, 56x40, 3, –, nowhere" in err
    assert "expected one that this machine has, got 'nowhere'" in err


def test_folder(speed, weights, capsys):
    argv = ("--weights", weights, "--size", "56x40", "--count", 3, "--dtype", "float32", "--device", "cpu")
    (model, whole), _ = run(speed, capsys, "folder", *argv, "--repeats", 1)
    assert (model["what"], whole["what"]) == ("model, one by one", "folder")
    assert model["share"] == "100.0 %"
    for line in (model, whole):
        asked = ("pictures", "format", "size", "precision", "device")
        assert [line[name] for name in asked] == ["3", "jpg", "56x40", "float32", "cpu"]
        assert 1 / float(line["images/s"]) == pytest.approx(float(line["s/image"]), rel=1e-2, abs=2 * ROUNDING)
    share = float(whole["images/s"]) / float(model["images/s"])
    assert float(whole["share"].removesuffix(" %")) == pytest.approx(100 * share, rel=2e-2)


@pytest.mark.parametrize("together", [False, True])
def test_folder_and_model_restore_the_same_pictures(speed, weights, capsys, monkeypatch, together):
    given: list[list[np.ndarray]] = []
    call = LightenPipeline.restore

    def counted(pipe: LightenPipeline, image: Any, *sampling: Any, **options: Any) -> Any:
        given[-1] += image if isinstance(image, list) else [image]
        return call(pipe, image, *sampling, **options)

    def each_once(runs: list[Callable[[], object]], repeats: int, device: torch.device) -> list[list[float]]:
        for one in runs:
            given.append([])
            one()
        return [[float(number + 1)] * repeats for number in range(len(runs))]

    def many(bound: BoundPipeline) -> Any:
        pipe = bound.pipe
        return (lambda pictures: pipe(pictures, batch_size=len(pictures))) if together else None

    monkeypatch.setattr(LightenPipeline, "restore", counted)
    monkeypatch.setattr(BoundPipeline, "many", property(many))
    monkeypatch.setattr("speed_folder.in_turn", each_once)
    argv = ("--weights", weights, "--size", "56x40", "--count", 3, "--format", "png", "--device", "cpu")
    lines, _ = run(speed, capsys, "folder", *argv)
    names = ["model, one by one", *(["model, in batches"] if together else []), "folder"]
    assert [line["what"] for line in lines] == names
    assert [line["s/image"] for line in lines] == [f"{(n + 1) / 3:.4f}" for n in range(len(names))]
    assert [line["share"] for line in lines] == ["100.0 %", "50.0 %", "33.3 %"][: len(names)]
    assert len(given) == len(names)
    assert len({picture.tobytes() for picture in given[0]}) == 3
    for pictures in given[1:]:
        np.testing.assert_array_equal(np.stack(pictures), np.stack(given[0]))


def test_a_picture_of_the_folder_that_fails_is_an_error_of_one_line(speed, weights, capsys, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise ImageError("no space left")

    monkeypatch.setattr("lightendiff.batch.run.write_picture", broken)
    argv = ("--weights", weights, "--size", "56x40", "--count", 1, "--device", "cpu", "--repeats", 1)
    assert speed.main(["folder", *map(str, argv)]) == 1
    printed = capsys.readouterr()
    assert "|" not in printed.out
    assert printed.err.endswith("0000.jpg: cannot write no space left\n")
    assert len(printed.err.splitlines()) == 1


def test_stream(speed, weights, capsys):
    argv = ["stream", "--sizes", "48x32", "64x48", "--steps", 1, 2, "--repeats", 2, "--weights", weights]
    lines, _ = run(speed, capsys, *argv, "--device", "cpu")
    shown = [(line["size"], line["steps"]) for line in lines]
    assert shown == [("48x32", "1"), ("48x32", "2"), ("64x48", "1"), ("64x48", "2")]
    for line in lines:
        assert 0 < 1 / float(line["frames/s"]) <= float(line["slowest, s"]) * 1.1 + 1e-3
        assert line["the smoothing's share"].endswith(" %")


def test_paper_has_weights_of_its_own(apart, weights, picture):
    setting = apart.Setting(str(picture), "paper", str(weights), 1, None, "cpu", 1, 1, 60.0)
    assert apart.make_pipeline(setting).restorer.config == PRESETS["paper"]


def test_scheduler(speed, capsys):
    lines, _ = run(speed, capsys, "scheduler", "--size", "64x64", "--repeats", 2, "--steps", 5)
    channels = {name: PRESETS[name].latent_channels for name in ("default", "paper")}
    expected = [(name, f"{batch}×{channels[name]}×8×8") for name in channels for batch in (1, 16)]
    assert [(line["scheduler of"], line["latents"]) for line in lines] == expected
    for line in lines:
        assert all(float(line[f"{name}, µs/step"]) > 0 for name in ("ours", "diffusers"))
        assert float(line["diffusers / ours"]) > 0
        assert float(line["relative difference"]) < 1e-5


def test_train(speed, capsys, monkeypatch, tmp_path):
    phases: list[str] = []
    for method in ("diffusion_loss", "rollout_losses"):
        original = getattr(LatentDiffusion, method)

        def counted(*args: Any, method: str = method, original: Any = original) -> Any:
            phases.append(method)
            return original(*args)

        monkeypatch.setattr(LatentDiffusion, method, counted)
    contents = [yaml.safe_load((ROOT / "configs" / f"smoke_stage{stage}.yaml").read_text()) for stage in (1, 2)]
    contents[1]["model"]["init_args"] |= {"augmentation": {"paste": 1.0}, "sensor": {"exposure": [-3.0, -1.0]}}
    configs = [tmp_path / f"smoke_stage{stage}.yaml" for stage in (1, 2)]
    for path, content in zip(configs, contents, strict=True):
        path.write_text(yaml.safe_dump(content))
    argv = ("--size", "80x72", "--steps", 2, "--warmup", 1, "--accelerator", "cpu")
    lines, _ = run(speed, capsys, "train", "--configs", *configs, *argv)
    assert [line["configuration"] for line in lines] == [
        "smoke_stage1",
        "smoke_stage2, before the joint phase",
        "smoke_stage2, joint phase",
    ]
    assert phases == ["diffusion_loss"] * 4 + ["rollout_losses"] * 4
    for line in lines:
        assert (line["batch"], line["crop"], line["precision"]) == ("4", "64×64", "32-true")
        assert float(line["s/step, median"]) > 0
        assert float(line["s/step, mean"]) > 0
        assert 0 <= float(line["waiting for data"].removesuffix(" %")) <= 100


def test_sources_of_a_configuration_become_self_made(load_script):
    train = load_script(BENCHMARKS / "speed_train.py")
    names = ("PairedFolders", "Darkened", "WellLit")
    made = train.self_made([{"class_path": f"lightendiff.data.datasets.{name}"} for name in names], (32, 48))
    assert [source.darken for source in made] == [False, True, False]
    assert len({source.seed for source in made}) == 3
    assert {source.size for source in made} == {(32, 48)}


# What takes the place of LightenDiffusion's code: its names and its ways of calling, around our network.
NET = """
import torch
from lightendiff import Restorer
from lightendiff.diffusion.options import Sampling
from lightendiff.weights.published import published_name
from lightendiff.models.presets import PRESETS

class Net(torch.nn.Module):
    def __init__(self, args, config):
        super().__init__()
        assert args.mode == "evaluation"
        self.config, self.restorer = config, Restorer(PRESETS["paper"])

    def load_state_dict(self, weights, strict):
        own = {name: weights[published_name(name)] for name in self.restorer.state_dict()}
        self.restorer.load_state_dict(own, strict=strict)

    def forward(self, x):
        assert x.shape[1] == 6 and not any(side % 64 for side in x.shape[2:])
        noise = torch.randn(len(x), 3, x.shape[2] // 8, x.shape[3] // 8, device=self.config.device)
        steps = self.config.diffusion.num_sampling_timesteps
        return {"pred_x": self.restorer(x[:, :3], Sampling(steps), noise=noise, clamp=False)}
"""
WEIGHTS = """
import torch
from lightendiff import Restorer
from lightendiff.weights.published import published_name
from lightendiff.models.presets import PRESETS

def state_dict(seed):
    torch.manual_seed(seed)
    return {published_name(name): t.numpy() for name, t in Restorer(PRESETS["paper"]).state_dict().items()}
"""


@pytest.fixture
def repository(tmp_path):
    contents = {
        "models/__init__.py": "",
        "models/ddm.py": NET,
        "configs/unsupervised.yml": "diffusion: {num_sampling_timesteps: 20}\n",
        "stand_in/weights.py": WEIGHTS,
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    path = list(sys.path)
    yield tmp_path
    assert sys.path == path
    for name in ("models.ddm", "models"):
        sys.modules.pop(name, None)


def test_paper(speed, weights, repository, capsys):
    where = ("--repository", repository, "--weights-folder", repository / "stand_in", "--weights", weights)
    options = ("--size", "64x48", "--steps", 2, "--repeats", 1, "--device", "cpu")
    lines, _ = run(speed, capsys, "paper", *where, *options)
    theirs, default, same, half = lines
    assert [line["code"] for line in lines] == ["LightenDiffusion", "ours, default", "ours, paper", "ours, paper"]
    assert [line["steps"] for line in lines] == ["2", str(PRESETS["tiny"].num_inference_steps), "2", "2"]
    assert [line["precision"] for line in (theirs, same, half)] == ["float32", "float32", "bfloat16"]
    assert theirs["times as fast"] == "1.00"
    assert all(float(line["s/image"]) > 0 and float(line["times as fast"]) > 0 for line in lines)
    for line in (theirs, default):
        assert (line["largest difference"], line["PSNR against theirs, dB"]) == ("–", "–")
    assert float(same["largest difference"]) < 1e-5  # the same weights, padding and noise
    assert float(same["PSNR against theirs, dB"]) > 100
    assert float(half["largest difference"]) > 0
    assert math.isfinite(float(half["PSNR against theirs, dB"]))


def test_missing_repository_is_an_error_of_one_line(speed, tmp_path, capsys):
    where = ("--repository", tmp_path, "--weights-folder", tmp_path)
    assert speed.main(["paper", *map(str, where)]) == 1
    assert "no weights.py in it" in capsys.readouterr().err
