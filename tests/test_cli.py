"""The command `lightendiff`: what its subcommands print and write, and how they end."""

from __future__ import annotations

import csv
import importlib
import inspect
import io
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from lightendiff.cli import evaluate as cli_evaluate
from lightendiff.cli import main
from lightendiff.cli.completion import SHELLS
from lightendiff.cli.restore import main as restore_main
from lightendiff.data.datasets.published import LAYOUTS
from lightendiff.evaluation import measure as ev
from lightendiff.evaluation import metrics, perceptual
from lightendiff.images import Picture, read_picture, write_picture
from lightendiff.limits import MAX_FRAME
from lightendiff.models.presets import PRESETS
from lightendiff.restorer import Restorer
from lightendiff.weights import load
from lightendiff.weights.folder import CheckpointError, save_restorer
from lightendiff.weights.load import load_restorer
from lightendiff.weights.published import published_name

ROOT = Path(__file__).parent.parent
CPU = ("--device", "cpu", "--dtype", "float32")
FOLDER = ("config.json", "model.safetensors")


def run(*arguments: object) -> int:
    return main.main([str(argument) for argument in arguments])


def wrong(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The message for arguments that are refused as such."""
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def save(path: Path, value: int | None = None, size: tuple[int, int] = (24, 32), seed: int = 0) -> Path:
    """A picture of one grey, or of dark noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 40, (*size, 3), dtype=np.uint8)
    write_picture(path, Picture(noise if value is None else np.full((*size, 3), value, np.uint8)))
    return path


def same_weights(one: Restorer, other: Restorer) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


# ---- help, examples, completion, errors


@pytest.mark.parametrize("arguments", [["--help"], ["restore", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom lightendiff.cli.main import main\n"
        f"try:\n    main({arguments})\nfinally:\n"
        "    print('LOADED', *[m for m in ('torch', 'numpy', 'PIL', 'cv2', 'yaml', 'shtab') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.startswith(f"usage: lightendiff {'restore ' if len(arguments) > 1 else ''}[-h]")
    assert result.stdout.endswith("LOADED\n")


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_shows_examples_that_parse(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(name, "--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    lines = main.COMMANDS[name].EXAMPLES.strip().splitlines()
    assert lines
    for line in lines:
        assert f"\n  {line}\n" in text
        words = shlex.split(line.split(" < ")[0])
        assert words[0] == "lightendiff"
        args = main.build_parser().parse_args(words[1:])
        assert (args.command, args.debug) == (name, False)


def test_as_a_module() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "lightendiff", "--version"], capture_output=True, text=True, cwd=ROOT
    )
    assert (result.returncode, result.stdout) == (0, "lightendiff 0.1.0\n")


def completed(script: str, *words: str, cwd: Path) -> set[str]:
    """What bash offers in place of the last word."""
    command_line = " ".join(map(shlex.quote, ["lightendiff", *words]))
    code = f"""{script}
COMP_WORDS=({command_line}); COMP_CWORD={len(words)}; COMP_LINE={shlex.quote(command_line)}; COMP_POINT=${{#COMP_LINE}}
$(complete -p lightendiff | sed 's/.*-F \\([^ ]*\\).*/\\1/') lightendiff {shlex.quote(words[-1])} ''
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    result = subprocess.run(["bash", "-c", code], capture_output=True, text=True, cwd=cwd, check=True)
    return set(result.stdout.split())


def test_completion_in_bash(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit) as stop:
        run("--print-completion", "bash")
    assert stop.value.code == 0
    script = capsys.readouterr().out
    (tmp_path / "photo.png").touch()
    assert completed(script, "e", cwd=tmp_path) == {"evaluate", "export"}
    assert completed(script, "restore", "--st", cwd=tmp_path) == {"--steps", "--strength"}
    assert completed(script, "export", "--format", "t", cwd=tmp_path) == {"torch-export"}
    assert completed(script, "restore", "ph", cwd=tmp_path) == {"photo.png"}


def test_completion_in_other_shells_and_without_shtab(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shtab = pytest.importorskip("shtab")
    assert set(SHELLS) <= set(shtab.SUPPORTED_SHELLS)
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit) as stop:
        run("--print-completion", "zsh")
    assert stop.value.code == 1
    assert capsys.readouterr().err == "lightendiff: completion needs shtab: pip install 'lightendiff[completion]'\n"


def test_errors_take_one_line_and_a_traceback_only_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"lightendiff info: {tmp_path / 'none'}: no such file or folder\n"
    assert run("info", tmp_path / "none") == 1
    assert capsys.readouterr().err == line
    assert run("info", tmp_path / "none", "--debug") == 1
    told = capsys.readouterr().err
    assert told.startswith("Traceback")
    assert told.endswith(line)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.png"), "a.png: No such file or directory"),
        (OSError("disk on fire"), "disk on fire"),
        (ValueError("steps: expected 1\nor more"), "steps: expected 1"),
        (KeyError("a"), "KeyError: 'a' (--debug shows where)"),
        (RuntimeError(), "RuntimeError:  (--debug shows where)"),
    ],
)
def test_one_line(error: Exception, line: str) -> None:
    assert main.one_line(error) == line


def test_an_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(load, "read_weights", interrupt)
    assert run("info") == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_command_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert wrong(capsys) == "lightendiff: the following arguments are required: COMMAND (see lightendiff --help)"
    assert "invalid choice: 'restor'" in wrong(capsys, "restor")


# ---- restore


class Pipe:
    """Standard input with some content, and a standard output that is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, content: bytes = b"") -> None:
        self.written = io.BytesIO()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        self.stdout = io.TextIOWrapper(self.written, write_through=True)
        monkeypatch.setattr(sys, "stdout", self.stdout)


class Doubling:
    """Takes the pipeline's place."""

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return pixels * 2

    def check(self, max_pixels: int) -> Callable[[int, int], None]:
        return lambda height, width: None


@pytest.fixture
def doubling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightendiff.cli.restore.load_restore", lambda args, error: Doubling())


def test_restore_is_the_same_as_the_script(tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "in" / "a.png")
    options = ["--weights", weights, *CPU, "--seed", 3]
    assert run("restore", tmp_path / "in", "-o", tmp_path / "one", *options) == 0
    assert restore_main([str(a) for a in (tmp_path / "in", "-o", tmp_path / "two", *options)]) == 0
    assert (tmp_path / "one" / "a.png").read_bytes() == (tmp_path / "two" / "a.png").read_bytes()
    assert [line[:21] for line in capsys.readouterr().out.splitlines()] == ["1 restored, 0 skipped"] * 2


def test_through_pipes(tmp_path: Path, weights: Path) -> None:
    """The real thing, in processes of its own: what comes out is a picture and nothing else."""
    photo = save(tmp_path / "a.png")
    options = ["--weights", str(weights), *CPU]
    assert run("restore", photo, "-o", tmp_path / "out", *options) == 0
    words = [sys.executable, "-m", "lightendiff", "restore", "-", "-o", "-", *options]
    result = subprocess.run(words, input=photo.read_bytes(), capture_output=True, cwd=ROOT)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout == (tmp_path / "out" / "a.png").read_bytes()


@pytest.mark.parametrize(("extension", "format"), [("jpg", None), ("png", "webp"), ("tif", None), ("heic", None)])
def test_standard_output_has_the_format_of_the_input_or_another(
    extension: str, format: str | None, tmp_path: Path, doubling: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = save(tmp_path / f"a.{extension}", 30)
    pipe = Pipe(monkeypatch, photo.read_bytes())
    assert run("restore", "-", "-o", "-", *(["--format", format] if format else [])) == 0
    (tmp_path / "result").write_bytes(pipe.written.getvalue())
    picture = read_picture(tmp_path / "result")
    assert picture.format == {"jpg": "JPEG", "tif": "TIFF", "png": "WEBP", "heic": "HEIF"}[extension]
    assert abs(picture.pixels.astype(int) - 60).max() <= 2  # as near as lossy formats come to a flat grey


def test_one_end_of_the_pipe(tmp_path: Path, doubling: None, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = save(tmp_path / "a.png")
    expected = read_picture(photo).pixels * 2
    pipe = Pipe(monkeypatch, photo.read_bytes())
    assert run("restore", photo, "-o", "-", "--compare") == 0
    (tmp_path / "result.png").write_bytes(pipe.written.getvalue())
    np.testing.assert_array_equal(read_picture(tmp_path / "result.png").pixels[:, 32:], expected)
    assert run("restore", "-", "-o", tmp_path / "out", "--suffix", "_lit") == 0
    np.testing.assert_array_equal(read_picture(tmp_path / "out" / "stdin_lit.png").pixels, expected)
    (tmp_path / "out" / "stdin.webp").write_bytes(b"mine")
    sys.stdin = io.TextIOWrapper(io.BytesIO(photo.read_bytes()))
    assert run("restore", "-", "-o", tmp_path / "out", "--format", "webp", "--skip-existing") == 0
    assert (tmp_path / "out" / "stdin.webp").read_bytes() == b"mine"


def test_what_comes_from_a_file_does_not_replace_it(
    tmp_path: Path, doubling: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = save(tmp_path / "stdin.png")
    before = photo.read_bytes()
    with open(photo) as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert run("restore", "-", "-o", tmp_path) == 1
    assert f"failed: {photo}: expected another file than the input, which is never" in capsys.readouterr().err
    assert photo.read_bytes() == before
    with open(photo) as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert run("restore", "-", "-o", tmp_path, "--suffix", "_lit") == 0
    assert (tmp_path / "stdin_lit.png").exists()


def test_from_a_pipe_to_an_address(doubling: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")
    photo = save(tmp_path / "a.png")
    Pipe(monkeypatch, photo.read_bytes())
    assert run("restore", "-", "-o", "memory://from-a-pipe/out") == 0
    (tmp_path / "result.png").write_bytes(fsspec.filesystem("memory").cat("/from-a-pipe/out/stdin.png"))
    np.testing.assert_array_equal(read_picture(tmp_path / "result.png").pixels, read_picture(photo).pixels * 2)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "failed: standard input: the file is empty"),
        (b"text", "failed: standard input: not a PNG, JPEG, WebP, HEIC, AVIF, TIFF, BMP or GIF image"),
    ],
)
def test_what_comes_through_a_pipe_may_be_no_picture(
    content: bytes, line: str, doubling: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = Pipe(monkeypatch, content)
    assert run("restore", "-", "-o", "-") == 1
    assert pipe.written.getvalue() == b""
    assert capsys.readouterr().err == line + "\n"


def test_wrong_arguments_of_pipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = save(tmp_path / "a.png")
    assert wrong(capsys, "restore", "-", photo, "-o", "-").endswith("INPUT -: expected a single INPUT, got 2")
    assert wrong(capsys, "restore", photo, photo, "-o", "-").endswith("-o -: expected a single INPUT, got 2")
    assert wrong(capsys, "restore", tmp_path, "-o", "-").endswith(f"{tmp_path} is a folder")
    pipe = Pipe(monkeypatch)
    monkeypatch.setattr(pipe.stdout, "isatty", lambda: True, raising=False)
    assert "standard output, which is a terminal" in wrong(capsys, "restore", photo, "-o", "-")


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom lightendiff.cli import restore\nfrom lightendiff.cli.main import main\n"
        "class Restore:\n    def __call__(self, pixels): return pixels\n"
        "    def check(self, max_pixels): return lambda height, width: None\n"
        "restore.load_restore = lambda args, error: Restore()\n"
        f"sys.exit(main(['restore', {str(save(tmp_path / 'a.bmp', size=(400, 400)))!r}, '-o', '-']))"
    )
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (result.returncode, result.stderr) == (
        1,
        f"failed: {tmp_path / 'a.bmp'}: BrokenPipeError: [Errno 32] Broken pipe\n",
    )


# ---- evaluate


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Flat greys: results 10, 20 and 40 too dark, of references of 100, 120 and 140."""
    for stem, (value, wanted) in {"a": (90, 100), "b": (100, 120), "c": (100, 140)}.items():
        save(tmp_path / "dark" / f"{stem}.png", value)
        save(tmp_path / "high" / f"{stem}.bmp", wanted)
    return tmp_path


def psnr_of(difference: float) -> float:
    return 20 * math.log10(255 / difference)


def test_evaluate_as_is(pairs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual.importlib.util, "find_spec", without("pyiqa"))
    files = ["--csv", pairs / "new" / "figures.csv", "--sheet", pairs / "new" / "sheet.png"]
    assert run("evaluate", pairs / "dark", pairs / "high", "--as-is", *files) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    with open(pairs / "new" / "figures.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["picture"] for row in rows] == ["a.png", "b.png", "c.png"]
    for row, difference in zip(rows, (10, 20, 40), strict=True):
        assert float(row["psnr"]) == pytest.approx(psnr_of(difference), abs=1e-4)
        assert row["psnr_brightness_matched"] == "inf"  # a flat picture is its reference once as bright
        assert float(row["ssim_brightness_matched"]) == pytest.approx(1.0, abs=1e-3)  # of no texture at all
    lines = printed.out.splitlines()
    assert lines[0] == "3 pairs, compared as they are"
    assert lines[2].startswith("|  | PSNR | SSIM |")
    assert lines[4].startswith(f"| plain | {np.mean([psnr_of(d) for d in (10, 20, 40)]):.2f} | ")
    assert lines[5].startswith("| brightness-matched | inf | ")
    assert read_picture(pairs / "new" / "sheet.png").pixels.shape[1] == 2 * 488 + 8


def test_figures_are_printed_whatever_the_code_page_and_before_the_sheet(pairs: Path, tmp_path: Path) -> None:
    words = ["evaluate", pairs / "dark", pairs / "high", "--as-is", "--sheet", tmp_path / "dark.png" / "sheet.heic"]
    (tmp_path / "dark.png").touch()  # no folder, so that the sheet can't be written
    done = subprocess.run(
        [sys.executable, "-m", "lightendiff", *map(str, words)],
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        encoding="cp1252",
    )
    assert done.returncode == 1
    assert "| plain | " in done.stdout


def test_evaluate_restores(pairs: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lightendiff import LightenPipeline

    dark, high, table = pairs / "dark" / "b.png", pairs / "high" / "b.bmp", pairs / "figures.csv"
    options = ["--weights", weights, *CPU, "--steps", 1, "--strength", 0.5]
    assert run("evaluate", dark, high, *options, "--csv", table, "--sheet", pairs / "sheet.jpg") == 0
    pipe = LightenPipeline.from_pretrained(weights, device="cpu", dtype=torch.float32)
    output = pipe(read_picture(dark).pixels, num_inference_steps=1, strength=0.5)
    expected = ev.measure(output, read_picture(high).pixels)
    with open(table, newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["psnr"]) == pytest.approx(expected.psnr, abs=1e-4)
    assert float(row["ssim"]) == pytest.approx(expected.ssim, abs=1e-4)
    assert float(row["psnr_brightness_matched"]) == pytest.approx(expected.matched_psnr, abs=1e-3)
    assert capsys.readouterr().out.startswith(f"1 pair, restored with {weights}, ")
    assert read_picture(pairs / "sheet.jpg").pixels.shape[1] == 3 * 488 + 8


def test_brightness_matched_picture() -> None:
    rng = np.random.default_rng(0)
    picture, reference = (rng.integers(0, high, (12, 16, 3), dtype=np.uint8) for high in (60, 200))
    matched = ev.at_brightness_of(reference, picture)
    expected = (picture * (reference.mean() / picture.mean())).clip(0, 255)
    assert abs(matched - expected).max() <= 0.5 + 1e-3
    x, y = (torch.from_numpy(p).permute(2, 0, 1)[None] / 255 for p in (picture, reference))
    assert ev.measure(matched, reference).psnr == pytest.approx(
        metrics.psnr(metrics.brightness_matched(x, y), y).item()
    )


def without(name: str) -> Callable[[str], object]:
    """`importlib.util.find_spec` where that package isn't installed."""
    find_spec = importlib.util.find_spec
    return lambda wanted, *rest: None if wanted == name else find_spec(wanted, *rest)


def test_optional_packages_are_left_out(
    pairs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None)
    assert run("evaluate", pairs / "dark", pairs / "high", "--as-is", "--csv", pairs / "figures.csv") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[2] == "|  | PSNR | SSIM |"
    assert "note: ΔE is left out" in err
    with open(pairs / "figures.csv", newline="") as file:
        assert {row["delta_e"] for row in csv.DictReader(file)} == {""}


class FakeMetric:
    """In pyiqa's place: LPIPS is the mean difference, NIQE the mean, which it refuses to tell of brighter pictures."""

    def __call__(self, output: torch.Tensor, reference: torch.Tensor | None = None) -> torch.Tensor:
        assert output.ndim == 4
        assert output.max() <= 1
        if reference is None:
            if output.min() > 0.38:  # more than 97 / 255
                raise ValueError("too bright")
            return output.mean()
        return (output - reference).abs().mean()


def test_perceptual_figures(pairs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("pyiqa")
    module.__spec__ = importlib.machinery.ModuleSpec("pyiqa", None)
    vars(module)["create_metric"] = lambda name, device: FakeMetric()
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    assert run("evaluate", pairs / "dark", pairs / "high", "--as-is", "--csv", pairs / "figures.csv") == 0
    with open(pairs / "figures.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["lpips"]) for row in rows] == pytest.approx([d / 255 for d in (10, 20, 40)], abs=1e-5)
    assert [float(row["lpips_brightness_matched"]) for row in rows] == [0, 0, 0]
    assert [row["niqe"] for row in rows] == ["0.352941", "", ""]
    lines = capsys.readouterr().out.splitlines()
    head, plain, matched = (lines[i].split(" | ") for i in (2, 4, 5))
    assert head[-1] == "LPIPS |"  # a mean over some of the pictures isn't shown
    assert (plain[-1], matched[-1]) == (f"{70 / 3 / 255:.3f} |", "0.000 |")


def test_a_metric_without_its_weights(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def create(name: str, device: torch.device) -> FakeMetric:
        if name == "niqe":
            raise OSError("no route to host")
        return FakeMetric()

    module = ModuleType("pyiqa")
    module.__spec__ = importlib.machinery.ModuleSpec("pyiqa", None)
    vars(module)["create_metric"] = create
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    said: list[str] = []
    assert list(perceptual.perceptual_measures(torch.device("cpu"), said.append)) == ["lpips"]
    assert said == ["note: NIQE is left out: OSError: no route to host"]


def test_pairs_that_do_not_match(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*arguments: object) -> str:
        assert run("evaluate", *arguments, "--as-is") == 1
        line = capsys.readouterr().err
        assert line.startswith("lightendiff evaluate: ")
        assert line.count("\n") == 1
        return line

    dark, high = pairs / "dark", pairs / "high"
    assert f"{dark} is a folder and {high / 'a.bmp'} a file" in told(dark, high / "a.bmp")
    assert f"{pairs / 'none'}: no such file or folder" in told(pairs / "none", high)
    alone = save(dark / "d.png", 10)
    assert f"1 files without a partner of the same stem: {alone}" in told(dark, high)
    larger = save(high / "d.png", 10, size=(24, 40))
    assert f"{alone} is 32×24 but {larger} 40×24" in told(dark, high)
    assert f"{alone} is 32×24 but {larger} 40×24" in told(alone, larger)
    small = [save(pairs / name, 10, size=(8, 8)) for name in ("small.png", "wanted.png")]
    assert f"{small[0]} → {small[1]}: target: expected at least 11×11 pixels" in told(*small)


def test_evaluate_several_sets(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split, folder in (("eval15", "low"), ("eval15", "high")):
        save(pairs / "lol" / split / folder / "1.png", 100 if folder == "low" else 110)
    table = pairs / "figures.csv"
    words = [f"lol_v1:{pairs / 'lol'}", pairs / "dark", pairs / "high", "--as-is", "--csv", table]
    assert run("evaluate", *words) == 0
    how, _, head, _, first, second = capsys.readouterr().out.splitlines()
    assert how == "compared as they are"
    assert head.startswith("| set | pairs | PSNR | SSIM |")
    assert "| GT-mean PSNR | GT-mean SSIM |" in head
    assert first.startswith(f"| lol_v1 | 1 | {psnr_of(10):.2f} | ")
    mean = sum(map(psnr_of, (10, 20, 40))) / 3
    assert second.startswith(f"| {pairs / 'dark'} | 3 | {mean:.2f} | ")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["set"], row["picture"]) for row in rows][:2] == [("lol_v1", "1.png"), (str(pairs / "dark"), "a.png")]


def test_evaluate_names_published_sets() -> None:
    assert tuple(LAYOUTS) == cli_evaluate.LAYOUTS


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dark"], "dark: expected a REFERENCE after it, or LAYOUT:FOLDER with one of lol_v1, "),
        (["dark", "high", "dark", "high"], "dark: expected each set once, got it twice"),
        (["dark", "high", "other", "high", "--sheet", "s.png"], "argument --sheet: expected one set, got 2"),
    ],
)
def test_wrong_sets(
    words: list[str], message: str, pairs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pairs)
    shutil.copytree("dark", "other")
    assert message in wrong(capsys, "evaluate", *words, "--as-is")


def test_wrong_arguments_of_evaluate(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ["evaluate", pairs / "dark", pairs / "high"]
    assert "argument --sheet: expected a name that ends in" in wrong(capsys, *folders, "--sheet", "sheet.gif")
    assert "--as-is restores nothing" in wrong(capsys, *folders, "--as-is", "--weights", "w")
    before = (pairs / "dark" / "a.png").read_bytes()
    assert "one of the pictures that are compared" in wrong(capsys, *folders, "--sheet", pairs / "dark" / "a.png")
    assert (pairs / "dark" / "a.png").read_bytes() == before


# ---- convert and info


@pytest.fixture(scope="module")
def trained(load_script: Callable[[Path], ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of train.py of two steps, whose configuration asks for 3 sampling steps."""
    folder = tmp_path_factory.mktemp("trained")
    content = yaml.safe_load((ROOT / "configs" / "smoke_stage1.yaml").read_text())
    (checkpoint,) = (c for c in content["trainer"]["callbacks"] if c["class_path"].endswith("ModelCheckpoint"))
    checkpoint["init_args"]["every_n_train_steps"] = 2
    content["trainer"] |= {"max_steps": 2, "enable_progress_bar": False, "num_sanity_val_steps": 0}
    content["data"] |= {"batch_size": 2, "crop": [32, 32], "steps_per_epoch": 2}
    content["model"]["init_args"]["num_inference_steps"] = 3
    (folder / "short.yaml").write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        load_script(ROOT / "train.py").main(["fit", "--config", "short.yaml"])
    return folder / "runs" / "smoke_stage1"


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inference folder with a new network of the preset paper."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("paper")
    save_restorer(Restorer(PRESETS["paper"]), folder)
    return folder


def test_convert_a_checkpoint_of_a_training(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", trained / "last.ckpt", tmp_path / "whole") == 0
    averaged = load_restorer(trained / "export")  # by the callback that averages the weights
    converted = load_restorer(tmp_path / "whole")
    assert same_weights(converted, averaged)
    assert converted.config == averaged.config
    assert converted.config.num_inference_steps == 3
    size = sum((tmp_path / "whole" / name).stat().st_size for name in FOLDER) / 1e6
    expected = f"checkpoint of train.py, step 2, averaged weights → {tmp_path / 'whole'}: {size:.1f} MB\n"
    assert capsys.readouterr().out == expected
    assert run("convert", trained / "last.ckpt", tmp_path / "half", "--half") == 0
    for name, tensor in load_restorer(tmp_path / "half").state_dict().items():
        assert torch.equal(tensor, averaged.state_dict()[name].half().float())


def test_the_runs_configuration_may_be_missing_or_another(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "moved.ckpt").write_bytes((trained / "last.ckpt").read_bytes())
    assert load.read_weights(tmp_path / "moved.ckpt").restorer.config == PRESETS["tiny"]
    (tmp_path / "config.yaml").write_text("- a list")
    with pytest.raises(CheckpointError, match=r"config\.yaml: not the configuration of a run"):
        load.read_weights(tmp_path / "moved.ckpt")


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("sprung",)


def test_no_code_in_a_checkpoint_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"pytorch-lightning_version": "2.6", "state_dict": {"restorer.a": torch.ones(1)}, "callbacks": Trap()}
    torch.save(content, tmp_path / "trap.ckpt")
    for words in (["convert", "trap.ckpt", "out"], ["info", "trap.ckpt"]):
        assert run(*words) == 1
        assert "trap.ckpt: refused, because it refers to posix.mkdir" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["trap.ckpt"]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "it has no state_dict of tensors"),
        ({"generator.weight": torch.ones(1)}, "no tensor's name in it begins with restorer."),
        ({"restorer.unet.conv_in.weight": torch.ones(1)}, "tensors don't fit the network"),
    ],
)
def test_checkpoints_of_other_programs(state: object, message: str, tmp_path: Path) -> None:
    torch.save({"pytorch-lightning_version": "2.6", "state_dict": state}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=message):
        load.read_weights(tmp_path / "other.ckpt")


def test_convert_into_the_published_layout_and_back(
    paper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "stage2_weight.pth.tar"
    assert run("convert", paper, file) == 0
    content = torch.load(file, weights_only=True)
    original = load_restorer(paper)
    expected = {f"module.{published_name(name)}": tensor for name, tensor in original.state_dict().items()}
    assert content.keys() == {"step", "epoch", "state_dict"}
    assert content["state_dict"].keys() == expected.keys()
    assert all(torch.equal(content["state_dict"][name], tensor) for name, tensor in expected.items())
    assert run("convert", file, tmp_path / "again") == 0
    assert same_weights(load_restorer(tmp_path / "again"), original)
    assert capsys.readouterr().out.splitlines()[1].startswith(f"published checkpoint → {tmp_path / 'again'}: ")
    assert run("info", file) == 0
    printed = capsys.readouterr().out
    assert "architecture  paper, preset paper\n" in printed
    unet, model = (sum(p.numel() for p in part.parameters()) / 1e6 for part in (original.unet, original.model))
    assert f"parameters    {unet + model:.2f} M: {unet:.2f} M UNet, {model:.2f} M encoder" in printed
    assert f"stored in     float32; {file.stat().st_size / 1e6:.1f} MB\n" in printed


def test_what_convert_refuses(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert wrong(capsys, "convert", weights, "a.pth.tar", "--half").endswith("--half: the published layout is float32")
    assert run("convert", weights, tmp_path / "a.pth.tar") == 1
    assert (
        "expected the preset paper, which the published layout is for, got the preset tiny" in capsys.readouterr().err
    )
    before = {name: (weights / name).read_bytes() for name in FOLDER}
    assert run("convert", weights, weights, "--half") == 1
    assert f"{weights / 'config.json'}: exists already; nothing is replaced" in capsys.readouterr().err
    assert {name: (weights / name).read_bytes() for name in FOLDER} == before
    (tmp_path / "text.ckpt").write_text("text")
    assert run("convert", tmp_path / "text.ckpt", tmp_path / "out") == 1
    assert "text.ckpt: damaged, cut short, or not a checkpoint at all" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_weights_of_the_hub(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = importlib.import_module("lightendiff.weights.hub")
    monkeypatch.setattr(hub, "download", lambda name: {"somebody/weights": weights}[name])
    assert run("convert", "somebody/weights", tmp_path / "half", "--half") == 0
    assert run("info", "somebody/weights") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"inference folder → {tmp_path / 'half'}: ")
    assert printed[1] == f"weights       {weights / FOLDER[1]}"


def test_info_of_the_shipped_weights(capsys: pytest.CaptureFixture[str]) -> None:
    from lightendiff.pipeline import SHIPPED_WEIGHTS

    if not (SHIPPED_WEIGHTS / FOLDER[0]).is_file():
        pytest.skip("this copy came without weights")
    restorer = load_restorer(SHIPPED_WEIGHTS)
    assert run("info") == 0
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    values = {name: value.strip() for name, value in lines.items()}
    assert values["weights"] == f"{SHIPPED_WEIGHTS / FOLDER[1]}, which come with the package"
    assert values["described in"] == str(SHIPPED_WEIGHTS / "README.md")
    assert values["licence"] == f"weights: research use: {SHIPPED_WEIGHTS / 'LICENSE'}"
    assert values["architecture"] == "lean, preset default"
    assert values["parameters"].startswith(f"{sum(p.numel() for p in restorer.parameters()) / 1e6:.2f} M: ")
    assert values["stored in"].startswith("float16; ")
    assert values["sampling"] == "2 steps, from pure noise"
    assert values["scheduler"] == (
        "DDIM, predicts x₀, trailing timesteps of 1000, β scaled_linear from 0.00085 to 0.012, "
        "rescaled to zero terminal SNR"
    )


# ---- the commands that call what others made


def recorded(module: str, name: str, monkeypatch: pytest.MonkeyPatch) -> list[inspect.BoundArguments]:
    """Puts a record of calls in a function's place; calls that the function itself wouldn't take fail."""
    place = importlib.import_module(f"lightendiff.{module}")
    signature = inspect.signature(getattr(place, name))
    calls: list[inspect.BoundArguments] = []
    monkeypatch.setattr(place, name, lambda *args, **options: calls.append(signature.bind(*args, **options)))
    return calls


def test_app_takes_its_options(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = recorded("app.server", "launch", monkeypatch)
    assert run("app", "--weights", weights, *CPU) == 0
    assert (
        run("app", "--weights", weights, *CPU, "--host", "0.0.0.0", "--port", 80, "--max-megapixels", 5, "--share") == 0
    )
    given = [{name: value for name, value in call.arguments.items() if name != "pipe"} for call in calls]
    usual = {"allow_hosts": [], "browser": True, "footer": ""}
    assert given[0] == usual | {"host": "127.0.0.1", "port": 7860, "share": False}
    assert given[1] == usual | {"host": "0.0.0.0", "port": 80, "share": True, "max_megapixels": 5.0}
    assert same_weights(calls[0].arguments["pipe"]().restorer, load_restorer(weights))


def test_the_apps_footer_says_what_its_weights_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = recorded("app.server", "launch", monkeypatch)
    assert run("app", *CPU) == 0
    assert calls[0].arguments["footer"] == "weights: research use"


def test_train_gives_what_train_py_does(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("train", "fit", "--config", trained.parents[1] / "short.yaml") == 0
    same = tmp_path / "runs" / "smoke_stage1" / "last.ckpt"
    assert same_weights(load.read_weights(same).restorer, load.read_weights(trained / "last.ckpt").restorer)


def test_wrong_arguments_of_train(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--no-such-option" in wrong(capsys, "train", "fit", "--no-such-option")
    assert 'expected "subcommand" to be one of {fit,' in wrong(capsys, "train")


def test_export_takes_its_options(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = recorded("integrations.export", "export", monkeypatch)
    (tmp_path / "a.pt2").write_bytes(bytes(250_000))  # what the record of calls doesn't write
    words = ["export", tmp_path / "a.pt2", "--format", "torch-export", "--steps", 3, "--weights", weights]
    assert run(*words) == 0
    model, *rest = calls[0].arguments.values()
    assert rest == [str(tmp_path / "a.pt2"), "torch-export", 3]
    assert same_weights(model.restorer, load_restorer(weights))
    assert capsys.readouterr().out == f"{tmp_path / 'a.pt2'}: 0.2 MB\n"


def test_video_takes_its_options(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av")
    video = importlib.import_module("lightendiff.video.restore")
    signature = inspect.signature(video.restore_video)
    calls: list[dict[str, Any]] = []

    def fake(*args: Any, **options: Any) -> Any:
        calls.append(signature.bind(*args, **options).arguments)
        options["progress"](1, 3)
        return video.VideoSummary(frames=3, resumed=1, seconds=2.0, notes=["no sound"])

    monkeypatch.setattr(video, "restore_video", fake)
    assert run("video", "a.mp4", "b.mp4", "--weights", weights, *CPU) == 0
    printed = capsys.readouterr()
    assert printed.out == "2 frames restored in 2.0 s (1.00 frames/s), 1 by an earlier run\n"
    assert printed.err.endswith("note: no sound\n")
    options = {"--steps": 1, "--strength": 0.5, "--exposure": -1, "--seed": 4, "--smoothing": 2}
    words = [word for pair in options.items() for word in pair]
    assert run("video", "a.mp4", "b.mp4", "--weights", weights, *CPU, "--resume", *words) == 0
    for call in calls:
        assert same_weights(call.pop("pipe").restorer, load_restorer(weights))
        del call["progress"]
    names = {"source": "a.mp4", "target": "b.mp4", "max_pixels": MAX_FRAME}
    assert calls[0] == names | {"resume": False, "seed": 0}
    chosen = {"num_inference_steps": 1, "strength": 0.5, "exposure": -1.0, "seed": 4, "smoothing": 2.0}
    assert calls[1] == names | {"resume": True} | chosen


def test_an_interrupted_video_says_how_to_go_on(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av")

    def interrupt(*args: Any, **options: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(importlib.import_module("lightendiff.video.restore"), "restore_video", interrupt)
    assert run("video", "a.mp4", "b.mp4", "--weights", weights, *CPU) == 128 + signal.SIGTERM
    assert "--resume goes on from there\ninterrupted\n" in capsys.readouterr().err


def test_missing_extras_are_named(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert run("app", "--weights", weights, *CPU) == 1
    assert capsys.readouterr().err.endswith("pip install 'lightendiff[app]'\n")


def test_folders_are_told_on_the_command_line(tmp_path, weights, capsys):
    from PIL import Image

    from lightendiff.cli.restore import main

    (tmp_path / "in" / "sub").mkdir(parents=True)
    Image.new("RGB", (64, 64), (9, 9, 9)).save(tmp_path / "in" / "a.png")
    for name in ("b.jxl", "c.tga", "d.mp4"):
        (tmp_path / "in" / name).write_bytes(b"content")
    assert main([str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--weights", str(weights)]) == 0
    assert (
        "left out: 1 folder (entered with --recursive); 1 video (restored by `lightendiff video`); 2 other files"
        in capsys.readouterr().err
    )
