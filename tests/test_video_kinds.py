"""Kinds of video files, made with ffmpeg: what is kept of each, beside what ffmpeg's own re-encoding keeps."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightendiff import LightenPipeline
from lightendiff.models.presets import PRESETS
from lightendiff.restorer import Restorer

av = pytest.importorskip("av")
if shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None:
    pytest.skip("ffmpeg and ffprobe aren't there", allow_module_level=True)

from lightendiff.video import copies, join  # noqa: E402
from lightendiff.video.restore import VideoSummary, restore_video  # noqa: E402

H264 = "-pix_fmt yuv420p -c:v libx264 -bf 2 -g 10"


@pytest.fixture(scope="module")
def tiny() -> LightenPipeline:
    torch.manual_seed(0)
    return LightenPipeline(Restorer(PRESETS["tiny"]), device="cpu", dtype=torch.float32)


def ffmpeg(*arguments: object) -> None:
    words = [word for each in arguments for word in (each.split() if isinstance(each, str) else [str(each)])]
    done = subprocess.run(["ffmpeg", "-v", "error", "-y", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def probe(path: Path, *arguments: str) -> dict[str, Any]:
    line = ["ffprobe", "-v", "error", "-of", "json", *arguments, str(path)]
    return json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout or "{}")


def frames(path: Path) -> list[dict[str, Any]]:
    return probe(path, "-select_streams", "v:0", "-show_frames")["frames"]


def times(path: Path) -> list[float]:
    return [float(each["pts_time"]) for each in frames(path)]


def streams(path: Path) -> list[dict[str, Any]]:
    return probe(path, "-show_streams")["streams"]


def duration(path: Path) -> float:
    return float(probe(path, "-show_format")["format"]["duration"])


def lead(path: Path) -> float:
    """By how much the sound begins before the video, in seconds."""
    starts = {each["codec_type"]: float(each["start_time"]) for each in streams(path)}
    return starts["video"] - starts["audio"]


def clip(path: Path, *more: object, codec: str = H264, sound: str = "-c:a aac", size: str = "96:64") -> Path:
    """A second of 25 frames, with sound unless that is empty."""
    audio = "-f lavfi -i sine=f=440:d=1:r=48000" if sound else ""
    picture = f"-f lavfi -i testsrc2=s=96x64:r=25:d=1,scale={size}:flags=neighbor,setsar=1"
    ffmpeg(picture, audio, codec, sound, *more, path)
    return path


def restored(pipe: LightenPipeline, source: Path, extension: str) -> tuple[Path, VideoSummary]:
    target = source.with_name(f"restored.{extension}")
    return target, restore_video(source, target, pipe, strength=0)


# ---- beside ffmpeg

KINDS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "mp4": ("in.mp4", clip),
    "mov with timecode": ("in.mov", lambda path: clip(path, "-timecode 01:02:03:04")),
    "mkv": ("in.mkv", clip),
    "webm": ("in.webm", lambda path: clip(path, codec="-c:v libvpx-vp9 -b:v 200k", sound="-c:a libopus")),
    "vp8": ("in.webm", lambda path: clip(path, codec="-c:v libvpx -b:v 200k", sound="-c:a libvorbis")),
    "ts from 1.4 s": ("in.ts", clip),
    "ts from 50,000 s": ("in.ts", lambda path: clip(path, "-output_ts_offset 50000")),
    "mkv from 20 s": ("in.mkv", lambda path: clip(path, "-output_ts_offset 20")),
    "avi of H.264": ("in.avi", clip),
    "avi of MPEG-4": ("in.avi", lambda path: clip(path, codec="-c:v mpeg4 -bf 2", sound="-c:a mp3")),
    "MPEG program stream": ("in.mpg", lambda path: clip(path, codec="-c:v mpeg2video", sound="-c:a mp2")),
    "flv": ("in.flv", clip),
    "hevc": ("in.mp4", lambda path: clip(path, codec="-pix_fmt yuv420p -c:v libx265 -x265-params log-level=error")),
    "ntsc": ("in.mp4", lambda path: clip(path, "-r 30000/1001")),
    "gif": ("in.gif", lambda path: clip(path, codec="", sound="")),
    "qtrle": ("in.mov", lambda path: clip(path, codec="-c:v qtrle", sound="-c:a pcm_s16le")),
    "ffv1": ("in.mkv", lambda path: clip(path, codec="-c:v ffv1 -pix_fmt yuv420p", sound="-c:a flac")),
    "mjpeg": ("in.avi", lambda path: clip(path, codec="-c:v mjpeg -pix_fmt yuvj420p", sound="-c:a pcm_s16le")),
    "prores": ("in.mov", lambda path: clip(path, codec="-c:v prores_ks", sound="-c:a pcm_s16le")),
    "rotated": ("in.mp4", lambda path: rotated(path)),
    "cut by an edit list": ("in.mp4", lambda path: cut(path)),
    "wmv": ("in.wmv", lambda path: clip(path, codec="-c:v wmv2", sound="-c:a wmav2")),
}


def rotated(path: Path) -> None:
    clip(path.with_name("upright.mp4"))
    ffmpeg("-i", path.with_name("upright.mp4"), "-c copy -metadata:s:v rotate=90", path)


def cut(path: Path) -> None:
    ffmpeg("-ss 0.56 -i", clip(path.with_name("whole.mp4")), "-c copy", path)


@pytest.mark.parametrize("extension", ["mp4", "mkv"])
@pytest.mark.parametrize("kind", KINDS)
def test_streams_times_and_rotation_are_those_that_ffmpeg_keeps(tiny, tmp_path, kind, extension):
    name, make = KINDS[kind]
    source, theirs = tmp_path / name, tmp_path / f"theirs.{extension}"
    make(source)
    ffmpeg(
        "-noautorotate -i", source, "-an -fps_mode passthrough -enc_time_base -1 -c:v libx264 -bf 0 -strict -1", theirs
    )
    ours, summary = restored(tiny, source, extension)
    kept = [each["codec_type"] for each in streams(ours)]
    refused = [note.split()[0] for note in summary.notes if "isn't copied" in note]
    assert kept.count("video") == 1
    assert kept.count("audio") == (kind != "gif" and "audio" not in refused)
    assert np.allclose(np.diff(times(ours)), np.diff(times(theirs)), atol=2.1e-3)
    # AVI has no time stamps: the first frame is at 0, where ffmpeg counts its decoder's delay
    assert times(ours)[0] == pytest.approx(0 if "avi" in kind else times(theirs)[0], abs=0.03)  # of a packet of sound
    if "audio" in kept and "avi" not in kind:
        assert lead(ours) == pytest.approx(lead(source), abs=0.025)
    assert duration(ours) == pytest.approx(duration(theirs), abs=0.1)
    codes = [each.get("tags", {}).get("timecode") or each.get("tags", {}).get("TIMECODE") for each in streams(ours)]
    assert ("01:02:03:04" in codes) == (kind == "mov with timecode")
    turned = [data.get("rotation") for each in streams(ours) for data in each.get("side_data_list", [])]
    assert any(turned) == (kind == "rotated")
    assert not any("damaged" in note or "ends early" in note for note in summary.notes)


# ---- containers


def test_what_an_edit_list_cuts_away_stays_away(tiny, tmp_path):
    cut(tmp_path / "in.mp4")
    for extension in ("mp4", "mkv"):
        ours, summary = restored(tiny, tmp_path / "in.mp4", extension)
        assert len(frames(ours)) == len(frames(tmp_path / "in.mp4")) == summary.frames < 15
        sound = probe(ours, "-select_streams", "a", "-show_packets")["packets"]
        assert float(sound[0]["pts_time"]) > -0.05
        assert duration(ours) < 0.6


@pytest.mark.parametrize("extension", ["mp4", "mov", "mkv"])
def test_the_keys_of_phones_are_kept(tiny, tmp_path, extension):
    keys = {
        "com.apple.quicktime.location.ISO6709": "+48.2+016.3+180/",
        "com.apple.quicktime.make": "Apple",
        "com.apple.quicktime.creationdate": "2024-05-06T07:08:09+0200",
    }
    tags = [word for key, value in keys.items() for word in ("-metadata", f"{key}={value}")]
    source = clip(tmp_path / "in.mov", "-movflags use_metadata_tags", *tags)
    ours, summary = restored(tiny, source, extension)
    kept = {key.lower(): value for key, value in probe(ours, "-show_format")["format"]["tags"].items()}
    assert {key.lower(): value for key, value in keys.items()}.items() <= kept.items()
    assert summary.notes == []


@pytest.mark.parametrize("extension", ["mp4", "m4v", "mov", "mkv", "webm", "ts"])
def test_timecode_and_pixel_aspect_are_kept_or_noted(tiny, tmp_path, extension):
    source = clip(tmp_path / "in.mov", "-timecode 01:02:03:04 -aspect 2:1", sound="")
    ours, summary = restored(tiny, source, extension)
    notes = {
        "ts": ["the timecode isn't kept"],
        "webm": ["the aspect of pixels, 4/3, isn't kept: players show them square"],
    }
    assert streams(ours)[0]["display_aspect_ratio"] == ("3:2" if extension == "webm" else "2:1")
    codes = [
        value for each in streams(ours) for key, value in each.get("tags", {}).items() if key.lower() == "timecode"
    ]
    # a tag where the format has no tracks of them
    assert codes == ([] if extension == "ts" else ["01:02:03:04"] * len(streams(ours)))
    assert summary.notes == notes.get(extension, [])


def test_more_than_8_bits_for_webm_is_told(tiny, tmp_path):
    source = clip(tmp_path / "in.mkv", codec="-c:v ffv1 -pix_fmt yuv420p10le", sound="")
    ours, summary = restored(tiny, source, "webm")
    assert streams(ours)[0]["pix_fmt"] == "yuv420p"
    assert summary.notes == ["stored in 8 bits, of more in the source"]


def test_tags_and_chapters_without_a_place_are_named(tiny, tmp_path):
    (tmp_path / "chapters.txt").write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=one\n")
    whole = clip(tmp_path / "whole.mkv")
    source = tmp_path / "in.mkv"
    ffmpeg("-i", whole, "-i", tmp_path / "chapters.txt", "-c copy -map_chapters 1 -metadata mine=1", source)
    _, summary = restored(tiny, source, "ts")
    assert "tags aren't kept: MINE" in summary.notes
    assert "chapters aren't kept" in summary.notes
    ours, summary = restored(tiny, source, "mp4")
    assert probe(ours, "-show_chapters")["chapters"][0]["tags"]["title"] == "one"
    again, summary = restored(tiny, ours.rename(tmp_path / "first.mp4"), "mp4")  # the chapters' track isn't doubled
    assert [each["codec_type"] for each in streams(again)] == ["video", "audio", "data"]
    assert summary.notes == []


def test_a_stream_that_the_container_refuses_late_is_left_out_before_the_work(tiny, tmp_path, monkeypatch):
    source = clip(tmp_path / "in.mov", "-timecode 01:02:03:04")
    monkeypatch.setattr(copies, "is_timecode", lambda stream: False)
    monkeypatch.setattr(copies, "_is_telemetry", lambda stream: True)
    ours, summary = restored(tiny, source, "mov")
    assert [note for note in summary.notes if "isn't copied" in note] == [
        "data stream 2 (of an unknown kind) isn't copied: mov can't hold it"
    ]
    assert [each["codec_type"] for each in streams(ours)][:2] == ["video", "audio"]


def test_a_failure_at_the_end_leaves_the_video(tiny, tmp_path, monkeypatch):
    write, failures = join.Joint._write, []

    def failing(self: join.Joint, segments: Any, last: int, target: Any, few: bool = False) -> list[str]:
        if isinstance(target, Path) and not failures:
            failures.append(1)
            raise ValueError("no more")
        return write(self, segments, last, target, few)

    monkeypatch.setattr(join.Joint, "_write", failing)
    ours, summary = restored(tiny, clip(tmp_path / "in.mp4"), "mp4")
    assert [each["codec_type"] for each in streams(ours)] == ["video"]
    assert "nothing but the video could be joined: no more" in summary.notes


def test_a_clock_that_jumps_leaves_no_gap(tiny, tmp_path):
    first, second = clip(tmp_path / "a.ts"), clip(tmp_path / "b.ts", "-output_ts_offset 7000")
    (tmp_path / "in.ts").write_bytes(first.read_bytes() + second.read_bytes())
    ours, summary = restored(tiny, tmp_path / "in.ts", "mp4")
    assert summary.frames == 50
    assert duration(ours) == pytest.approx(2.0, abs=0.2)
    assert "the file's clock jumps: the parts were put together without a gap" in summary.notes


# ---- files that break off


@pytest.mark.parametrize(
    ("name", "said"),
    [("in.mp4", r"of 25 frames"), ("in.mkv", r"of 1\.0 s"), ("in.avi", r"of 1\.0 s"), ("in.flv", r"of 1\.[01] s")],
)
def test_a_file_that_breaks_off_says_so(tiny, tmp_path, name, said):
    whole = clip(tmp_path / f"whole-{name}", "-movflags faststart" if name == "in.mp4" else "")
    data = whole.read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * 0.4)])
    _, summary = restored(tiny, tmp_path / name, "mkv")
    assert 0 < summary.frames < 20
    assert any(re.match(f"the file ends early: .*{said}.* could be read", note) for note in summary.notes)


def test_a_recording_without_its_index_is_refused_and_why(tiny, tmp_path):
    data = clip(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "in.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"in\.mp4: .*its index \(moov\) is missing"):
        restored(tiny, tmp_path / "in.mp4", "mp4")


# ---- frames


def captions(path: Path) -> Path:
    """A clip with closed captions in each frame, put into H.264 by hand."""
    plain = clip(path.with_name("plain.h264"), codec="-pix_fmt yuv420p -c:v libx264 -bf 0", sound="")
    units = re.split(b"(?=\0\0\0\1)|(?<!\0)(?=\0\0\1)", plain.read_bytes())
    data = b""
    for unit in units:
        head = 4 if unit[:4] == b"\0\0\0\1" else 3
        if len(unit) > head + 1 and unit[head] & 31 in (1, 5) and unit[head + 1] & 0x80:
            message = b"\xb5\x00\x31GA94\x03\x41\xff\xfc\xc8\xe5\xff"
            data += b"\0\0\0\1\x06\x04" + bytes([len(message)]) + message + b"\x80"
        data += unit
    path.with_name("captions.h264").write_bytes(data)
    ffmpeg("-r 25 -i", path.with_name("captions.h264"), "-c copy", path)
    return path


@pytest.mark.parametrize("extension", ["mp4", "m4v", "mov", "mkv", "ts", "webm"])
def test_closed_captions_are_kept_or_noted(tiny, tmp_path, extension):
    ours, summary = restored(tiny, captions(tmp_path / "in.mp4"), extension)
    kept = sum("A53" in json.dumps(each) for each in frames(ours))
    assert kept == (0 if extension == "webm" else 25)
    assert summary.notes == (["closed captions aren't kept"] if extension == "webm" else [])


def spherical(path: Path) -> Path:
    """A clip whose sample entry says that it is a panorama, in stereo above each other."""
    data = bytearray(clip(path.with_name("flat.mp4"), sound="").read_bytes())

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(content), kind) + content

    sphere = box(b"prhd", struct.pack(">I3i", 0, 10 << 16, 20 << 16, 0)) + box(b"equi", bytes(20))
    boxes = box(b"st3d", bytes(4) + b"\1") + box(b"sv3d", box(b"svhd", bytes(5)) + box(b"proj", sphere))
    end = 0
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        at = data.index(kind, end) - 4
        size = int.from_bytes(data[at : at + 4], "big")
        data[at : at + 4] = (size + len(boxes)).to_bytes(4, "big")
        end = at + 8
    data[at + size : at + size] = boxes  # the index is at the end, and nothing behind it is pointed to
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("extension", ["mp4", "m4v", "mkv", "mov", "webm", "ts"])
def test_spherical_video_stays_so_or_that_is_noted(tiny, tmp_path, extension):
    source = spherical(tmp_path / "in.mp4")
    old, new = streams(source)[0], streams(restored(tiny, source, extension)[0])[0]
    summary = restored(tiny, source, extension)[1]
    assert {each["side_data_type"] for each in old["side_data_list"]} == {"Stereo 3D", "Spherical Mapping"}
    noted = [note for note in summary.notes if note.startswith("the spherical projection is")] != []
    same = [each for each in new.get("side_data_list", []) if each["side_data_type"] == "Spherical Mapping"]
    assert bool(same) != noted
    assert noted == (extension in ("mov", "ts"))
    if same:
        assert (same[0]["projection"], same[0]["yaw"], same[0]["pitch"]) == ("equirectangular", 10, 20)


@pytest.mark.parametrize("extension", ["mp4", "m4v", "mov", "mkv", "ts", "webm"])
def test_what_displays_need_to_know_is_kept(tiny, tmp_path, extension):
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    options = f"hdr10=1:log-level=error:master-display={display}:max-cll=1000,400"
    tags = "-color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc"
    codec = f"-pix_fmt yuv420p10le -c:v libx265 {tags} -x265-params {options}"
    source = clip(tmp_path / "in.mp4", codec=codec, sound="")
    ours, summary = restored(tiny, source, extension)
    with av.open(str(ours)) as container:
        found = {each.type.name: bytes(each) for each in next(container.decode(video=0)).side_data}
    with av.open(str(source)) as container:
        wanted = {each.type.name: bytes(each) for each in next(container.decode(video=0)).side_data}
    assert "HDR (PQ) was restored as if it were standard video" in summary.notes
    assert found["CONTENT_LIGHT_LEVEL"] == wanted["CONTENT_LIGHT_LEVEL"]
    numbers = [np.frombuffer(each["MASTERING_DISPLAY_METADATA"], np.int32)[:20] for each in (found, wanted)]
    ours_, theirs = (each[::2] / each[1::2] for each in numbers)
    assert ours_ == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize(("size", "depth"), [("96:64", "4:2:0"), ("95:63", "4:4:4")])
@pytest.mark.parametrize("name", ["in.gif", "in.mov"])
def test_rgb_becomes_what_players_show(tiny, tmp_path, name, size, depth):
    source = clip(tmp_path / name, codec="" if name == "in.gif" else "-c:v qtrle", sound="", size=size)
    ours, summary = restored(tiny, source, "mp4")
    assert streams(ours)[0]["pix_fmt"] == f"yuv{depth.replace(':', '')}p"
    noted = [note for note in summary.notes if "4:4:4, because 95×63 is odd: not every player" in note]
    assert bool(noted) == (depth == "4:4:4")
    ours, summary = restored(tiny, source, "webm")
    assert streams(ours)[0]["pix_fmt"] == "yuv420p"  # with alpha beside it, which ffprobe doesn't say
    assert summary.notes == []


def test_alpha_is_kept_in_webm_and_noted_elsewhere(tiny, tmp_path):
    fade = "-vf format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='2*X'"
    source = clip(tmp_path / "in.mov", fade, codec="-c:v qtrle -pix_fmt argb", sound="")
    for _ in range(2):  # from QuickTime, and then from WebM itself
        ours, summary = restored(tiny, source, "webm")
        assert summary.notes == []
        ffmpeg("-c:v libvpx-vp9 -i", ours, "-frames:v 1 -vf alphaextract -f rawvideo -pix_fmt gray", tmp_path / "alpha")
        alpha = np.frombuffer((tmp_path / "alpha").read_bytes(), np.uint8).reshape(64, 96)
        assert np.abs(alpha.mean(axis=0) - 2 * np.arange(96)).max() < 8
        _, summary = restored(tiny, source, "mp4")
        assert summary.notes == ["transparency isn't kept"]
        source = ours.rename(tmp_path / "in.webm")


def test_a_size_that_changes_midway_is_told(tiny, tmp_path):
    small, large = clip(tmp_path / "a.ts", sound=""), clip(tmp_path / "b.ts", sound="", size="128:96")
    (tmp_path / "in.ts").write_bytes(small.read_bytes() + large.read_bytes())
    ours, summary = restored(tiny, tmp_path / "in.ts", "mp4")
    assert {(each["width"], each["height"]) for each in frames(ours)} == {(96, 64)}
    assert "frames of 128×96 were scaled to the first one's size, 96×64" in summary.notes
    assert len(frames(ours)) == summary.frames > 45


@pytest.mark.parametrize(("pix_fmt", "said"), [("yuv422p", "4:2:2"), ("yuv420p10le", "4:2:0, 10 bits")])
def test_what_few_players_show_is_told(tiny, tmp_path, pix_fmt, said):
    source = clip(tmp_path / "in.mkv", codec=f"-c:v ffv1 -pix_fmt {pix_fmt}", sound="")
    ours, summary = restored(tiny, source, "mp4")
    assert streams(ours)[0]["pix_fmt"] == pix_fmt
    assert summary.notes == [f"stored in {said}: not every player shows that"]


def rgb_means(path: Path) -> np.ndarray:
    """The mean R, G and B of a file's first frame, as FFmpeg's own program shows it."""
    line = ["ffmpeg", "-v", "error", "-i", str(path), "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(line, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, 3).mean(axis=0)


@pytest.mark.parametrize("codec", ["-c:v libx264rgb -qp 0", "-c:v qtrle", "-c:v ffv1 -pix_fmt bgr0", "-c:v png"])
def test_rgb_sources_look_the_same_in_players(tiny, tmp_path, codec):
    source = clip(tmp_path / "in.mov" if "qtrle" in codec else tmp_path / "in.mkv", codec=codec, sound="")
    for extension in ("mp4", "webm"):
        ours, _ = restored(tiny, source, extension)
        assert streams(ours)[0]["pix_fmt"] == "yuv420p"
        np.testing.assert_allclose(rgb_means(ours), rgb_means(source), atol=2)


@pytest.mark.parametrize("extension", ["mp4", "mkv", "mov", "webm", "ts"])
@pytest.mark.parametrize("name", ["in.mp4", "in.mkv"])
def test_a_cover_stays_one_or_is_noted(tiny, tmp_path, name, extension):
    whole = clip(tmp_path / f"whole-{name}")
    ffmpeg("-f lavfi -i testsrc2=s=64x64 -frames:v 1", tmp_path / "c.jpg")
    if name == "in.mkv":
        kind = "-metadata:s:t mimetype=image/jpeg -metadata:s:t filename=cover.jpg"
        ffmpeg("-i", whole, "-c copy -attach", tmp_path / "c.jpg", kind, tmp_path / name)
    else:
        ffmpeg(
            "-i",
            whole,
            "-i",
            tmp_path / "c.jpg",
            "-map 0 -map 1 -c copy -disposition:v:1 attached_pic",
            tmp_path / name,
        )
    ours, summary = restored(tiny, tmp_path / name, extension)
    covers = [each["disposition"]["attached_pic"] for each in streams(ours) if each["codec_type"] == "video"]
    assert covers == ([0, 1] if extension in ("mp4", "mkv") else [0])
    assert any("(mjpeg) isn't copied" in note for note in summary.notes) == (covers == [0])


@pytest.mark.parametrize("extension", ["mp4", "mkv", "mov", "webm", "ts"])
def test_titles_and_languages_of_streams_are_kept_or_noted(tiny, tmp_path, extension):
    labels = ("-metadata:s:a:0", "title=Director's comments", "-metadata:s:a:0 language=deu -metadata:s:v:0 title=main")
    line = ["ffmpeg", "-v", "error", "-y", "-i", str(clip(tmp_path / "whole.mkv", sound="-c:a libopus")), "-c", "copy"]
    words = [word for each in labels for word in ([each] if "comments" in each else each.split())]
    subprocess.run([*line, *words, str(tmp_path / "in.mkv")], check=True)
    ours, summary = restored(tiny, tmp_path / "in.mkv", extension)
    found = {each["codec_type"]: {k.lower(): v for k, v in each.get("tags", {}).items()} for each in streams(ours)}
    said = [note for note in summary.notes if note.startswith(("the title", "the language"))]
    if extension == "mov":  # which can't hold the sound
        assert any("audio stream 1 (opus) isn't copied" in note for note in summary.notes)
    elif extension == "ts":
        assert len(said) == 2
        assert found["audio"]["language"] == "deu"
    else:
        sound = found["audio"]
        assert "Director's comments" in (sound.get("title"), sound.get("handler_name"))
        assert sound["language"] == "deu"
        assert said == []


def test_languages_are_kept_in_mov(tiny, tmp_path):
    whole = clip(tmp_path / "whole.mp4")
    for language, expected in (("deu", "ger"), ("fra", "fra"), ("xho", None)):
        ffmpeg("-i", whole, f"-c copy -metadata:s:a:0 language={language}", tmp_path / "in.mp4")
        ours, summary = restored(tiny, tmp_path / "in.mp4", "mov")
        assert streams(ours)[1].get("tags", {}).get("language") == expected
        assert ["the language of audio stream 1 (aac) isn't kept: xho"] * (expected is None) == summary.notes
