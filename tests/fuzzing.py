"""Damaged files for test_fuzz.py: one process that makes them, hands them to the package, and says what came of each.

    python tests/fuzzing.py KIND FIRST COUNT FOLDER

KIND is a picture's extension, a video's, or one of WEIGHTS. Each case is a line of JSON on standard output. A process
that takes too much memory or time for a case ends.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import resource
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = 60  # for a case, on a machine that does other things, too
MEMORY = 2 * 2**30  # bytes beyond what the process has when it begins
MAX_PIXELS = 1_000_000
PICTURES = ("png", "jpg", "webp", "heic", "avif", "tif", "bmp", "gif")
VIDEOS = ("mp4", "mkv", "ts", "webm", "avi")
WEIGHTS = ("config", "safetensors", "published", "lightning")
_EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """`content` damaged in one to three places, most often near its beginning, where the structure is."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        content = _mutated_once(content, draw)
    return content


def _mutated_once(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(max(1, min(len(content), draw.choice([16, 200, 4000, len(content)]))))
    match draw.randrange(7):
        case 0:
            return content[:place]
        case 1:
            return content[:place] + draw.randbytes(draw.randint(1, 9)) + content[place:]
        case 2:
            return content[:place] + content[place + draw.randint(1, 99) :]
        case 3 if content:
            changed = bytearray(content)
            changed[place] ^= 1 << draw.randrange(8)
            return bytes(changed)
        case 4:
            number = struct.pack(draw.choice("<>") + draw.choice("HI"), draw.choice(_EXTREMES) & 0xFFFF)
            if len(number) == 4:
                number = struct.pack(draw.choice("<>") + "I", draw.choice(_EXTREMES))
            return content[:place] + number + content[place + len(number) :]
        case 5:
            return content + content[place:] if draw.random() < 0.5 else content + draw.randbytes(4096)
        case _:
            length = draw.randint(1, 40)
            return content[:place] + draw.randbytes(length) + content[place + length :]


# ---- pictures


def picture_files(extension: str, folder: Path) -> list[bytes]:
    """Whole files of a format, of several kinds."""
    from PIL import Image

    from lightendiff.images import Picture, write_picture

    values = np.random.default_rng(0).integers(0, 90, (30, 40, 4), dtype=np.uint8)
    values[:, 20:] = values[0, 0]
    exif = Image.Exif()
    exif[274], exif[271] = 6, "camera"
    exif.get_ifd(34665)[37500] = b"maker note" * 9
    files: list[bytes] = []

    def add(image: Image.Image, **options: Any) -> None:
        path = folder / f"whole.{extension}"
        image.save(path, **options)
        files.append(path.read_bytes())

    if extension != "gif":
        deep = values.astype(np.uint16) * 257
        packet = b'<x:xmpmeta><rdf:li Item:Semantic="Depth"></rdf:li> tiff:Orientation="6"</x:xmpmeta>'
        profile = Image.open(_with_profile(folder)).info["icc_profile"]
        for picture in (
            Picture(values[..., :3], exif=exif.tobytes()[6:], xmp=packet, icc_profile=profile, dpi=(72, 72)),
            Picture(values[..., :3], values[..., 3]),
            Picture(values[..., :1]),
            Picture(deep[..., :3], deep[..., 3]),
        ):
            path = folder / f"whole.{extension}"
            write_picture(path, picture)
            files.append(path.read_bytes())
    colour, grey = Image.fromarray(values[..., :3]), Image.fromarray(values[..., 0])
    if extension == "png":
        add(colour.quantize(16), transparency=0)
        add(colour, save_all=True, append_images=[colour.rotate(90)] * 2)
    elif extension == "jpg":
        add(colour, progressive=True, exif=exif, comment=b"words")
        add(colour.convert("CMYK"))
    elif extension == "webp":
        add(colour, lossless=True)
        add(colour, save_all=True, append_images=[colour.rotate(90)] * 2)
    elif extension == "tif":
        for compression in ("raw", "tiff_lzw", "packbits", "jpeg", "tiff_adobe_deflate"):
            add(colour, compression=compression)
        add(grey.convert("1"), compression="group4")
        add(Image.fromarray(values[..., 0].astype(np.float32) / 255))
        add(colour, big_tiff=True)
        add(colour, save_all=True, append_images=[grey])
    elif extension == "bmp":
        add(colour.quantize(16))
    elif extension == "gif":
        add(colour)
        add(colour, save_all=True, append_images=[grey, colour.rotate(90)], comment=b"words" * 99, transparency=0)
    return files


def _with_profile(folder: Path) -> Path:
    from PIL import Image, ImageCms

    path = folder / "profile.png"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (2, 2)).save(path, icc_profile=profile)
    return path


def invert(array: np.ndarray) -> np.ndarray:
    return np.iinfo(array.dtype).max - array


def picture_case(extension: str, folder: Path) -> Callable[[random.Random], str]:
    from lightendiff.batch.plan import Job
    from lightendiff.batch.run import restore_files
    from lightendiff.images import read_picture
    from lightendiff.images.formats import BY_SUFFIX, written_as

    files = picture_files(extension, folder)
    written = written_as(BY_SUFFIX[f".{extension}"].name).suffixes[0]
    source, out = folder / f"damaged.{extension}", folder / "out"

    def case(draw: random.Random) -> str:
        source.write_bytes(mutated(draw.choice(files), draw))
        lines: list[str] = []
        job = Job(source, out / f"result{written}")
        summary = restore_files([job], invert, max_pixels=MAX_PIXELS, failed=lines.append)
        left = sorted(path.name for path in out.iterdir()) if out.exists() else []
        if summary.restored:
            assert (left, lines) == ([job.target.name], [])
            read_picture(job.target)
            job.target.unlink()
            return "restored"
        assert (left, len(lines)) == ([], 1), lines
        check_line(lines[0], source)
        assert "cannot write" not in lines[0], lines[0]
        return lines[0]

    return case


def check_line(line: str, path: Path) -> None:
    """One line that names the file, and is no accident."""
    assert line.startswith(f"{path}"), line
    assert line.isprintable(), line
    assert "MemoryError" not in line, line


# ---- weights


def weights_case(kind: str, folder: Path) -> Callable[[random.Random], str]:
    import torch

    from lightendiff.models.presets import PRESETS
    from lightendiff.restorer import Restorer
    from lightendiff.weights.folder import CheckpointError, save_restorer
    from lightendiff.weights.load import read_weights

    torch.manual_seed(0)
    torch.set_num_threads(1)
    restorer = Restorer(PRESETS["tiny"])
    save_restorer(restorer, folder)
    path = folder / {"config": "config.json", "safetensors": "model.safetensors"}.get(kind, "weights.ckpt")
    if kind == "published":  # a small one: what is damaged is the container
        tensors = {f"module.{name}": torch.zeros(2) for name in "abc"}
        torch.save({"state_dict": tensors, "step": 5}, path)
    elif kind == "lightning":
        tensors = {f"restorer.{name}": tensor for name, tensor in restorer.state_dict().items()}
        torch.save({"state_dict": tensors, "pytorch-lightning_version": "2.6", "global_step": 5}, path)
    whole = path.read_bytes()

    def case(draw: random.Random) -> str:
        odd = kind == "config" and draw.random() < 0.7
        path.write_bytes(_odd_configuration(whole, draw) if odd else mutated(whole, draw))
        try:
            read_weights(folder if kind in ("config", "safetensors") else path)
        except CheckpointError as error:
            check_line(str(error), folder)
            return str(error)
        return "restored"

    return case


def _odd_configuration(whole: bytes, draw: random.Random) -> bytes:
    """One field of it, or of its scheduler, holds what doesn't belong there."""
    content = json.loads(whole)
    values = (
        None, True, "2", "", 2.5, -1, 0, 2**31, 2**80, 1e308, float("nan"), float("inf"), [], {}, [[]], [2**31],
        [None], ["2"], [8, 8], {"a": {}}, "x" * 999, [1] * 999, 3, 7, 1000, 1e-9,
    )  # fmt: skip
    held = content["scheduler"] if draw.random() < 0.5 else content
    held[draw.choice([*held, "unknown"])] = draw.choice(values)
    return json.dumps(content).encode()


# ---- videos


def video_case(extension: str, folder: Path) -> Callable[[random.Random], str]:
    import av
    import torch

    from lightendiff.models.presets import PRESETS
    from lightendiff.pipeline import LightenPipeline
    from lightendiff.restorer import Restorer
    from lightendiff.video.restore import restore_video

    torch.manual_seed(0)
    torch.set_num_threads(1)
    pipe = LightenPipeline(Restorer(PRESETS["tiny"]), device="cpu", dtype=torch.float32)
    codec = {"webm": "libvpx-vp9", "avi": "mpeg4"}.get(extension, "libx264")
    whole = folder / f"whole.{extension}"
    with av.open(str(whole), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 + i, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    content, source = whole.read_bytes(), folder / f"damaged.{extension}"
    target = folder / "result.mkv"

    def case(draw: random.Random) -> str:
        source.write_bytes(mutated(content, draw))
        try:
            summary = restore_video(source, target, pipe, num_inference_steps=1)
        except (OSError, ValueError) as error:
            assert not target.exists()
            check_line(str(error), folder)
            return str(error)
        assert summary.frames
        with av.open(str(target)) as result:
            assert sum(1 for _ in result.decode(video=0)) == summary.frames
        target.unlink()
        return "restored"

    return case


# ---- the process


def main(kind: str, first: int, count: int, folder: Path) -> None:
    warnings.simplefilter("ignore")
    make = picture_case if kind in PICTURES else video_case if kind in VIDEOS else weights_case
    case = make(kind, folder)
    with open("/proc/self/statm") as statm:
        size = int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in range(first, first + count):
        print(json.dumps({"begins": number}), flush=True)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        start = time.perf_counter()
        try:
            outcome, wrong = case(random.Random(f"{kind} {number}")), ""
        except BaseException:
            outcome, wrong = "", traceback.format_exc()
        faulthandler.cancel_dump_traceback_later()
        seconds = time.perf_counter() - start
        print(json.dumps({"case": number, "outcome": outcome, "wrong": wrong, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
