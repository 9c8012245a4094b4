"""Videos that claim too much, that aren't files, or that another run is writing."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lightendiff.models.presets import PRESETS
from lightendiff.pipeline import LightenPipeline
from lightendiff.restorer import Restorer

av = pytest.importorskip("av")

from lightendiff.video import frames, restore  # noqa: E402
from lightendiff.video.restore import restore_video  # noqa: E402


@pytest.fixture(scope="module")
def pipe() -> LightenPipeline:
    torch.manual_seed(0)
    return LightenPipeline(Restorer(PRESETS["tiny"]), device="cpu", dtype=torch.float32)


def clip(path: Path, size: tuple[int, int] = (64, 48), count: int = 4) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(count):
            pixels = np.full((size[1], size[0], 3), 9 + i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("count", [80_000_000, 1_000_000_000])
def test_an_index_that_claims_more_than_the_file_has(count: int, tmp_path: Path, pipe: LightenPipeline) -> None:
    path = clip(tmp_path / "a.mp4")
    content = bytearray(path.read_bytes())
    struct.pack_into(">II", content, content.index(b"stsz") + 8, 1, count)  # all of one byte
    struct.pack_into(">I", content, content.index(b"stsc") + 16, count)  # in one chunk
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.mp4: damaged: its index counts {count:,} samples of 1 bytes"):
        restore_video(path, tmp_path / "b.mp4", pipe)
    assert sorted(tmp_path.iterdir()) == [path]


def test_frames_that_are_too_large(tmp_path: Path, pipe: LightenPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match=r"64×48 is more than the limit of 3,000 pixels; --max-megapixels"):
        restore_video(path, tmp_path / "b.mp4", pipe, max_pixels=3000)
    monkeypatch.setattr(frames, "check_pixels", lambda *_: None)  # as where the header names another size
    with pytest.raises(ValueError, match="no frame can be decoded"):
        restore_video(path, tmp_path / "b.mp4", pipe, max_pixels=3000)
    monkeypatch.undo()
    monkeypatch.setattr("lightendiff.runtime.memory.free_memory", lambda: 1e6)
    with pytest.raises(ValueError, match=r"a\.mp4: a picture of 64×48 takes about .* GB are free$"):
        restore_video(path, tmp_path / "b.mp4", pipe)
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_header_without_a_size_is_told_by_its_frames(pipe: LightenPipeline) -> None:
    for width, height in ((0, 0), (64, 0), (64, 48)):
        stream = SimpleNamespace(codec_context=SimpleNamespace(width=width, height=height))
        restore._check_memory(SimpleNamespace(stream=stream, path=Path("a.ts")), pipe.bind())


@pytest.mark.skipif(os.name != "posix", reason="pipes and sparse files of POSIX")
def test_pipes_and_files_of_holes_are_not_waited_for(
    tmp_path: Path, pipe: LightenPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(ValueError, match=r"pipe\.mp4: expected a file, got a pipe or device"):
        restore_video(tmp_path / "pipe.mp4", tmp_path / "b.mp4", pipe)
    monkeypatch.setattr(frames, "PATIENCE", 0.5)
    path = clip(tmp_path / "a.mkv")
    os.truncate(path, 10**12)
    summary = restore_video(path, tmp_path / "b.mkv", pipe)
    assert summary.frames == 4
    assert any("the file wasn't read to its end" in note for note in summary.notes)


def test_two_runs_on_one_target_are_told_apart(tmp_path: Path, pipe: LightenPipeline) -> None:
    path, target = clip(tmp_path / "a.mp4"), tmp_path / "b.mp4"
    refused: list[str] = []

    def second(done: int, total: int | None) -> None:
        with pytest.raises(BlockingIOError) as error:
            restore_video(path, target, pipe)
        refused.append(str(error.value))

    assert restore_video(path, target, pipe, progress=second).frames == 4
    assert refused == [f"{target}: another run is writing it"] * 4
    assert sorted(tmp_path.iterdir()) == [path, target]
