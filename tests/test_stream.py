"""Frames of a camera: restored at once, without flicker, with red or blue first, of changing size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import lightendiff
from lightendiff import LightenPipeline, Stream
from lightendiff.models.presets import PRESETS
from lightendiff.restorer import Restorer
from lightendiff.video.deflicker import Deflicker


@pytest.fixture(scope="module")
def pipe() -> LightenPipeline:
    torch.manual_seed(0)
    return LightenPipeline(Restorer(PRESETS["tiny"]), device="cpu", dtype=torch.float32)


def scene(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """Blocks of dark colours, with blue darkest."""
    blocks = np.random.default_rng(seed).integers(10, 60, (6, 8, 3)) * np.array([3, 2, 1]) // 3
    return blocks.astype(np.uint8).repeat(-(-height // 6), 0).repeat(-(-width // 8), 1)[:height, :width]


def wavering(monkeypatch: pytest.MonkeyPatch, pipe: LightenPipeline) -> None:
    """Every other frame comes out brighter by a third of a stop."""
    sample, count = pipe.restorer.sample_latent, iter(range(1000))

    def wavers(*args: Any, **options: Any) -> torch.Tensor:
        return sample(*args, **options) * (1.1 if next(count) % 2 else 1.0)

    monkeypatch.setattr(pipe.restorer, "sample_latent", wavers)


def jumps(frames: list[np.ndarray]) -> float:
    return float(np.abs(np.diff([frame.mean() for frame in frames])).mean())


def test_flicker_is_evened_out(pipe: LightenPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    wavering(monkeypatch, pipe)
    steady, alone = Stream(pipe), Stream(pipe, smoothing=0)
    frames = [scene()] * 12
    still = jumps([steady.feed(frame, time=i / 25) for i, frame in enumerate(frames)][2:])
    assert still < 0.2 * jumps([alone.feed(frame, time=i / 25) for i, frame in enumerate(frames)][2:])


def test_it_is_what_videos_get(pipe: LightenPipeline) -> None:
    stream, steady = Stream(pipe, exposure=0.5), Deflicker(pipe.restorer.model, 1.0)
    for i in range(3):
        frame = scene() + np.uint8(2 * i)
        expected = pipe.bind(exposure=0.5)(frame, adjust=steady.at(i / 25))
        assert np.array_equal(stream.feed(frame, time=i / 25), expected)


def test_every_frame_comes_out_at_once(pipe: LightenPipeline) -> None:
    stream, first, second = Stream(pipe), scene(), scene(seed=1) // 8
    assert np.array_equal(stream.feed(first), pipe(first))
    assert np.array_equal(stream.feed(second), pipe(second))  # a cut: nothing of the first is left
    assert stream.cuts == 1
    stream.reset()
    assert np.array_equal(stream.feed(first), pipe(first))
    assert stream.cuts == 0


def test_time_passes_between_frames(pipe: LightenPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock where nothing is said: after a minute, nothing is left of what was before."""
    wavering(monkeypatch, pipe)
    monkeypatch.setattr("lightendiff.video.stream.clock.monotonic", iter([5.0, 65.0]).__next__)
    own = Stream(pipe, smoothing=0)
    plain = [own.feed(scene(), time=0) for _ in range(2)]
    stream = Stream(pipe)
    later = [stream.feed(scene()) for _ in range(2)]
    assert [frame.mean() for frame in later] == pytest.approx([frame.mean() for frame in plain], abs=0.5)
    assert abs(later[0].mean() - later[1].mean()) > 1


def test_frames_may_change_in_size_and_type(pipe: LightenPipeline) -> None:
    stream = Stream(pipe)
    frames: list[Any] = [scene(), scene(96, 128), scene(30, 41), scene()[..., 0], Image.fromarray(scene())]
    frames += [torch.from_numpy(scene()).permute(2, 0, 1), torch.from_numpy(scene()).permute(2, 0, 1)[None]]
    frames += [scene().astype(np.uint16) * 257, (scene() / 255).astype(np.float32)]
    for number, frame in enumerate(frames):
        restored = stream.feed(frame, time=number / 25)
        assert type(restored) is type(frame)
        assert np.asarray(restored).shape == np.asarray(frame).shape
        assert np.asarray(restored).dtype == np.asarray(frame).dtype
    assert stream.cuts <= 1  # grey may count as one; the sizes don't


@pytest.mark.parametrize("channels", [3, 4])
def test_blue_first(pipe: LightenPipeline, channels: int) -> None:
    rgb = np.dstack([scene(), np.full((48, 64, channels - 3), 200, np.uint8)])
    order = [2, 1, 0, 3][:channels]
    restored = Stream(pipe, bgr=True).feed(np.ascontiguousarray(rgb[..., order]))
    assert np.array_equal(restored[..., order], Stream(pipe).feed(rgb))
    assert restored.flags.c_contiguous
    grey = rgb[..., 0]
    assert np.array_equal(Stream(pipe, bgr=True).feed(grey), pipe(grey))


def test_what_is_refused(pipe: LightenPipeline) -> None:
    with pytest.raises(ValueError, match="smoothing: expected seconds from 0 up, got -1"):
        Stream(pipe, smoothing=-1)
    with pytest.raises(TypeError, match="steps"):
        Stream(pipe, steps=3)
    stream, blue = Stream(pipe), Stream(pipe, bgr=True)
    cases: list[tuple[Stream, Any, type[Exception], str]] = [
        (stream, [scene()], TypeError, "frame: expected one picture, got a list"),
        (stream, torch.zeros(2, 3, 8, 8), ValueError, r"frame: expected one picture, got a batch \(2, 3, 8, 8\)"),
        (stream, None, TypeError, "got None"),
        (blue, None, TypeError, "frame: .* got None, which VideoCapture.read returns at the end"),
        (blue, Image.fromarray(scene()), TypeError, "frame: expected a NumPy array with blue first, got Image"),
        (blue, scene()[..., :2], ValueError, r"frame: expected .*, got \(48, 64, 2\)"),
    ]
    for each, frame, error, message in cases:
        with pytest.raises(error, match=message):
            each.feed(frame)
    assert np.array_equal(stream.feed(scene()), pipe(scene()))


def test_an_architecture_without_exposure_control_is_told() -> None:
    with pytest.warns(RuntimeWarning, match="brightness isn't smoothed"):
        Stream(LightenPipeline(Restorer(PRESETS["paper"]), device="cpu"))


def test_it_is_public() -> None:
    assert lightendiff.Stream is Stream
