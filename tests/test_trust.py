"""Runs that are killed at any moment, full and changing disks, damaged pictures and weights, odd names.

TRIALS=200 or 10000 in the environment tries as often.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forks import Fork, Forks
from PIL import Image

from lightendiff.batch.plan import plan
from lightendiff.batch.run import restore_files
from lightendiff.cli.restore import main
from lightendiff.images import ImageError, Picture, read_picture, write_picture

TRIALS = int(os.environ.get("TRIALS", "20"))
PICTURES = 24
KINDS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

# The real command with everything but the network, which inverts and takes its time.
IMPORTS = """
import os, sys, time, types
import numpy as np

class LightenPipeline:
    @classmethod
    def from_pretrained(cls, *args, **options):
        return cls()

    many = None

    def bind(self, **options):
        return self

    def check(self, max_pixels):
        return lambda height, width: None

    def __call__(self, array):
        time.sleep(0.004)
        return 255 - array

module = types.ModuleType("lightendiff.pipeline")
module.LightenPipeline = LightenPipeline
sys.modules["lightendiff.pipeline"] = module
sys.modules["torch"] = types.SimpleNamespace(cuda=types.SimpleNamespace(is_available=lambda: False))
from lightendiff import images
from lightendiff.batch import plan, run
from lightendiff.cli.restore import main
"""
PROGRAM = """
if "LIMIT" in os.environ:  # bytes that a file may have: writing more fails half-way, as on a full disk
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["LIMIT"]),) * 2)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(PICTURES):
        values = np.random.default_rng(i).integers(0, 90, (60, 80, 3), dtype=np.uint8)
        write_picture(folder / f"{i:02}.png", Picture(values))
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Fork]]:
    """Starts the command on a folder of pictures."""
    forks = Forks(IMPORTS, PROGRAM, tmp_path_factory.mktemp("forks"))

    def start(source: Path, out: Path, **environment: object) -> Fork:
        return forks.start(source, "-o", out, "--skip-existing", **environment)

    yield start
    forks.close()


def whole(source: Path, out: Path) -> list[str]:
    """Names of what is there, all of which must be whole and right."""
    names = sorted(path.name for path in out.glob("*.png"))
    for name in names:
        assert np.array_equal(read_picture(out / name).pixels, 255 - read_picture(source / name).pixels), name
    return names


def wait_for_pictures(out: Path, count: int) -> None:
    """Until a run has written as many, however slow the machine is."""
    deadline = time.monotonic() + 60
    while len(list(out.glob("*.png"))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_run_killed_at_any_moment_leaves_whole_files_and_the_next_one_completes_it(
    pictures: Path, start: Callable[..., Fork], tmp_path: Path
) -> None:
    moments, interrupted = random.Random(0), 0
    for trial in range(TRIALS):
        out = tmp_path / str(trial)
        kind = KINDS[trial % len(KINDS)]
        process = start(pictures, out)
        wait_for_pictures(out, moments.randrange(PICTURES))
        time.sleep(moments.uniform(0.0, 0.02))  # two or three pictures' time
        os.kill(process.id, kind)
        told = time.perf_counter()
        code, output = process.wait(), process.output.read_text()
        done = whole(pictures, out)
        if kind != signal.SIGKILL and code:
            assert time.perf_counter() - told < 5  # a second, on a machine that has nothing else to do
            if "restored" in output:  # otherwise it had not begun
                assert f"{len(done)} restored" in output
        interrupted += 0 < len(done) < PICTURES
        again = start(pictures, out)
        assert again.wait() == 0
        assert again.output.read_text().startswith(f"{PICTURES - len(done)} restored, {len(done)} skipped, 0 failed")
        assert len(whole(pictures, out)) == PICTURES
    assert interrupted > TRIALS // 4  # most moments were within the run


# ---- disks


def test_a_full_disk_leaves_nothing_partial(pictures: Path, start: Callable[..., Fork], tmp_path: Path) -> None:
    limit = min(path.stat().st_size for path in pictures.iterdir()) // 2
    full = start(pictures, tmp_path, LIMIT=limit)
    assert full.wait() == 1
    assert full.output.read_text().startswith(f"0 restored, 0 skipped, {PICTURES} failed")
    reason = os.strerror(errno.EFBIG)
    assert sorted(full.errors.read_text().splitlines()) == [
        f"failed: {path}: cannot write {tmp_path / path.name}: {reason}" for path in sorted(pictures.iterdir())
    ]
    assert list(tmp_path.iterdir()) == []
    assert start(pictures, tmp_path).wait() == 0
    assert len(whole(pictures, tmp_path)) == PICTURES


def invert(array: np.ndarray) -> np.ndarray:
    return 255 - array


def test_a_read_only_disk(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(path: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
        if str(path).startswith(str(tmp_path)) and set(mode) & set("wxa+"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return original(path, mode, *more, **options)

    original, failures = open, list[str]()
    monkeypatch.setattr("builtins.open", read_only)
    jobs = plan([pictures], tmp_path).jobs[:3]
    assert restore_files(jobs, invert, failed=failures.append).failed == 3
    reason = os.strerror(errno.EROFS)
    assert failures == [f"{job.source}: cannot write {job.target}: {reason}" for job in jobs]


def test_an_output_folder_that_can_not_be_made(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = pictures / "00.png"
    with pytest.raises(SystemExit, match="2"):
        main([str(photo), "-o", str(photo / "out")])
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"{photo / 'out'}: {os.strerror(errno.ENOTDIR)}")


def test_a_folder_that_changes_while_it_is_read(pictures: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(pictures, source / "sub")
    shutil.copytree(pictures, source / "gone")
    content = (source / "sub" / "22.png").read_bytes()
    changes = iter([True])

    def restore(array: np.ndarray) -> np.ndarray:
        if next(changes, False):
            shutil.rmtree(source / "gone")
            (source / "sub" / "21.png").unlink()
            (source / "sub" / "21.png").mkdir()
            (source / "sub" / "22.png").write_bytes(content[: len(content) // 2])
            (source / "sub" / "99.png").write_bytes(content)  # has come too late
        return invert(array)

    jobs = [job for job in plan([source], out, recursive=True).jobs if "gone" not in str(job.source)]
    jobs += plan([source / "gone"], out / "gone").jobs
    failures: list[str] = []
    summary = restore_files(jobs, restore, failed=failures.append)
    assert (summary.restored, summary.failed) == (PICTURES - 2, PICTURES + 2)
    assert sorted(line.split(": ")[0] for line in failures) == sorted(
        [str(source / "sub" / name) for name in ("21.png", "22.png")] + [str(j.source) for j in jobs[PICTURES:]]
    )
    assert not any("\n" in line for line in failures)
    names = sorted(path.name for path in (out / "sub").iterdir())
    assert names == [f"{i:02}.png" for i in range(PICTURES) if i not in (21, 22)]
    for name in names:
        assert np.array_equal(read_picture(out / "sub" / name).pixels, invert(read_picture(pictures / name).pixels))


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
def test_odd_names_and_links_to_themselves(pictures: Path, tmp_path: Path) -> None:
    names = [b"\xff\xfe.png", b"line\nbreak.png", "夜".encode() * 80 + b".png", b" .png", b"-o.png", b"%s{}*.png"]
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in names:
        shutil.copy(os.fsencode(pictures / "00.png"), os.path.join(os.fsencode(source), name))
    os.symlink("self.png", source / "self.png")
    planned = plan([source, source / "self.png"], out)
    assert planned.problems == [f"{source / 'self.png'}: not a file or folder"]
    assert restore_files(planned.jobs, invert).restored == len(names)
    assert sorted(os.listdir(os.fsencode(out))) == sorted(names)
    failures: list[str] = []
    for job in planned.jobs:
        os.truncate(job.source, 40)
    assert restore_files(planned.jobs, invert, failed=failures.append).failed == len(names)
    assert all(line.isprintable() for line in failures)


# ---- damage


def tag(content: bytes, number: int) -> int:
    """Where the value of a TIFF's tag lies."""
    (at,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, at)
    places = range(at + 2, at + 2 + 12 * count, 12)
    return 8 + next(place for place in places if struct.unpack_from("<H", content, place)[0] == number)


# Where each format has the size of the picture, and how it is written there.
SIZES: dict[str, Callable[[bytes], list[tuple[int, str]]]] = {
    "p.jpg": lambda content: [(content.index(b"\xff\xc0") + 5, ">H"), (content.index(b"\xff\xc0") + 7, ">H")],
    "p.tif": lambda content: [(tag(content, 256), "<I"), (tag(content, 257), "<I")],
    "p.bmp": lambda content: [(18, "<I"), (22, "<I")],
    "p.gif": lambda content: [(6, "<H"), (8, "<H")],
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", SIZES)
def test_small_files_that_claim_to_be_huge_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    Image.new("RGB", (20, 20)).save(path)
    content = bytearray(path.read_bytes())
    for place, kind in SIZES[name](bytes(content)):
        assert struct.unpack_from(kind, content, place) == (20,)
        struct.pack_into(kind, content, place, 60_000)
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"more than the limit of 300,000,000 pixels"):
        read_picture(path)
