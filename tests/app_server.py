"""What the tests of the web app share: dark pictures, and the app served in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SERVE = """
import sys

def watch(event, arguments):
    address = {"socket.connect": arguments[1:2], "socket.getaddrinfo": [arguments]}.get(event, [None])[0]
    if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost", None):
        print("outside:", address, flush=True)

sys.addaudithook(watch)
sys.ps1 = ">>> "  # as at Python's prompt, where gradio's own launch doesn't wait
from lightendiff import LightenPipeline
from lightendiff.app.server import launch
launch(LightenPipeline.from_pretrained(device="cpu"), port=int(sys.argv[1]), **eval(sys.argv[2]))
print("ended", flush=True)
"""


@dataclass
class Server:
    """`launch` in a process of its own, whose temporary files lie in `folder` and whose errors come in `log`."""

    url: str
    process: subprocess.Popen
    folder: Path
    log: Path

    def wait(self) -> None:
        """Until it listens. Requests then wait until it can answer them."""
        for line in self.process.stdout or ():  # ends when the process does
            assert "outside:" not in line
            if f"Running on local URL:  {self.url}" in line:
                return
        pytest.fail(self.log.read_text())


@contextmanager
def served(home: Path, **options: Any) -> Iterator[Server | None]:
    """The app, with these options of `launch`; None without gradio. It takes some seconds to start: `wait` for it."""
    if importlib.util.find_spec("gradio") is None:
        yield None
        return
    folder, log = home / "temporary", home / "log.txt"
    folder.mkdir()
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRADIO_")}
    environment |= {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", SERVE, str(port), repr(options)]
    with open(log, "w") as errors:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
    yield Server(f"http://127.0.0.1:{port}", process, folder, log)
    process.kill()
    process.communicate()


def eventually(check: Callable[[], bool], seconds: float = 15) -> bool:
    """Whether it holds, now or within so many seconds."""
    end = time.monotonic() + seconds
    while not check() and time.monotonic() < end:
        time.sleep(0.1)
    return check()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def dark(height: int = 48, width: int = 64, channels: int = 3, dtype: Any = np.uint8) -> np.ndarray:
    """A dark gradient with some noise."""
    white = np.iinfo(dtype).max
    rng = np.random.default_rng(0)
    ramp = np.linspace(0.02, 0.2, width)[None, :, None] + rng.normal(0, 0.01, (height, width, channels))
    return (ramp.clip(0, 1) * white).round().astype(dtype)


def photo(path: Path, height: int = 48, width: int = 64, **options: Any) -> Path:
    Image.fromarray(dark(height, width)).save(path, **options)
    return path


def broken(path: Path) -> Path:
    path.write_bytes(b"not a picture")
    return path


def clip(path: Path, frames: int = 6) -> Path:
    """A dark video."""
    import av

    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(dark(), format="rgb24")))
        container.mux(stream.encode())
    return path
