"""Restore what OpenCV reads: a picture, a video file or a camera.

python examples/opencv_camera.py photo.jpg -o restored.png
python examples/opencv_camera.py clip.avi -o restored.avi
python examples/opencv_camera.py 0                          (the first camera, in a window; Q ends it)

Videos and cameras don't flicker: brightness follows that of the frames before. No frame waits for a later one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from lightendiff import LightenPipeline, Stream
from lightendiff.integrations.opencv import lighten

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"}
CODECS = {".avi": "MJPG", ".mp4": "mp4v"}


def frames(source: str) -> Iterator[tuple[np.ndarray, float]]:
    """The frames of a video file, or of the camera of that number, and how many there are a second."""
    capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a camera's frames that nobody had time for are out of date
    try:
        if not capture.isOpened():
            raise ValueError(f"can't be opened as a {'camera' if source.isdigit() else 'video'}: {source}")
        rate = capture.get(cv2.CAP_PROP_FPS) or 25.0  # a camera needn't say
        while True:
            there, frame = capture.read()
            if not there:
                return
            yield frame, rate
    finally:
        capture.release()


def shrunk(frame: np.ndarray, height: int | None) -> np.ndarray:
    """The frame at that height, or as it is where it isn't higher. Codecs want even sides."""
    if height is None or frame.shape[0] <= height:
        return frame
    width = round(frame.shape[1] * height / frame.shape[0])
    return cv2.resize(frame, (width - width % 2, height - height % 2), interpolation=cv2.INTER_AREA)


def restore_picture(source: str, output: Path | None, pipe: LightenPipeline, height: int | None) -> int:
    picture = cv2.imread(source, cv2.IMREAD_UNCHANGED)  # with 16 bits or alpha where the file has them
    if picture is None:
        raise ValueError(f"can't be read as a picture: {source}")
    restored = lighten(shrunk(picture, height), pipe)
    if output is None:
        cv2.imshow("restored", restored)
        cv2.waitKey()
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(output), restored):
            raise ValueError(f"can't be written: {output}")
    return 1


def restore_video(source: str, output: Path | None, pipe: LightenPipeline, height: int | None) -> int:
    """Write the restored frames, or show them until Q is pressed. Returns how many there were."""
    writer, count = None, 0
    stream = Stream(pipe, bgr=True)
    try:
        for frame, rate in frames(source):
            restored = stream.feed(shrunk(frame, height), time=None if source.isdigit() else count / rate)
            count += 1
            if output is None:
                cv2.imshow("restored: Q ends", restored)
                if cv2.waitKey(1) & 0xFF == ord("q"):
                    break
                continue
            if writer is None:
                output.parent.mkdir(parents=True, exist_ok=True)
                code = cv2.VideoWriter.fourcc(*CODECS[output.suffix.lower()])
                writer = cv2.VideoWriter(str(output), code, rate, restored.shape[1::-1])
                if not writer.isOpened():
                    raise ValueError(f"can't be written: {output}")
            writer.write(restored)
    finally:
        if writer is not None:
            writer.release()
    if count == 0:
        raise ValueError(f"no frames in {source}")
    return count


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Restore a picture, a video file or a camera with OpenCV.")
    parser.add_argument("source", metavar="SOURCE", help="a picture, a video file or the number of a camera")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="default: a window")
    parser.add_argument("--weights", metavar="PATH", help="folder or checkpoint (default: the weights of the package)")
    parser.add_argument("--height", metavar="PIXELS", type=int, help="shrink higher frames, for speed")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = build_parser()
    args = parser.parse_args(argv)
    picture = Path(args.source).suffix.lower() in PICTURES
    suffixes = PICTURES if picture else set(CODECS)
    if args.output is not None and args.output.suffix.lower() not in suffixes:
        parser.error(f"argument -o/--output: expected {', '.join(sorted(suffixes))}, got {args.output}")
    if args.height is not None and args.height < 2:
        parser.error(f"argument --height: expected at least 2, got {args.height}")
    try:
        pipe = LightenPipeline.from_pretrained(args.weights)
        start = time.perf_counter()
        count = (restore_picture if picture else restore_video)(args.source, args.output, pipe, args.height)
    except (OSError, ValueError, cv2.error) as error:
        parser.exit(1, f"{parser.prog}: {str(error).strip()}\n")
    seconds = time.perf_counter() - start
    print(f"{count} restored in {seconds:.1f} s" + (f": {args.output}" if args.output else ""))


if __name__ == "__main__":
    main()
