"""What is told while pictures are restored, and what it raises: in all the ways that pictures are restored."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lightendiff
from lightendiff import LightenPipeline, Stopped
from lightendiff.batch.plan import plan
from lightendiff.batch.run import restore_files
from lightendiff.images import Picture, read_picture, write_picture
from lightendiff.models.presets import PRESETS
from lightendiff.restorer import Restorer

SIDES = 64, 800


@pytest.fixture(scope="module")
def pipe() -> LightenPipeline:
    torch.manual_seed(0)
    return LightenPipeline(Restorer(PRESETS["tiny"]), device="cpu", dtype=torch.float32)


def dark(*size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 60, (*(size or SIDES), 3), np.uint8)


def stop_at(count: int, error: BaseException | None = None) -> Callable[[float], None]:
    """Raises at the call of that number."""
    calls: list[float] = []

    def progress(share: float) -> None:
        calls.append(share)
        if len(calls) == count:
            raise Stopped("enough") if error is None else error

    return progress


@pytest.mark.parametrize("options", [{}, {"tile": 416}, {"num_inference_steps": 5}, {"batch_size": 4}])
@pytest.mark.parametrize("pictures", [dark(), [dark(), dark(20, 30), dark()], torch.rand(2, 3, 9, 9)])
def test_shares_rise_to_one_and_change_nothing(pipe: LightenPipeline, pictures: Any, options: dict[str, Any]) -> None:
    shares: list[float] = []
    told, plain = pipe(pictures, progress=shares.append, **options), pipe(pictures, **options)
    for one, other in zip(told, plain, strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(other))
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] == 1
    assert shares.count(1) == 1


def test_every_unit_of_work_is_told(pipe: LightenPipeline) -> None:
    def count(**options: Any) -> int:
        shares: list[float] = []
        pipe(dark(), progress=shares.append, **options)
        return len(shares)

    whole = count()
    steps = pipe.restorer.config.num_inference_steps
    assert whole == 2 + steps + pipe.restorer.config.input_colours
    assert count(num_inference_steps=steps + 3) == whole + 3
    assert count(tile=416) >= whole + 2  # of two windows or more, each is encoded and decoded
    assert count(strength=0) == 1


@pytest.mark.parametrize("options", [{}, {"tile": 416}])
@pytest.mark.parametrize("error", [Stopped("enough"), KeyboardInterrupt(), ValueError("mine"), RuntimeError("mine")])
def test_what_it_raises_ends_the_call_at_every_unit(
    pipe: LightenPipeline, options: dict[str, Any], error: BaseException
) -> None:
    shares: list[float] = []
    pipe(dark(), progress=shares.append, **options)
    for number in range(1, len(shares) + 1):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(type(error)) as raised:
                pipe([dark(), dark(9, 9)], progress=stop_at(number, error), **options)
        assert raised.value is error
    assert np.array_equal(pipe(dark(), **options), pipe(dark(), **options))


def test_shares_do_not_fall_when_memory_runs_out(pipe: LightenPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    decode, failures = pipe.restorer.decode, iter([True])

    def limited(*args: Any) -> Any:
        if next(failures, False):
            raise torch.OutOfMemoryError("out of memory")
        return decode(*args)

    monkeypatch.setattr(pipe.restorer, "decode", limited)
    shares: list[float] = []
    with pytest.warns(RuntimeWarning, match="out of memory"):
        pipe(dark(), progress=shares.append)
    assert shares == sorted(shares)
    assert (shares[-1], shares.count(1)) == (1, 1)


def test_what_is_no_function_is_refused(pipe: LightenPipeline) -> None:
    with pytest.raises(TypeError, match=r"^progress: expected a function of 1 argument, got bool$"):
        pipe(dark(), progress=True)  # type: ignore[arg-type]


def test_bound_and_public(pipe: LightenPipeline) -> None:
    shares: list[float] = []
    pipe.bind(progress=shares.append)(dark())
    assert shares[-1] == 1
    assert lightendiff.Stopped is Stopped
    assert issubclass(Stopped, Exception)


@pytest.mark.parametrize("together", [False, True])
def test_folders_end_with_what_is_done(pipe: LightenPipeline, tmp_path: Path, together: bool) -> None:
    for number in range(3):
        write_picture(tmp_path / f"{number}.png", Picture(dark(9, 9)))
    per_picture: list[float] = []
    pipe(dark(9, 9), progress=per_picture.append)
    bound = pipe.bind(progress=stop_at(len(per_picture) + 2))
    failed: list[str] = []
    jobs = plan([tmp_path], tmp_path / "out").jobs
    many = (lambda pictures: bound(pictures)) if together else None
    summary = restore_files(jobs, bound, many=many, failed=failed.append)
    assert (summary.restored, summary.failed, summary.interrupted, failed) == (0 if together else 1, 0, True, [])
    assert [path.name for path in (tmp_path / "out").glob("*")] == ([] if together else ["0.png"])
    if not together:
        assert read_picture(tmp_path / "out" / "0.png").pixels.shape == (9, 9, 3)


def test_videos_end_within_a_frame_and_go_on(pipe: LightenPipeline, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    from lightendiff.video.restore import restore_video

    source, target = tmp_path / "dark.mp4", tmp_path / "light.mp4"
    with av.open(str(source), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for seed in range(3):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(dark(48, 64, seed=seed), format="rgb24")))
        out.mux(stream.encode(None))
    shares: list[float] = []
    pipe(dark(48, 64), progress=shares.append)
    with pytest.raises(Stopped, match="enough"):
        restore_video(source, target, pipe, frame_progress=stop_at(len(shares) + 2))
    assert not target.exists()
    summary = restore_video(source, target, pipe, resume=True)
    assert (summary.frames, summary.resumed) == (3, 1)


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal")
def test_the_command_shows_it_on_a_terminal(weights: Path, tmp_path: Path) -> None:
    import fcntl
    import pty
    import termios

    write_picture(tmp_path / "dark.png", Picture(dark(64, 64)))
    args = ["-m", "lightendiff", "restore", "dark.png", "missing.png", "-o", "out", "--weights", str(weights)]
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    environment = os.environ | {"TQDM_MININTERVAL": "0"}
    process = subprocess.Popen(
        [sys.executable, *args], cwd=tmp_path, stderr=slave, stdout=subprocess.DEVNULL, env=environment
    )
    os.close(slave)
    shown = b""
    try:
        while part := os.read(master, 4096):
            shown += part
    except OSError:  # what Linux gives at the end
        pass
    os.close(master)
    assert process.wait() == 1  # one is missing
    text = shown.decode()
    percentages = [int(each) for each in re.findall(r"(\d+)%\|", text)]
    assert percentages == sorted(percentages)
    assert percentages[0] == 0
    assert percentages[-1] == 100
    assert any(0 < each < 100 for each in percentages)
    assert "1/1 " in text
