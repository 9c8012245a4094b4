"""Files that would cost too much are refused by their headers, in one line that names the limit."""

from __future__ import annotations

import io
import os
import socket
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightendiff import limits
from lightendiff.batch.plan import plan
from lightendiff.batch.run import restore_files
from lightendiff.files.atomic import replace_files
from lightendiff.files.locks import only_one
from lightendiff.images import ImageError, Picture, decode_picture, read_picture, write_picture
from lightendiff.images.xmp import plain_xmp
from lightendiff.models.presets import PRESETS
from lightendiff.pipeline import LightenPipeline
from lightendiff.restorer import Restorer
from lightendiff.runtime.memory import fit
from lightendiff.tiling import largest_window, pixels_in_windows, split

posix = pytest.mark.skipif(os.name != "posix", reason="pipes and sparse files of POSIX")
PIXELS = np.random.default_rng(0).integers(0, 90, (48, 64, 3), dtype=np.uint8)


def saved(format: str, size: tuple[int, int] | None = None, **options: object) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(PIXELS) if size is None else Image.new("L", size)
    image.save(stream, format, **options)
    return stream.getvalue()


def chunk(name: bytes, body: bytes, length: int | None = None) -> bytes:
    size = struct.pack(">I", len(body) if length is None else length)
    return size + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *chunks: bytes, bits: int = 8) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def tiff(*entries: tuple[int, int, int, int], more: bytes = b"", **changes: int) -> bytes:
    """A grey one of 64×48; entries are (tag, type, count, value)."""
    tags = {256: (4, 1, 64), 257: (4, 1, 48), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 8),
            277: (3, 1, 1), 278: (4, 1, 48), 279: (4, 1, 3072)} | {tag: rest for tag, *rest in entries}  # fmt: skip
    packed = b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + packed + bytes(4) + more + bytes(4000)


def small_pages(count: int) -> bytes:
    pages = [struct.pack("<HHHIIHHIIHHIII", 3, 254, 4, 1, 1, 256, 4, 1, 1, 257, 4, 1, 1,
             8 + 42 * (i + 1) if i < count - 1 else 0) for i in range(count)]  # fmt: skip
    return b"II*\0\x08\0\0\0" + b"".join(pages)


def jpeg_of_scans(count: int) -> bytes:
    content = saved("JPEG", (8000, 8000), progressive=True)
    at = content.rindex(b"\xff\xda")
    return content[:at] + content[at:-2] * count + b"\xff\xd9"


def jpeg_header(size: int) -> bytes:
    content = bytearray(saved("JPEG"))
    at = content.index(b"\xff\xc0") + 5
    struct.pack_into(">HH", content, at, size, size)
    return bytes(content)


def bmp_in_runs() -> bytes:
    content = saved("BMP")
    return content[:28] + struct.pack("<HI", 8, 1) + content[34:] + b"\1\1" * 6_000_000


def gif_with(prologue: bytes) -> bytes:
    content = saved("GIF")
    at = 13 + (3 << (content[10] & 7) + 1)
    return content[:at] + prologue + content[at:]


def webp_of_many_chunks() -> bytes:
    content = saved("WEBP") + b"JUNK\0\0\0\0" * 100_000
    return content[:4] + struct.pack("<I", len(content) - 8) + content[8:]


IDAT = chunk(b"IDAT", zlib.compress(bytes(48 * 193)))
TOO_MUCH: dict[str, tuple[Callable[[], bytes], str]] = {
    "chunk.png": (lambda: png(48, 32, chunk(b"IDAT", b"abc", 0xFFFFFFFF), bits=16), "a chunk of 4,294,967,295 bytes"),
    "chunks.png": (lambda: png(64, 48, chunk(b"tEXt", b"") * 500_001, IDAT), "more than 500,000 chunks"),
    "iccp.png": (lambda: png(64, 48, chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(2**24))), IDAT), "too large"),
    "ztxt.png": (lambda: png(64, 48, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**24))), IDAT), "too large"),
    "empty.png": (lambda: png(17000, 17000, IDAT), r"bytes can't hold 17000×17000 pixels"),
    "header.jpg": (lambda: jpeg_header(17000), r"bytes can't hold 17000×17000 pixels"),
    "huge.jpg": (lambda: jpeg_header(65000), "limit of 300,000,000 pixels; --max-megapixels"),
    "scans.jpg": (lambda: jpeg_of_scans(100), "8000×8000 pixels in more than 46 scans"),
    "segments.jpg": (lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 10_001 + saved("JPEG")[2:], "more than 10,000 segments"),
    "zeros.jpg": (lambda: saved("JPEG")[:20] + bytes(1_000_000), "more than 10,000 segments"),
    "comment.gif": (lambda: gif_with(b"\x21\xfe" + (b"\xff" + bytes(255)) * 9000 + b"\0"), "more than 2,000,000 bytes"),
    "zeros.gif": (lambda: gif_with(bytes(2_000_000)), "more than 2,000,000 bytes before the picture"),
    "runs.bmp": (bmp_in_runs, "more than 10 MB in run-length encoding"),
    "header.tif": (lambda: tiff((256, 4, 1, 17000), (257, 4, 1, 17000)), r"bytes can't hold 17000×17000 pixels"),
    "strips.tif": (lambda: tiff((273, 4, 2**21, 200), more=bytes(2**23)), "2,097,152 numbers in the TIFF tag 273"),
    "tiles.tif": (lambda: tiff((322, 4, 1, 2**30), (323, 4, 1, 2**30)), "limit of 300,000,000 pixels"),
    "shared.tif": (
        lambda: tiff(*((tag, 7, 2**20, 200) for tag in range(40000, 40100)), more=bytes(2**20)),
        "TIFF tags of 104,857,600 bytes in a file of 1,0",
    ),
    "pages.tif": (lambda: small_pages(1001), "more than 1,000 pages before one of full size"),
}  # fmt: skip


@pytest.mark.parametrize("name", TOO_MUCH)
def test_headers_that_claim_too_much_are_refused(name: str, tmp_path: Path) -> None:
    make, message = TOO_MUCH[name]
    (tmp_path / name).write_bytes(make())
    with pytest.raises(ImageError, match=message) as error:
        read_picture(tmp_path / name)
    assert "\n" not in str(error.value)


@posix
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("whole", [True, False])
def test_files_of_holes_are_not_read(format: str, whole: bool, tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    path.write_bytes(saved(format) if whole else saved(format)[:16])
    os.truncate(path, 20 * 10**9)
    with pytest.raises(ImageError, match="more than") as error:
        read_picture(path)
    if whole:
        assert "20,000 MB is more than the limit of 500 MB; --max-megabytes (max_bytes) raises it" in str(error.value)


def test_limits_of_bytes_can_be_set(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved("PNG") + bytes(5000))
    assert read_picture(path).pixels.shape == (48, 64, 3)
    with pytest.raises(ImageError, match="more than the limit of 0 MB"):
        read_picture(path, max_bytes=10_000)


@posix
def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(ImageError, match="expected a file, got a pipe or device"):
            read_picture(path)


def test_what_decoding_takes_is_held_against_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_LITTLE", 0)
    monkeypatch.setattr(limits, "free_memory", lambda: 50_000.0)
    with pytest.raises(ImageError, match=r"64×48 takes about 0\.0 GB of memory to decode, and 0\.0 GB are free"):
        decode_picture(saved("PNG"), "a.png")


def test_tags_of_other_kinds_are_left_out_and_the_picture_is_restored(tmp_path: Path) -> None:
    for tag in (700, 34675, 33723):
        for kind in (3, 4, 5, 11):
            (tmp_path / "a.tif").write_bytes(tiff((tag, kind, 1, 12)))
            lines: list[str] = []
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                summary = restore_files(plan([tmp_path / "a.tif"], tmp_path / "out").jobs, invert, failed=lines.append)
            assert (summary.restored, lines) == (1, [])
            assert read_picture(tmp_path / "out" / "a.tif").pixels.shape == (48, 64, 1)


def invert(array: np.ndarray) -> np.ndarray:
    return np.iinfo(array.dtype).max - array


def test_numbers_a_little_outside_are_taken_for_the_nearest(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    codes = np.rint(ramp * 65535).astype(int)
    cases: list[tuple[np.ndarray, np.ndarray]] = [
        (ramp * 1.06 - 0.03, np.rint((ramp * 1.06 - 0.03).clip(0, 1) * 65535).astype(int)),
        (ramp * 255, codes),
        (ramp * 65535, codes),
        ((ramp * 0.9 * 65535).astype(np.float32), np.rint(ramp * 0.9 * 65535).astype(int)),
    ]
    for given, expected in cases:
        Image.fromarray(given).save(tmp_path / "a.tif")
        picture = read_picture(tmp_path / "a.tif")
        assert np.abs(picture.pixels[..., 0].astype(int) - expected).max() <= 1
        assert any("floating-point" in note for note in picture.notes)
    signed = (np.arange(256).reshape(16, 16) * 100 - 50).astype(np.int32)
    Image.fromarray(signed).save(tmp_path / "a.tif")
    picture = read_picture(tmp_path / "a.tif")
    assert np.array_equal(picture.pixels[..., 0], signed.clip(0))
    assert "negative pixels, down to -50, are taken for 0" in picture.notes
    for wrong in (ramp * 5, ramp - 0.5, ramp * np.nan, ramp * 1e6):
        Image.fromarray(wrong.astype(np.float32)).save(tmp_path / "a.tif")
        with pytest.raises(ImageError, match=r"outside \[0, 1\], .*: save it as 16 bit"):
            read_picture(tmp_path / "a.tif")
    Image.fromarray(signed - 20_000).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="integer pixels outside"):
        read_picture(tmp_path / "a.tif")


def test_xmp_is_gone_over_once() -> None:
    for packet in (b"<rdf:li " + b"Semantic='a" * 10**5, b"<hdrgm:x>" * 10**5, b" " * 10**6, b"<hdrgm:x " * 10**5):
        assert plain_xmp(packet, []) == packet  # quadratic patterns took hours


# ---- restoring


@pytest.fixture(scope="module")
def pipe() -> LightenPipeline:
    torch.manual_seed(0)
    return LightenPipeline(Restorer(PRESETS["tiny"]), device="cpu", dtype=torch.float32)


def test_thin_pictures_count_with_their_padding(pipe: LightenPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightendiff.runtime.memory.free_memory", lambda: 8e9)
    check = pipe.bind().check()
    check(8, 100_000)
    check(3000, 4000)
    with pytest.raises(
        ValueError, match=r"10000000×1 takes about \d+\.\d+ GB of memory, and 8\.00 GB are free; max_mem"
    ):
        check(1, 10_000_000)
    with pytest.raises(ValueError, match=r"17000×17000 takes about .*--max-memory"):
        pipe(np.broadcast_to(np.uint8(0), (17000, 17000)))


def test_work_of_borders_and_padding_is_limited(pipe: LightenPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightendiff.runtime.memory.free_memory", lambda: 1e15)
    small = pipe.bind(tile=352)  # of which all but 32 pixels are borders
    small.check()(1000, 1000)
    with pytest.raises(
        ValueError, match=r"5000×5000, .* is work for [\d,]+ pixels, more than the limit of 600,000,000"
    ):
        small.check()(5000, 5000)
    small.check(10**10)(5000, 5000)
    with pytest.raises(ValueError, match=r"300000000×1, .*--max-megapixels raises"):
        pipe.bind().check()(1, 300_000_000)


@pytest.mark.parametrize(("height", "width", "side"), [(3200, 64, 352), (3232, 4096, 480), (32, 320_032, 384)])
def test_the_largest_window_is_known_without_making_all(height: int, width: int, side: int) -> None:
    tiles = split(height, width, side, 160, 32)
    sizes = [(tile.rows.last - tile.rows.first) * (tile.columns.last - tile.columns.first) for tile in tiles]
    assert largest_window(height, width, side, 160, 32) == max(sizes)
    assert sum(sizes) <= pixels_in_windows(height, width, side, 160, 32) <= 1.5 * sum(sizes)


def test_windows_of_very_thin_pictures_are_found_at_once() -> None:
    config = PRESETS["default"]
    _, side = fit(config, 1, 1, 300_000_000, 1e15)
    assert side is not None
    assert largest_window(32, 300_000_000, side, config.halo, 32) <= 2048**2
    assert largest_window(32, 300_000_000, side + 32, config.halo, 32) > 2048**2


def test_a_reader_that_waits_does_not_keep_the_program() -> None:
    script = "import time\nfrom lightendiff.batch.threads import Readers\nReaders(1).submit(lambda: time.sleep(600))"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0


# ---- two runs


def test_the_second_of_two_writers_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "weights"
    with only_one(target), pytest.raises(BlockingIOError, match="weights: another run is writing it"):
        replace_files({target: b"second"})
    replace_files({target: b"third"})
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]
    assert target.read_bytes() == b"third"


# ---- folders


@posix
def test_folders_of_any_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "in"
    deep.mkdir()
    monkeypatch.chdir(deep)
    for _ in range(1500):
        os.mkdir("d")
        os.chdir("d")
    write_picture("a.png", Picture(PIXELS))
    os.chdir(tmp_path)
    jobs = plan(["in"], "out", recursive=True).jobs
    assert len(jobs) == 1
    assert restore_files(jobs, invert).restored == 1
    assert read_picture("out/" + "d/" * 1500 + "a.png").pixels.shape == PIXELS.shape
    for root in ("in", "out"):  # pytest's own way of removing it calls itself for each level
        for folder in sorted((path for path, _, _ in walk(root)), key=len, reverse=True):
            for name in os.listdir(folder):
                os.unlink(os.path.join(folder, name))
            os.rmdir(folder)


def walk(root: str) -> list[tuple[str, None, None]]:
    found = [root]
    for folder in found:
        found += [entry.path for entry in os.scandir(folder) if entry.is_dir()]
    return [(folder, None, None) for folder in found]


@posix
def test_what_is_no_picture_is_counted(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", Picture(PIXELS))
    os.symlink("nowhere.png", tmp_path / "dead.png")
    os.symlink("loop.png", tmp_path / "loop.png")
    os.symlink(".", tmp_path / "again")
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path)  # a socket's path may have a hundred bytes
        server.bind("s.png")
        os.chdir(here)
        planned = plan([tmp_path], tmp_path / "out", recursive=True)
    assert len(planned.jobs) == 1
    assert planned.left_out == {"other files": 4}
