"""Where outputs go where no folder is named, and what is printed where nobody can read it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lightendiff.cli import main, outputs
from lightendiff.images import Picture, read_picture, write_picture

ROOT = Path(__file__).parents[1]
posix = pytest.mark.skipif(os.name != "posix", reason="shells of POSIX")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(path):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, Picture(np.random.default_rng(0).integers(2, 30, (20, 28, 3), dtype=np.uint8)))
    return str(path)


def run(weights, *arguments):
    return main.main([*map(str, arguments), "--weights", str(weights), "--device", "cpu"])


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_mistyped_file_is_missing_and_no_command(here, weights, capfd):
    assert run(weights, "restore.png") == 1
    assert "restore.png: No such file" in capfd.readouterr().err


def test_one_word_is_enough(here, weights):
    save("photo.png")
    save("holiday/a.png")
    assert run(weights, "photo.png") == 0
    assert run(weights, "holiday/", "photo.png") == 0
    assert files(here) == ["holiday/a.png", "holiday_restored/a.png", "photo.png", "photo_restored.png"]
    os.chdir("holiday")
    assert run(weights, ".") == 0
    assert files(here)[1:] == ["holiday_restored/a.png", "photo.png", "photo_restored.png"]


def test_what_is_neither_a_command_nor_there_is_refused(here, capsys):
    with pytest.raises(SystemExit):
        main.main(["photo"])
    assert "invalid choice: 'photo'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["photo.png", "sub/out.jpg"], ["photo.png", "-o", "sub/out.jpg"]])
def test_an_output_may_be_a_file(arguments, here, weights):
    save("photo.png")
    assert run(weights, *arguments) == 0
    assert files(here) == ["photo.png", "sub/out.jpg"]
    assert read_picture("sub/out.jpg").format == "JPEG"
    assert run(weights, "photo.png", "-o", "sub/out.jpg") == 0  # replaced as it would be in a folder


def test_two_pictures_that_are_there_are_two_inputs(here, weights):
    save("a.png")
    save("b.png")
    assert run(weights, "a.png", "b.png") == 0
    assert files(here) == ["a.png", "a_restored.png", "b.png", "b_restored.png"]


def test_an_input_is_never_the_output(here, weights, capsys):
    before = Path(save("a.png")).read_bytes()
    assert run(weights, "a.png", "-o", "a.png") == 1
    assert "would overwrite an input" in capsys.readouterr().err
    assert Path("a.png").read_bytes() == before


def test_quoted_patterns_and_capitals(here, weights):
    for name in ("a.png", "b.png", "[c].png"):
        save(name)
    assert run(weights, "?.png", "[c].png", "-o", "out", "--format", "JPG") == 0
    assert files(here / "out") == ["[c].jpg", "a.jpg", "b.jpg"]
    assert run(weights, "*.png") == 0
    assert run(weights, "*.png") == 0  # what the last run wrote isn't restored again
    assert [name for name in files(here) if "_restored" in name] == [
        "[c]_restored.png",
        "a_restored.png",
        "b_restored.png",
    ]


def test_a_comparison_never_replaces_a_restored_photo(here, weights):
    save("a.png")
    for arguments in (["a.png"], ["a.png", "-o", "out"]):
        assert run(weights, *arguments) == 0
        restored = {name: Path(name).read_bytes() for name in files(here)}
        assert run(weights, *arguments, "--compare") == 0
        assert {name: Path(name).read_bytes() for name in restored} == restored
    assert files(here) == ["a.png", "a_compare.png", "a_restored.png", "out/a.png", "out/a_compare.png"]


def test_skipped_outputs_of_other_options_are_told(here, weights, capsys):
    save("in/a.png")
    assert run(weights, "in", "-o", "out", "--strength", 0.5) == 0
    capsys.readouterr()
    assert run(weights, "in", "-o", "out", "--skip-existing", "--strength", 0.5) == 0
    assert "other options" not in capsys.readouterr().err
    save("in/b.png")
    assert run(weights, "in", "-o", "out", "--skip-existing") == 0
    said = capsys.readouterr().err
    assert f"some were made with other options (--strength 0.5 --weights {weights}), and stay as they are" in said
    assert run(weights, "in", "-o", "out") == 0  # all anew
    capsys.readouterr()
    assert run(weights, "in", "-o", "out", "--skip-existing") == 0
    assert "other options" not in capsys.readouterr().err
    assert files(here / "out") == ["a.png", "b.png"]


def test_an_empty_output_is_made_again(here, weights):
    save("in/a.png")
    Path("out").mkdir()
    Path("out/a.png").touch()
    assert run(weights, "in", "-o", "out", "--skip-existing") == 0
    assert read_picture("out/a.png").pixels.shape == (20, 28, 3)


def test_standard_input_to_a_named_file(here, weights, monkeypatch):
    with open(save("a.png"), "rb") as file:
        monkeypatch.setattr(sys, "stdin", file)
        file.buffer = file
        assert run(weights, "restore", "-", "-o", "b.webp") == 0
    assert read_picture("b.webp").format == "WEBP"


def test_a_device_that_is_not_there(here, weights, capsys):
    save("a.png")
    with pytest.raises(SystemExit):
        main.main(["a.png", "--weights", str(weights), "--device", "gpu"])
    said = capsys.readouterr().err
    assert "got 'gpu'; there is cpu" in said
    assert said.count("\n") == 1


@posix
@pytest.mark.parametrize("streams", ["2>&-", ">&- 2>&-", "2>/dev/full", ">/dev/full 2>/dev/full", "2>&1 | head -n 1"])
def test_messages_without_a_reader_end_nothing(streams, here, weights):
    """Neither the results nor the exit code, which tells of two broken pictures, change."""
    if "/dev/full" in streams and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    for name in "abcd":
        save(f"in/{name}.png")
    for name in ("e.png", "f.png"):
        (here / "in" / name).write_bytes(b"no picture")
    command = f"'{sys.executable}' '{ROOT}/infer.py' in -o out --weights '{weights}' --device cpu"
    script = f"set -o pipefail; {command} {streams}"
    assert subprocess.run([shutil.which("bash"), "-c", script], stdout=subprocess.DEVNULL).returncode == 1
    assert files(here / "out") == ["a.png", "b.png", "c.png", "d.png"]
    for name in "abcd":
        assert read_picture(here / "out" / f"{name}.png").pixels.shape == (20, 28, 3)


@posix
def test_a_picture_for_a_closed_output_is_an_error(here, weights):
    save("a.png")
    command = f"'{sys.executable}' '{ROOT}/infer.py' a.png -o - --weights '{weights}' >&-"
    got = subprocess.run([shutil.which("bash"), "-c", command], stderr=subprocess.PIPE, text=True)
    assert got.returncode == 2
    assert "standard output is closed" in got.stderr


def test_names_cannot_control_the_terminal(capsys):
    with pytest.raises(SystemExit):
        main.main(["restore", "a.png", "--format", "\x1b[31mred"])
    assert "\x1b" not in capsys.readouterr().err


def test_addresses_have_neighbours():
    assert outputs._beside(["memory://up/a.png"], "") == {("memory://up", "_restored"): ["memory://up/a.png"]}
