"""Make a dark video, restore it, and measure its flicker (python examples/video.py -o demo-video).

The video is a slow pan over a public-domain photo that comes with scikit-image (coffee, CC0, Rachel Michetti), darkened
frame by frame by the package's sensor model, with a tone as its sound.
Needs `pip install 'lightendiff[video]' scikit-image`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import skimage.data
import torch

from lightendiff import LightenPipeline
from lightendiff.data.degradations import SensorModel, darken
from lightendiff.evaluation.contact_sheet import Tile, contact_sheet, save_sheet
from lightendiff.evaluation.measure import markdown_table
from lightendiff.video.restore import restore_video

SIZE = (216, 384)  # height and width
FRAMES = 48
STOPS = -5.0  # 2^STOPS of the light
RATE, SAMPLES = 25, 16000  # frames and samples of sound a second
SENSOR = SensorModel(exposure=(STOPS, STOPS), tint=0.0, shot=(1e-4, 1e-4), read=(3e-4, 3e-4), jpeg=0.0)


def scene() -> np.ndarray:
    """The pan as it would look with enough light: (n, h, w, 3) uint8."""
    photo, (height, width) = skimage.data.coffee(), SIZE
    top = (photo.shape[0] - height) // 2
    lefts = [round(i * (photo.shape[1] - width) / (2 * FRAMES)) for i in range(FRAMES)]
    return np.stack([photo[top : top + height, left : left + width] for left in lefts])


def darkened(frames: np.ndarray) -> np.ndarray:
    """What a sensor makes of them, with new noise in each."""
    generator = torch.Generator().manual_seed(0)
    parameters = SENSOR.draw(1, generator)
    images = [torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255 for frame in frames]
    dark = torch.cat([darken(image, parameters, generator) for image in images])
    return (dark * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def write_video(path: Path, frames: np.ndarray) -> None:
    """Encode frames and a tone."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=RATE, options={"crf": "4"})
        video.height, video.width, video.pix_fmt = *SIZE, "yuv420p"
        sound = out.add_stream("aac", rate=SAMPLES, layout="mono")
        for frame in frames:
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        count = len(frames) * SAMPLES // RATE
        tone = (6000 * np.sin(2 * np.pi * 220 * np.arange(count) / SAMPLES)).astype(np.int16)
        for start in range(0, count, 1024):
            samples = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="s16", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = SAMPLES, start, Fraction(1, SAMPLES)
            out.mux(sound.encode(samples))
        out.mux(video.encode(None))
        out.mux(sound.encode(None))


def read_video(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def jumps(frames: np.ndarray) -> float:
    """Mean change of the mean code value from one frame to the next."""
    return float(np.abs(np.diff(frames.mean(axis=(1, 2, 3)))).mean())


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Make a dark video, restore it, and measure its flicker.")
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, default=Path("demo-video"), help="default: %(default)s"
    )
    parser.add_argument("--weights", metavar="PATH", help="folder or checkpoint (default: the weights of the package)")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    pipe = LightenPipeline.from_pretrained(args.weights)
    args.output.mkdir(parents=True, exist_ok=True)
    truth = scene()
    dark = args.output / "dark.mp4"
    write_video(dark, darkened(truth))
    lines, results = [["the scene itself", f"{jumps(truth):.2f}", "", ""]], {}
    for name, smoothing in (("frame by frame", 0.0), ("steadied", 1.0)):
        target = args.output / f"{name.replace(' ', '_')}.mp4"
        print(f"{target}: {restore_video(dark, target, pipe, smoothing=smoothing)}")
        results[name] = frames = read_video(target)
        errors = frames - truth.astype(float)
        psnr = np.mean(10 * np.log10(255**2 / (errors**2).mean(axis=(1, 2, 3))))
        lines.append([name, f"{jumps(frames):.2f}", f"{jumps(errors):.2f}", f"{psnr:.2f}"])
    head = ["video", "brightness jumps by", "of which the scene doesn't", "PSNR"]
    print(markdown_table(head, lines))
    given = read_video(dark)
    rows = [[Tile(p[i], f"frame {i}") for p in (given, results["steadied"], truth)] for i in range(0, FRAMES, 16)]
    save_sheet(args.output / "frames.jpg", contact_sheet(rows, headings=("dark", "restored", "scene"), size=SIZE[::-1]))


if __name__ == "__main__":
    main()
