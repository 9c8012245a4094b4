"""Videos: what is kept of them, that they don't flicker, and that an interrupted run can go on."""

from __future__ import annotations

import importlib.util
import math
import os
import signal
import sys
import time
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data
from torch.nn import functional as F

from lightendiff import LightenPipeline
from lightendiff.data.degradations import SensorModel, darken
from lightendiff.diffusion.options import Sampling
from lightendiff.models.presets import PRESETS, build_autoencoder
from lightendiff.pipeline import BoundPipeline
from lightendiff.restorer import Restorer
from lightendiff.tone import ENCODING_EXPONENT, exposed
from lightendiff.video.deflicker import Deflicker

av = pytest.importorskip("av")

from lightendiff.video import frames as video_frames  # noqa: E402
from lightendiff.video import look, mux, segments  # noqa: E402
from lightendiff.video.restore import restore_video  # noqa: E402

TIME_BASE = Fraction(1, 12800)
STEADY = [512 * i for i in range(12)]
VARIABLE = [0, 512, 1024, 1700, 2000, 3000, 3512, 4024, 4600, 4700, 5212, 6000]


@pytest.fixture(scope="module")
def tiny() -> LightenPipeline:
    torch.manual_seed(0)
    return LightenPipeline(Restorer(PRESETS["tiny"]), device="cpu", dtype=torch.float32)


def photo(name: str, count: int, height: int, width: int, step: int = 1) -> np.ndarray:
    """(n, h, w, 3) uint8: a pan over a photo at half size."""
    image = torch.from_numpy(getattr(data, name)()).permute(2, 0, 1)[None].float()
    half = F.avg_pool2d(image, 2)[0].round().to(torch.uint8).permute(1, 2, 0).numpy()
    top = half.shape[0] // 2 - height // 2
    left = [20 + step * i for i in range(count)]
    return np.stack([half[top : top + height, x : x + width] for x in left])


def dim(count: int = 12, height: int = 48, width: int = 64) -> np.ndarray:
    return photo("coffee", count, height, width) // 6


def sound(container: Any) -> Any:
    stream = container.add_stream("aac", rate=8000)
    stream.layout = "mono"
    return stream


def write(
    path: Path,
    pixels: np.ndarray,
    stamps: list[int] = STEADY,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    tags: tuple[int, int, int, int] = (1, 1, 1, 1),
    rotation: int | None = None,
    audio: bool = False,
    subtitles: bool = False,
    **metadata: str,
) -> Path:
    """A losslessly encoded clip."""
    with av.open(str(path), "w") as out:
        options = {"qp": "0", "bf": "2"} if codec == "libx264" else {}
        stream = out.add_stream(codec, rate=25, options=options, time_base=TIME_BASE)
        stream.width, stream.height, stream.pix_fmt = pixels.shape[2], pixels.shape[1], pix_fmt
        context = stream.codec_context
        context.time_base = TIME_BASE
        context.color_range, context.color_primaries, context.color_trc, context.colorspace = tags
        if rotation is not None:
            stream.set_display_rotation(rotation)
        track = sound(out) if audio else None
        lines = av.open(str(srt(path.parent))) if subtitles else None
        text = out.add_stream_from_template(lines.streams.subtitles[0]) if lines else None
        if subtitles:
            out.add_attachment("font.txt", "text/plain", b"letters")
            title = {"title": "first"}
            out.set_chapters([{"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": title}])
        out.metadata.update(metadata)
        for frame, pts in zip(pixels, stamps, strict=True):
            rgb = av.VideoFrame.from_ndarray(frame, format="rgb24")
            matrix = {2: 5, 6: 5}.get(tags[3], tags[3])
            encoded = rgb.reformat(format=pix_fmt, dst_colorspace=matrix, dst_color_range=tags[0] or 1)
            encoded.color_range, encoded.color_primaries, encoded.color_trc, encoded.colorspace = tags
            encoded.pts, encoded.time_base = pts, TIME_BASE
            out.mux(stream.encode(encoded))
        if track is not None:
            wave = (np.sin(np.arange(4096) / 5) * 9000).astype(np.int16)
            for i in range(4):
                samples = av.AudioFrame.from_ndarray(wave[None, 1024 * i :][:, :1024], format="s16", layout="mono")
                samples.sample_rate, samples.pts, samples.time_base = 8000, 1024 * i, Fraction(1, 8000)
                out.mux(track.encode(samples))
            out.mux(track.encode(None))
        if lines:
            for packet in lines.demux(subtitles=0):
                if packet.size:
                    packet.stream = text
                    out.mux(packet)
        out.mux(stream.encode(None))
    return path


def srt(folder: Path) -> Path:
    path = folder / "lines.srt"
    path.write_text("1\n00:00:00,040 --> 00:00:00,200\nin the dark\n\n2\n00:00:00,240 --> 00:00:00,400\nand in light\n")
    return path


def read(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def pixels_of(path: Path) -> np.ndarray:
    return np.stack([frame.to_ndarray(format="rgb24") for frame in read(path)])


def packets(path: Path, kind: str) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        return [(float(p.pts * p.time_base), bytes(p)) for p in container.demux(**{kind: 0}) if p.size]


# ---- what is kept


@pytest.mark.parametrize("extension", ["mp4", "mov", "mkv", "webm", "ts"])
def test_time_stamps_size_rotation_and_colours_are_kept(tiny, tmp_path, extension):
    source = write(tmp_path / "in: 夜.mp4", dim(), VARIABLE, rotation=90, tags=(2, 1, 1, 1), title="at night")
    target = tmp_path / "new" / f"out.{extension}"
    seen = []
    summary = restore_video(source, target, tiny, progress=lambda *done: seen.append(done))
    assert seen == [(i + 1, 12) for i in range(12)]
    assert (summary.frames, summary.resumed, summary.cuts) == (12, 0, 0)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    before, after = read(source), read(target)
    tick = {"mkv": 1e-3, "webm": 1e-3, "ts": 1 / 90000}.get(extension, 1e-9)  # what these formats count time in
    for old, new in zip(before, after, strict=True):
        assert new.time == pytest.approx(old.time, abs=tick)
        assert (new.width, new.height, new.format.name.replace("j", "")) == (64, 48, "yuv420p")
        assert (new.color_range, new.colorspace, new.rotation) == (2, 1, 0 if extension == "ts" else 90)
        if extension != "webm":  # VP9 has no place for these, and decoders don't pass on the file's
            assert (new.color_primaries, new.color_trc) == (1, 1)
    with av.open(str(source)) as old, av.open(str(target)) as new:
        assert new.streams.video[0].codec_context.name == ("vp9" if extension == "webm" else "h264")
        if extension in ("mp4", "mov"):
            assert new.streams.video[0].average_rate == old.streams.video[0].average_rate
            assert new.streams.video[0].duration == old.streams.video[0].duration
        if extension != "ts":
            assert {k.lower(): v for k, v in new.metadata.items()}["title"] == "at night"
    assert ("the rotation isn't kept" in " ".join(summary.notes)) == (extension == "ts")
    # brighter by what the network adds, and the same picture as without a file
    alone = tiny(pixels_of(source)[0])
    assert np.abs(after[0].to_ndarray(format="rgb24").astype(int) - alone).mean() < 6


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24)])
def test_frame_rate_is_kept(tiny, tmp_path, rate):
    stamps = [round(i / rate / TIME_BASE) for i in range(12)]
    source = write(tmp_path / "in.mp4", dim(), stamps)
    restore_video(source, tmp_path / "out.mp4", tiny, strength=0)
    with av.open(str(source)) as old, av.open(str(tmp_path / "out.mp4")) as new:
        assert new.streams.video[0].average_rate == old.streams.video[0].average_rate
        assert new.streams.video[0].frames == 12


def test_sound_and_subtitles_are_copied_bit_for_bit(tiny, tmp_path):
    source = write(tmp_path / "in.mkv", dim(), audio=True, subtitles=True)
    summary = restore_video(source, tmp_path / "out.mkv", tiny, strength=0)
    assert summary.notes == []
    for kind in ("audio", "subtitles"):
        assert packets(tmp_path / "out.mkv", kind) == packets(source, kind)
    assert len(packets(source, "subtitles")) == 2
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert [(a.name, a.mimetype, a.data) for a in container.streams.attachments] == [
            ("font.txt", "text/plain", b"letters")
        ]
        assert [(float(c["end"] * c["time_base"]), c["metadata"]["title"]) for c in container.chapters()] == [
            (0.2, "first")
        ]
    summary = restore_video(source, tmp_path / "out.mp4", tiny, strength=0)
    assert [note.split(" (")[0] for note in summary.notes] == ["subtitle stream 2", "attachment stream 3"]
    assert all("isn't copied: mp4 can't hold it" in note for note in summary.notes)
    copied, given = packets(tmp_path / "out.mp4", "audio"), packets(source, "audio")
    assert [data for _, data in copied] == [data for _, data in given]
    assert [time for time, _ in copied] == pytest.approx([time for time, _ in given], abs=1e-3)
    summary = restore_video(source, tmp_path / "out.webm", tiny, strength=0)
    assert [note.split()[0] for note in summary.notes][:2] == ["audio", "subtitle"]


@pytest.mark.parametrize(
    ("pix_fmt", "size", "tags"),
    [
        ("yuv420p", (48, 64), (1, 1, 1, 1)),
        ("yuv420p", (48, 64), (2, 6, 6, 6)),
        ("yuv420p", (48, 64), (0, 2, 2, 2)),
        ("yuv444p", (47, 63), (1, 9, 1, 9)),
        ("yuv420p10le", (48, 64), (1, 1, 1, 1)),
    ],
)
def test_colours_come_back_as_they_were(tiny, tmp_path, monkeypatch, pix_fmt, size, tags):
    monkeypatch.setitem(mux._OPTIONS, "libx264", {"qp": "0"})
    source = write(tmp_path / "in.mkv", photo("astronaut", 2, *size), [0, 512], pix_fmt=pix_fmt, tags=tags)
    restore_video(source, tmp_path / "out.mkv", tiny, strength=0)
    for old, new in zip(read(source), read(tmp_path / "out.mkv"), strict=True):
        same = ("color_range", "color_primaries", "color_trc", "colorspace", "width", "height")
        assert [getattr(new, name) for name in same] == [getattr(old, name) for name in same]
        assert new.format.name.replace("j", "") == pix_fmt
        for before, after in zip(planes(old), planes(new), strict=True):
            unit = 4 if "10" in pix_fmt else 1
            assert abs(before.mean() - after.mean()) < 0.6 * unit
            assert np.abs(before - after).mean() < 1.5 * unit


def planes(frame: Any) -> list[np.ndarray]:
    dtype = np.uint16 if "10" in frame.format.name else np.uint8
    rows = (np.frombuffer(p, dtype).reshape(p.height, -1)[:, : p.width].astype(float) for p in frame.planes)
    return list(rows)


# ---- no flicker


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, Path]:
    """A slow pan over a photo, and a file of it as a sensor sees it with 1/45 of the light."""
    truth = photo("astronaut", 24, 64, 96, step=2)
    images = torch.from_numpy(truth).permute(0, 3, 1, 2).float() / 255
    sensor = SensorModel(exposure=(-5.5, -5.5), tint=0, shot=(1e-4, 1e-4), read=(3e-4, 3e-4), jpeg=0)
    generator = torch.Generator().manual_seed(0)
    dark = darken(images, sensor.draw(24, generator), generator)
    pixels = (dark * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    path = tmp_path_factory.mktemp("clip") / "dark.mp4"
    return truth, write(path, np.ascontiguousarray(pixels), [512 * i for i in range(24)], pix_fmt="yuv444p")


def jumps(pixels: np.ndarray) -> float:
    """By how much the mean brightness changes from one frame to the next, on average."""
    return float(np.abs(np.diff(pixels.mean(axis=(1, 2, 3)))).mean())


def psnr(pixels: np.ndarray, truth: np.ndarray) -> float:
    errors = ((pixels / 255.0 - truth / 255.0) ** 2).mean(axis=(1, 2, 3))
    return float(np.mean(-10 * np.log10(errors)))


def test_brightness_varies_little_more_than_the_scene_does(clip, tmp_path):
    truth, source = clip
    pipe = LightenPipeline.from_pretrained(device="cpu", dtype=torch.float32)
    results = {}
    for smoothing in (0.0, 1.0):
        target = tmp_path / f"{smoothing}.mp4"
        assert restore_video(source, target, pipe, smoothing=smoothing).cuts == 0
        results[smoothing] = pixels_of(target)
    alone, steady = results[0.0], results[1.0]
    assert jumps(steady) <= 1.2 * jumps(truth)
    assert psnr(steady, truth) > psnr(alone, truth) - 0.1
    assert psnr(steady, truth) > 18
    # the wavering alone: what is left when the scene's own changes are taken away; how much less depends on the weights
    assert jumps(steady - truth.astype(float)) < 0.9 * jumps(alone - truth.astype(float))


def test_the_pipeline_lets_the_latent_be_adjusted(tiny):
    dark = dim(1)[0]
    brighter = lambda restored, _: tiny.restorer.model.apply_tone_curve(restored, partial(exposed, stops=0.5))  # noqa: E731
    assert np.array_equal(tiny(dark, adjust=brighter), tiny(dark, exposure=0.5))
    seen = []
    assert np.array_equal(tiny(dark, adjust=lambda *latents: seen.append(latents) or latents[0]), tiny(dark))
    unit = torch.from_numpy(dark).permute(2, 0, 1)[None].float() / 255
    padded = F.pad(unit, (0, -64 % tiny.restorer.config.multiple, 0, -48 % tiny.restorer.config.multiple), "reflect")
    torch.testing.assert_close(seen[0][1], tiny.restorer.model.latent(padded))
    with pytest.raises(TypeError, match="adjust: expected a function of 2 arguments, got int"):
        tiny(dark, adjust=1)


def test_a_scene_cut_starts_anew(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(mux._OPTIONS, "libx264", {"qp": "0"})
    scenes = np.concatenate([dim(6), photo("rocket", 6, 48, 64) // 4])
    summary = restore_video(write(tmp_path / "in.mp4", scenes), tmp_path / "out.mkv", tiny, smoothing=1.0)
    assert summary.cuts == 1
    second = write(tmp_path / "second.mp4", scenes[6:], STEADY[6:])
    restore_video(second, tmp_path / "alone.mkv", tiny, smoothing=1.0)
    assert np.array_equal(pixels_of(tmp_path / "out.mkv")[6:], pixels_of(tmp_path / "alone.mkv"))


def tones(seed: int, low: float = 0.2, high: float = 0.4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = low + (high - low) * torch.rand(1, 3, 3, 4, generator=generator)
    return F.interpolate(coarse, size=(12, 16), mode="bilinear")


@pytest.fixture
def steady(tiny: LightenPipeline) -> Deflicker:
    return Deflicker(tiny.restorer.model, seconds=0.5)


def test_a_jump_of_the_gain_is_spread_over_time(steady):
    dark = tones(0)
    assert torch.equal(steady.at(0.0)(1.5 * dark, dark), 1.5 * dark)
    average, weight = math.log(1.5), math.exp(-0.04 / 0.5)
    for i, gain in enumerate([1.65, 1.65, 1.4], start=1):
        result = steady.at(0.04 * i)(gain * dark, dark)
        average = weight * average + (1 - weight) * math.log(gain)
        torch.testing.assert_close(result, math.exp(average) * dark, rtol=2e-3, atol=0)


def test_the_correction_is_limited(steady):
    dark = tones(0)
    steady.at(0.0)(2.4 * dark, dark)
    result = steady.at(0.04)(dark, dark)  # of 2.8 stops that the gain fell by, one is taken back
    torch.testing.assert_close(result, dark * 2 ** (ENCODING_EXPONENT / 2.2), rtol=5e-3, atol=0)


def test_other_content_at_the_same_gain_is_left_alone(steady):
    for i in range(4):
        dark = tones(0) + 0.05 * i * tones(i)  # brighter things come in, and the curve that maps tones stays
        restored = dark**0.7
        torch.testing.assert_close(steady.at(0.04 * i)(restored, dark), restored, rtol=3e-3, atol=0)
    assert steady.cuts == 0


def test_light_that_goes_up_in_the_scene_is_seen_to(steady):
    dark, more = tones(0), tones(0) * 2 ** (ENCODING_EXPONENT / 2.2)  # one stop
    steady.at(0.0)(1.8 * dark, dark)
    first = steady.at(0.04)(1.8 * dark, more)  # the restorer hides it, and renders both alike
    later = steady.at(5.0)(1.8 * dark, more)
    assert first.mean() > 1.08 * (1.8 * dark).mean()
    torch.testing.assert_close(later, 1.8 * dark, rtol=1e-3, atol=0)
    assert steady.cuts == 0


def test_deflickering_goes_on_from_its_state(steady, tiny):
    dark = tones(0)
    again = Deflicker(tiny.restorer.model, seconds=0.5)
    again.load_state(steady.state())  # nothing yet
    steady.at(0.0)(1.5 * dark, dark)
    steady.at(0.04)(1.6 * dark, dark)
    again.load_state(steady.state())
    hook = steady.at(0.08)
    hook(3.0 * dark, tones(1))  # a trial that failed
    assert torch.equal(hook(1.7 * dark, dark), again.at(0.08)(1.7 * dark, dark))
    assert torch.equal(steady.at(0.12)(tones(2, 0.7, 0.9), tones(2, 0.6, 0.8)), tones(2, 0.7, 0.9))
    assert (steady.cuts, again.cuts) == (1, 0)
    with pytest.raises(ValueError, match=r"one frame .* got \(2, 3, 12, 16\)"):
        steady.at(0.2)(dark.expand(2, -1, -1, -1), dark.expand(2, -1, -1, -1))


# ---- interrupts


class Stopping:
    """A pipeline that is interrupted in a frame, and counts those that it restored."""

    def __init__(self, pipe: LightenPipeline, at: int | None = None, by: type[BaseException] = KeyboardInterrupt):
        self.pipe, self.restorer, self.dtype = pipe, pipe.restorer, pipe.dtype
        self.at, self.by, self.count = at, by, 0
        self._check = pipe._check

    def bind(self, **options: Any) -> BoundPipeline:
        return replace(self.pipe.bind(**options), pipe=self)

    def restore(self, pixels: np.ndarray, sampling: Sampling, **options: Any) -> np.ndarray:
        if self.count == self.at:
            raise self.by
        self.count += 1
        return self.pipe.restore(pixels, sampling, **options)


@pytest.fixture
def lossless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mux.ENCODERS, ".mkv", "ffv1")
    monkeypatch.setitem(mux._OPTIONS, "ffv1", {})
    monkeypatch.setitem(look.PIXEL_FORMATS, "ffv1", ("yuv420p",))
    monkeypatch.setattr(segments, "SEGMENT", 5)


@pytest.mark.usefixtures("lossless")
def test_an_interrupted_run_goes_on_and_ends_as_one_that_was_not(tiny, tmp_path):
    source, target = write(tmp_path / "in.mp4", dim(), VARIABLE, audio=True), tmp_path / "out.mkv"
    restore_video(source, tmp_path / "whole.mkv", tiny)
    counts = []
    for stop in (3, 7, 0, None):  # in frame 3; then in frame 10; at once; not at all
        pipe = Stopping(tiny, stop)
        if stop is None:
            summary = restore_video(source, target, pipe, resume=True)
        else:
            with pytest.raises(KeyboardInterrupt):
                restore_video(source, target, pipe, resume=True)
            assert not target.exists()
            assert (tmp_path / "out.mkv.parts").is_dir()
        counts.append(pipe.count)
    assert counts == [3, 7, 0, 2]  # no frame twice
    assert (summary.frames, summary.resumed) == (12, 10)
    assert "2 frames restored in" in str(summary)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mkv", "whole.mkv"]
    assert np.array_equal(pixels_of(target), pixels_of(tmp_path / "whole.mkv"))
    assert [f.pts for f in read(target)] == [f.pts for f in read(tmp_path / "whole.mkv")]
    assert packets(target, "audio") == packets(tmp_path / "whole.mkv", "audio")


@pytest.mark.usefixtures("lossless")
def test_a_run_that_is_killed_outright_loses_one_segment_at_most(tiny, tmp_path, monkeypatch):
    source, target = write(tmp_path / "in.mp4", dim()), tmp_path / "out.mkv"
    with monkeypatch.context() as patch:
        patch.setattr(segments.Parts, "rescue", lambda self: None)
        with pytest.raises(SystemExit):
            restore_video(source, target, Stopping(tiny, 8, SystemExit))
    pipe = Stopping(tiny)
    assert restore_video(source, target, pipe, resume=True).resumed == 5
    assert pipe.count == 7
    restore_video(source, tmp_path / "whole.mkv", tiny)
    assert np.array_equal(pixels_of(target), pixels_of(tmp_path / "whole.mkv"))


def test_a_run_interrupted_while_joining_goes_on(tiny, tmp_path, monkeypatch):
    source, target = write(tmp_path / "in.mp4", dim()), tmp_path / "out.mp4"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda a, b: stop() if Path(b) == target else Path(a).rename(b))
        with pytest.raises(KeyboardInterrupt):
            restore_video(source, target, tiny)
    assert not target.exists()
    pipe = Stopping(tiny)
    assert restore_video(source, target, pipe, resume=True).resumed == 12
    assert pipe.count == 0
    assert len(read(target)) == 12


def test_a_second_interrupt_loses_nothing(tiny, tmp_path, monkeypatch):
    source, target = write(tmp_path / "in.mp4", dim()), tmp_path / "out.mp4"
    close = mux.SegmentWriter.close

    def interrupted(self: mux.SegmentWriter) -> None:
        if len(self.stamps) == 4:  # not the rehearsal's, before there is anything to lose
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        close(self)

    with monkeypatch.context() as patch:
        patch.setattr(mux.SegmentWriter, "close", interrupted)
        with pytest.raises(KeyboardInterrupt):
            restore_video(source, target, Stopping(tiny, 4))
        deadline = time.monotonic() + 10
        while not (tmp_path / "out.mp4.parts" / "state.npz").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert restore_video(source, target, tiny, resume=True).resumed == 4


def test_only_the_same_call_can_be_resumed(tiny, tmp_path):
    source, target = write(tmp_path / "in.mp4", dim()), tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        restore_video(source, target, Stopping(tiny, 4))
    with pytest.raises(ValueError, match=r"out\.mp4\.parts: of another run \(exposure\)"):
        restore_video(source, target, tiny, resume=True, exposure=1.0)
    (tmp_path / "out.mp4.parts" / "mine.txt").write_text("not ours")
    pipe = Stopping(tiny)
    assert restore_video(source, target, pipe, exposure=1.0).resumed == 0
    assert pipe.count == 12
    assert [path.name for path in (tmp_path / "out.mp4.parts").iterdir()] == ["mine.txt"]


def test_what_is_damaged_among_the_parts_is_said(tiny, tmp_path):
    source, target = write(tmp_path / "in.mp4", dim()), tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        restore_video(source, target, Stopping(tiny, 4))
    (tmp_path / "out.mp4.parts" / "state.npz").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"state\.npz: cannot go on from it") as error:
        restore_video(source, target, tiny, resume=True)
    assert "\n" not in str(error.value)


# ---- what can't be restored


def test_wrong_inputs_are_one_line_and_leave_nothing_behind(tiny, tmp_path):
    good, out = write(tmp_path / "in.mp4", dim()), tmp_path / "out.mp4"
    (noise := tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(4096))
    (empty := tmp_path / "empty.mkv").write_bytes(b"")
    with av.open(str(tmp_path / "sound.m4a"), "w") as container:
        track = sound(container)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
        samples.sample_rate = 8000
        container.mux(track.encode(samples))
        container.mux(track.encode(None))
    (tmp_path / "link.mp4").symlink_to(good)
    (tmp_path / "folder.mp4").mkdir()
    names = sorted(path.name for path in tmp_path.iterdir())
    cases: list[tuple[Path, Path, type[Exception], str, dict[str, Any]]] = [
        (tmp_path / "none.mp4", out, FileNotFoundError, "none.mp4: No such file", {}),
        (tmp_path, out, IsADirectoryError, "expected a video, got a folder", {}),
        (noise, out, ValueError, "noise.mp4: Invalid data", {}),
        (empty, out, ValueError, "empty.mkv: ", {}),
        (srt(tmp_path / "folder.mp4"), out, ValueError, "without one", {}),
        (tmp_path / "sound.m4a", out, ValueError, "sound.m4a: expected a video, got a file without one", {}),
        (good, good, ValueError, "expected another file than the input", {}),
        (good, tmp_path / "link.mp4", ValueError, "expected another file than the input", {}),
        (good, tmp_path / "folder.mp4", ValueError, "expected a file to write, got a folder", {}),
        (good, tmp_path / "out.avi", ValueError, "a name that ends in .mp4, .m4v, .mov, .mkv, .ts, .webm", {}),
        (good, out, ValueError, "smoothing: expected seconds from 0 up, got -1", {"smoothing": -1}),
        (good, out, ValueError, "strength: expected a number from 0 to 1, got 2", {"strength": 2}),
    ]
    for source, target, kind, message, options in cases:
        with pytest.raises(kind) as error:
            restore_video(source, target, tiny, **options)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_file_that_breaks_off_is_restored_as_far_as_it_goes(tiny, tmp_path):
    source = write(tmp_path / "in.mkv", dim(), codec="ffv1", audio=True)
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) * 2 // 3])
    summary = restore_video(source, tmp_path / "out.mp4", tiny, strength=0)
    assert 4 <= summary.frames == len(read(tmp_path / "out.mp4")) < 12


def test_the_published_architecture_is_restored_without_smoothing(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(tiny.restorer, "model", build_autoencoder(PRESETS["paper"]))
    summary = restore_video(write(tmp_path / "in.mp4", dim(2), [0, 512]), tmp_path / "out.mp4", tiny, strength=0)
    assert summary.notes == ["brightness isn't smoothed: this architecture has no exposure control"]


def test_the_example_makes_a_video_and_restores_it(tmp_path, weights, load_script, monkeypatch, capsys):
    example = load_script(Path(__file__).parents[1] / "examples" / "video.py")
    monkeypatch.setattr(example, "SIZE", (48, 64))
    monkeypatch.setattr(example, "FRAMES", 4)
    example.main(["-o", str(tmp_path), "--weights", str(weights)])
    names = ["dark.mp4", "frame_by_frame.mp4", "frames.jpg", "steadied.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    dark, steadied = tmp_path / "dark.mp4", tmp_path / "steadied.mp4"
    assert packets(dark, "audio") == packets(steadied, "audio")
    assert example.darkened(example.scene()).mean() < 0.4 * example.scene().mean()
    table = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert table == ["video", "---", "the scene itself", "frame by frame", "steadied"]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    spec = importlib.util.spec_from_file_location("lightendiff.video.again", video_frames.__file__)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=r"videos need PyAV: pip install 'lightendiff\[video\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
