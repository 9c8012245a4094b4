from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
from forks import Fork, Forks

from lightendiff import images
from lightendiff.cli.arguments import FORMATS
from lightendiff.cli.restore import main
from lightendiff.images import Picture, read_picture, write_picture

ROOT = Path(__file__).parent.parent
SCRIPT = [sys.executable, str(ROOT / "infer.py")]


def save(path: Path, size: tuple[int, int] = (20, 28), dtype: type = np.uint8, channels: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name))
    values = rng.integers(0, np.iinfo(dtype).max // 8, (*size, channels), dtype=dtype)
    write_picture(path, Picture(values))
    return path


class FakePipeline:
    """Doubles every value, and keeps a record of what it was asked for."""

    calls: list[dict] = []  # noqa: RUF012
    loaded: list[dict] = []  # noqa: RUF012

    @classmethod
    def from_pretrained(cls, path=None, device=None, dtype=None):
        if path == "broken":
            raise ValueError("weights of another kind")
        cls.loaded.append({"path": path, "device": device, "dtype": dtype})
        return cls()

    def bind(self, *, progress=None, **options):
        return FakeBound(self, options)

    def restore(self, array, **options):
        self.calls.append(options)
        return array * 2


class FakeBound(NamedTuple):
    pipe: FakePipeline
    options: dict
    many: None = None

    def check(self, max_pixels):
        return lambda height, width: None

    def __call__(self, array):
        return self.pipe.restore(array, **self.options)


@pytest.fixture
def fake(monkeypatch):
    module = ModuleType("lightendiff.pipeline")
    vars(module)["LightenPipeline"] = FakePipeline
    monkeypatch.setitem(sys.modules, "lightendiff.pipeline", module)
    monkeypatch.setattr(FakePipeline, "calls", [])
    monkeypatch.setattr(FakePipeline, "loaded", [])
    return FakePipeline


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_a_folder(tmp_path, fake, capsys):
    for name in ("a.png", "b.tif", "sub/c.jpg"):
        save(tmp_path / "in" / name)
    assert run(tmp_path / "in", "-o", tmp_path / "out", "--recursive") == 0
    output = capsys.readouterr()
    assert output.out.startswith("3 restored, 0 skipped, 0 failed in ")
    assert output.err == ""  # no progress bar where nobody watches
    dark, light = (read_picture(tmp_path / folder / "a.png").pixels for folder in ("in", "out"))
    np.testing.assert_array_equal(light, dark * 2)
    assert (tmp_path / "out" / "sub" / "c.jpg").exists()
    assert fake.calls == [{"seed": 0}] * 3
    assert fake.loaded == [{"path": None, "device": None, "dtype": None}]


def test_options_reach_the_pipeline_and_the_files(tmp_path, fake):
    import torch

    photo = save(tmp_path / "a.png", dtype=np.uint16)
    options = ["--steps", 3, "--strength", 0.5, "--seed", 7, "--device", "cpu", "--dtype", "float32", "--weights", "w"]
    options += ["--max-memory", 1.5]
    files = ["--format", "webp", "--quality", 80, "--suffix", "_lit", "--compare"]
    assert run(photo, "-o", tmp_path / "out", *options, *files) == 0
    assert fake.calls == [{"num_inference_steps": 3, "strength": 0.5, "seed": 7, "max_memory": 1.5}]
    assert fake.loaded == [{"path": "w", "device": "cpu", "dtype": torch.float32}]
    picture = read_picture(tmp_path / "out" / "a_lit_compare.webp")
    assert (picture.format, picture.pixels.shape) == ("WEBP", (20, 56, 3))


def test_addresses(tmp_path, fake, capsys):
    pytest.importorskip("fsspec").filesystem("memory").store.clear()
    for name in ("a.png", "sub/b.tif"):
        save(tmp_path / "in" / name)
    assert run(tmp_path / "in", "-o", "memory://up", "--recursive") == 0
    assert run("memory://up", "-o", f"file://{tmp_path}/down", "--recursive", "--skip-existing") == 0
    assert run("memory://up", "-o", "memory://again", "-r") == 0
    assert run("memory://up", "-o", "memory://again", "-r", "--skip-existing") == 0
    assert run("memory://up", "memory://none", "-o", "memory://up", "-r") == 1
    output = capsys.readouterr()
    assert [line.split(" in ")[0] for line in output.out.splitlines()] == [
        *["2 restored, 0 skipped, 0 failed"] * 3, "0 restored, 2 skipped, 0 failed", "0 restored, 0 skipped, 3 failed",
    ]  # fmt: skip
    assert output.err.count("would overwrite an input") == 2
    assert "failed: memory://none: No such file or directory" in output.err
    for name in ("a.png", "sub/b.tif"):
        dark = read_picture(tmp_path / "in" / name).pixels
        np.testing.assert_array_equal(read_picture(f"memory://up/{name}").pixels, dark * 2)
        np.testing.assert_array_equal(read_picture(tmp_path / "down" / name).pixels, dark * 4)


def test_failures_are_one_line_each_and_the_rest_goes_on(tmp_path, fake, capsys):
    save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_text("text")
    (tmp_path / "in" / "c.png").write_bytes(b"")
    bad = tmp_path / "none.png"
    assert run(tmp_path / "in", bad, "-o", tmp_path / "out") == 1
    output = capsys.readouterr()
    assert output.err.splitlines() == [
        f"failed: {bad}: No such file or directory",
        f"failed: {tmp_path / 'in' / 'b.png'}: not a PNG, JPEG, WebP, HEIC, AVIF, TIFF, BMP or GIF image",
        f"failed: {tmp_path / 'in' / 'c.png'}: the file is empty",
    ]
    assert output.out.startswith("1 restored, 0 skipped, 3 failed")


def test_a_failed_picture_does_not_end_the_other_processes_of_torchrun(tmp_path, fake, capsys, monkeypatch):
    save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 0
    assert capsys.readouterr().out.startswith("1 restored, 0 skipped, 1 failed")


def test_skip_existing(tmp_path, fake, capsys):
    save(tmp_path / "in" / "a.png")
    save(tmp_path / "in" / "b.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_bytes(b"mine")
    assert run(tmp_path / "in", "-o", tmp_path / "out", "--skip-existing") == 0
    assert capsys.readouterr().out.startswith("1 restored, 1 skipped, 0 failed")
    assert (tmp_path / "out" / "a.png").read_bytes() == b"mine"
    assert run(tmp_path / "in", "-o", tmp_path / "out", "--skip-existing") == 0
    assert capsys.readouterr().out.startswith("0 restored, 2 skipped, 0 failed")
    assert len(fake.loaded) == 1  # the weights aren't loaded for nothing


def test_inputs_are_safe(tmp_path, fake, capsys):
    photo = save(tmp_path / "a.png")
    before = photo.read_bytes()
    assert run(photo, "-o", tmp_path) == 1
    assert run(tmp_path, "-o", f"{tmp_path}/./") == 1
    assert photo.read_bytes() == before
    assert capsys.readouterr().err.count("would overwrite an input") == 2
    assert fake.loaded == []


def test_notes_are_told_once(tmp_path, fake, capsys):
    for name in ("a.png", "b.png", "c.png"):
        save(tmp_path / "in" / name, dtype=np.uint16)
    assert run(tmp_path / "in", "-o", tmp_path / "out", "--format", "jpg") == 0
    assert capsys.readouterr().err.splitlines() == [
        f"note: JPEG holds 8 bit: 16 bit is rounded: {tmp_path / 'in' / 'a.png'} and 2 more"
    ]


def test_the_limit_of_pixels_can_be_changed(tmp_path, fake, capsys):
    photo = save(tmp_path / "a.png")
    assert run(photo, "-o", tmp_path / "out", "--max-megapixels", 0.0001) == 1
    assert "more than the limit of 100 pixels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: INPUT (see infer.py --help)"),
        (["-"], "INPUT -: expected -o OUT beside it"),
        (["a.png", "-o", "out", "--quality", "101"], "expected a number from 1 to 100, got 101"),
        (["a.png", "-o", "out", "--strength", "nan"], "expected a number from 0 to 1, got nan"),
        (["a.png", "-o", "out", "--steps", "two"], "invalid number value: 'two'"),
        (["a.png", "-o", "out", "--suffix", "../x"], "expected a part of a file name, got '../x'"),
        (["a.png", "-o", "out", "--format", "gif"], "invalid choice: 'gif'"),
        (["a.png", "-o", "out", "--dtype", "int8"], "invalid choice: 'int8'"),
        (["a.png", "-o", "out", "--tile", "400", "--max-memory", "2"], "not allowed with argument --tile"),
        (["a.png", "-o", "out", "--max-memory", "-1"], "expected a number from 0 to 1e+06, got -1"),
        (["a.png", "-o", "nowhere://out"], "-o/--output: nowhere://out: Protocol not known: nowhere"),
        (["a.png", "b.png", "-o", "out.png"], "expected a folder, out.png looks like a picture's name"),
        (["a.png", "-o", "out.png", "--format", "JPG"], "expected a name of a jpg file, as --format says, got out.png"),
        ([str(ROOT / "infer.py"), "-o", str(ROOT / "infer.py")], "is not a folder"),
    ],
)
def test_wrong_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_weights_that_can_not_be_loaded(tmp_path, fake, capsys):
    with pytest.raises(SystemExit) as stop:
        run(save(tmp_path / "a.png"), "-o", tmp_path / "out", "--weights", "broken")
    assert stop.value.code == 2
    assert capsys.readouterr().err.endswith("cannot load broken: weights of another kind\n")


def test_an_interrupt_ends_with_a_summary(tmp_path, fake, monkeypatch, capsys):
    save(tmp_path / "in" / "a.png")
    save(tmp_path / "in" / "b.png")

    def interrupt(self, array, **options):
        os.kill(os.getpid(), number)
        time.sleep(5)

    monkeypatch.setattr(FakePipeline, "restore", interrupt)
    handler = signal.getsignal(signal.SIGTERM)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            assert run(tmp_path / "in", "-o", tmp_path / "out") == 128 + number
            assert capsys.readouterr().out.startswith("interrupted: 0 restored")
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.parametrize(
    ("option", "told"),
    [(("--tile", 8), "tile: expected an integer of at least "), (("--steps", 5000), "from 1 to 1000")],
)
def test_options_that_the_weights_can_not_do_are_refused_once(tmp_path, weights, capsys, option, told):
    save(tmp_path / "in" / "a.png")
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path / "in", "-o", tmp_path / "out", "--weights", weights, *option)
    errors = capsys.readouterr().err.splitlines()
    assert told in errors[-1]
    assert not any(line.startswith("failed") for line in errors)


def test_the_formats_offered_are_those_that_can_be_written():
    assert {f".{name}" for name in FORMATS} <= set(images.FORMATS)
    assert {images.FORMATS[f".{name}"] for name in FORMATS} == set(images.FORMATS.values())


def test_help_is_quick():
    code = (
        "import sys\nfrom lightendiff.cli.restore import main\n"
        "try:\n    main(['--help'])\nfinally:\n"
        "    print('LOADED', *[m for m in ('torch', 'numpy', 'PIL', 'cv2', 'tqdm') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "usage: infer.py" in result.stdout
    assert result.stdout.endswith("LOADED\n")


# ------------------------------------------------------------------------------------------------------ the real thing


def test_the_script_restores_a_folder(tmp_path, weights):
    for name, dtype, channels in (("a.png", np.uint8, 3), ("b.tif", np.uint16, 3), ("c.png", np.uint16, 1)):
        save(tmp_path / "in" / name, dtype=dtype, channels=channels)
    save(tmp_path / "in" / "tiny.jpg", size=(1, 1))
    (tmp_path / "in" / "d.png").write_text("text")
    options = ["--weights", weights, "--steps", "2", "--device", "cpu", "--dtype", "float32"]
    result = subprocess.run(
        [*SCRIPT, tmp_path / "in", "-o", tmp_path / "out", *options], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 1, result.stderr
    assert result.stdout.startswith("4 restored, 0 skipped, 1 failed")
    assert result.stderr.splitlines() == [
        f"failed: {tmp_path / 'in' / 'd.png'}: not a PNG, JPEG, WebP, HEIC, AVIF, TIFF, BMP or GIF image"
    ]
    for name in ("a.png", "b.tif", "c.png", "tiny.jpg"):
        dark, light = (read_picture(tmp_path / folder / name).pixels for folder in ("in", "out"))
        assert (light.shape, light.dtype) == (dark.shape, dark.dtype)


def test_same_seed_same_result_whatever_the_run(tmp_path, weights):
    for name in ("a.png", "b.png"):
        save(tmp_path / "in" / name, size=(16, 24))
    options = ["--weights", weights, "--device", "cpu", "--dtype", "float32", "--seed", 3]
    assert run(tmp_path / "in", "-o", tmp_path / "all", *options) == 0
    assert run(tmp_path / "in" / "b.png", "-o", tmp_path / "one", *options) == 0
    assert (tmp_path / "all" / "b.png").read_bytes() == (tmp_path / "one" / "b.png").read_bytes()
    shutil.rmtree(tmp_path / "one")
    assert run(tmp_path / "in" / "b.png", "-o", tmp_path / "one", *options, "--strength", 0) == 0
    dark, same = (read_picture(tmp_path / folder / "b.png").pixels for folder in ("in", "one"))
    np.testing.assert_array_equal(dark, same)


def test_pictures_restored_together_are_those_restored_alone(tmp_path, weights):
    import torch

    from lightendiff.batch.plan import plan
    from lightendiff.batch.run import restore_files
    from lightendiff.pipeline import LightenPipeline

    for number in range(5):
        save(tmp_path / "in" / f"{'x' * number + 'x'}.png", size=(16, 24), dtype=np.uint16)
    pipe, sizes = LightenPipeline.from_pretrained(weights, device="cpu", dtype=torch.float32), []

    def many(arrays):
        sizes.append(len(arrays))
        return pipe(arrays, batch_size=len(arrays), seed=3, eta=1.0)

    def alone(array):
        return pipe(array, seed=3, eta=1.0)

    for name, together in (("alone", None), ("together", many)):
        restore_files(plan([tmp_path / "in"], tmp_path / name).jobs, alone, many=together)
    assert sum(sizes) == 5
    assert max(sizes) > 1
    for path in (tmp_path / "alone").iterdir():
        one, other = (read_picture(tmp_path / name / path.name).pixels for name in ("alone", "together"))
        # but for rounding in another order; other noise would differ by thousands
        np.testing.assert_allclose(one, other, atol=8, rtol=0)


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    """Of a process that has imported everything, with one thread each."""
    imports = (
        "import sys, torch\nfrom lightendiff import pipeline\nfrom lightendiff.batch import plan, run\n"
        "from lightendiff.cli.restore import main\ntorch.set_num_threads(1)"
    )
    started = Forks(imports, "sys.exit(main(sys.argv[1:]))", tmp_path_factory.mktemp("forks"))
    yield started
    started.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_restore_every_picture_once(tmp_path, weights, forks, processes):
    names = [f"{i}.png" for i in range(7)]
    for name in names:
        save(tmp_path / "in" / name, size=(16, 24))
    options = ["--weights", weights, "--device", "cpu", "--dtype", "float32"]

    def start(rank: int) -> Fork:
        arguments = [tmp_path / "in", "-o", tmp_path / "out", "--skip-existing", *options]
        return forks.start(*arguments, RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=processes)

    # one process never runs, as if it had died at once: the others do their share, the next start the rest
    counts = []
    for run_again in (False, True):
        started = [start(rank) for rank in range(processes) if rank or run_again]
        codes = [process.wait() for process in started]
        assert codes == [0] * len(started), [process.errors.read_text() for process in started]
        outputs = [process.output.read_text() for process in started]
        counts.append([int(line.split(": ")[1].split()[0]) for line in outputs])
    assert sum(map(sum, counts)) == 7
    assert counts[1][0] == len(names[0::processes])
    assert sum(counts[1][1:]) == 0
    single = tmp_path / "single"
    assert run(tmp_path / "in", "-o", single, *options) == 0
    for name in names:
        assert np.array_equal(read_picture(single / name).pixels, read_picture(tmp_path / "out" / name).pixels)


@pytest.mark.parametrize(
    ("rank", "processes", "told"),
    [
        ("3", "3", "got RANK=3 WORLD_SIZE=3"),
        ("1", None, "got RANK=1 WORLD_SIZE=1"),
        ("-1", "2", "got RANK=-1 WORLD_SIZE=2"),
        ("sergeant", "2", "got RANK=sergeant WORLD_SIZE=2"),
        (None, "2", "got WORLD_SIZE=2 alone"),
    ],
)
def test_no_picture_is_lost_to_a_wrong_rank(tmp_path, fake, monkeypatch, capsys, rank, processes, told):
    save(tmp_path / "in" / "a.png")
    for name, value in (("RANK", rank), ("WORLD_SIZE", processes)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path / "in", "-o", tmp_path / "out")
    assert capsys.readouterr().err.splitlines()[-1].endswith(told)
    assert not (tmp_path / "out").exists()
