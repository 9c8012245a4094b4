"""The web app: its page in Python, and over HTTP."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from app_server import Server, broken, dark, eventually, free_port, photo, served
from PIL import Image, ImageCms

from lightendiff import LightenPipeline
from lightendiff.app import server as app
from lightendiff.images import ImageError, Picture, read_picture, write_picture
from lightendiff.models.lean import LeanAutoencoder
from lightendiff.models.paper import PaperAutoencoder

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module", autouse=True)
def starting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server | None]:
    """The server, which takes some seconds to start, while the tests that don't need it run."""
    with served(tmp_path_factory.mktemp("app"), max_megapixels=0.02, max_megabytes=0.25) as server:
        yield server


# --------------------------------------------------------------------------------------------- the page in Python


def test_missing_gradio_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'lightendiff[app]'")):
        app.build(SimpleNamespace())


def test_taken_port_and_foreign_address_are_errors() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen at 127.0.0.1, port {port}: "):
            app.launch(SimpleNamespace(), port=port)
    with pytest.raises(OSError, match=r"cannot listen at 192\.0\.2\.1, port 7860: "):
        app.launch(SimpleNamespace(), host="192.0.2.1")


def test_page_sends_no_analytics_and_says_how_to_get_videos(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio")
    monkeypatch.setitem(sys.modules, "av", None)
    for name in [name for name in sys.modules if name.startswith("lightendiff.video.")]:
        monkeypatch.delitem(sys.modules, name)
    blocks = app.build(LightenPipeline.from_pretrained(weights), footer="weights: research use")
    assert blocks.analytics_enabled is False
    config = str(blocks.get_config_file())
    assert "weights: research use" in config
    assert "pip install 'lightendiff[video]'" in config
    assert "restore_batch" in config
    assert "restore_video" not in config


def test_errors_are_told_without_the_folders(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    from lightendiff.app.tabs import in_words

    error = ImageError(f"{tmp_path / '0a1b' / '7' / 'before.jpg'}: No space left on device")
    assert in_words(error, tmp_path) == "before.jpg: No space left on device"
    assert in_words(ValueError(), tmp_path) == "ValueError"


def test_exposure_is_hidden_where_there_is_none() -> None:
    pytest.importorskip("gradio")
    for architecture, visible in ((LeanAutoencoder, True), (PaperAutoencoder, False)):
        config = SimpleNamespace(num_inference_steps=25)
        blocks = app.build(SimpleNamespace(restorer=SimpleNamespace(config=config, model=architecture)))
        sliders = {block.label: block for block in blocks.blocks.values() if hasattr(block, "maximum")}
        assert sliders["Exposure"].visible is visible
        assert (sliders["Steps"].value, sliders["Steps"].maximum) == (25, 25)


def test_aged_files_are_deleted(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio")
    from gradio.route_utils import delete_files_created_by_app
    from gradio_client import Client, handle_file

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    blocks = app.build(LightenPipeline.from_pretrained(weights))
    assert blocks.delete_cache == (600, app.KEPT_HOURS * 3600)
    try:
        _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True)
        client = Client(url, verbose=False, download_files=tmp_path)
        client.predict(handle_file(photo(tmp_path / "a.png")), 1, 0, 1, api_name="/restore")

        def kept() -> list[str]:  # without the empty ones that gradio leaves
            return sorted(
                path.name for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.stat().st_size
            )

        assert kept() == ["a-restored.png", "a.png", "after.jpg", "before.jpg"]
        delete_files_created_by_app(blocks, age=3600)
        assert len(kept()) == 4
        delete_files_created_by_app(blocks, age=None)
        assert kept() == []
    finally:
        blocks.close(verbose=False)


# ------------------------------------------------------------------------------------------------ the page over HTTP


@pytest.fixture(scope="module")
def server(starting: Server | None) -> Server:
    if starting is None:
        pytest.skip("needs gradio")
    starting.wait()
    return starting


@pytest.fixture(scope="module")
def client(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from gradio_client import Client

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        return Client(server.url, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


@pytest.fixture(scope="module")
def pipe() -> LightenPipeline:
    return LightenPipeline.from_pretrained(device="cpu")


def sent(path: Path) -> Any:
    from gradio_client import handle_file

    return handle_file(path)


def value(download: dict[str, Any]) -> str:
    return download["value"]


def test_http_restores_as_the_pipeline_does(client: Any, pipe: LightenPipeline, tmp_path: Path) -> None:
    source = photo(tmp_path / "a.png")
    previews, file, text = client.predict(sent(source), 0.8, 0.5, 3, api_name="/restore")
    expected = pipe(dark(), strength=0.8, exposure=0.5, num_inference_steps=3)
    got = read_picture(value(file)).pixels
    np.testing.assert_allclose(got.astype(int), expected.astype(int), atol=1)
    assert expected.mean() > dark().mean() + 20
    means = [read_picture(path).pixels.mean() for path in previews]
    np.testing.assert_allclose(means, [dark().mean(), expected.mean()], atol=2)
    assert text.startswith("64 × 48 pixels, PNG, ")


def test_http_keeps_what_belongs_to_a_jpeg(client: Any, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6  # on its side
    source = photo(tmp_path / "Nacht über Köln.jpg", exif=exif, icc_profile=SRGB, dpi=(72, 72))
    _, file, _ = client.predict(sent(source), 1, 0, 1, api_name="/restore")
    assert Path(value(file)).name == "Nacht über Köln-restored.jpg"
    with Image.open(value(file)) as image:
        assert (image.format, image.size) == ("JPEG", (48, 64))
        assert (image.getexif()[0x010F], image.getexif()[0x0112]) == ("Maker", 1)
        assert image.info["icc_profile"] == SRGB


def test_http_keeps_16_bits_and_alpha(client: Any, tmp_path: Path) -> None:
    given = Picture(dark(dtype=np.uint16), alpha=dark(channels=1, dtype=np.uint16)[..., 0])
    write_picture(tmp_path / "deep.tif", given)
    _, file, text = client.predict(sent(tmp_path / "deep.tif"), 0, 0, 1, api_name="/restore")
    got = read_picture(value(file))
    np.testing.assert_array_equal(got.pixels, given.pixels)  # strength 0
    np.testing.assert_array_equal(got.alpha, given.alpha)
    assert "TIFF" in text


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("b.jpg", b"not a picture", "b.jpg: not a PNG, JPEG, WebP, HEIC, AVIF, TIFF, BMP or GIF image"),
        ("empty.png", b"", "empty.png: the file is empty"),
        ("text.txt", b"text", "Invalid file type"),
        ("<i>x<i>.png", b"", "the file is empty"),
    ],
)
def test_http_tells_what_is_wrong_with_a_file(
    client: Any, tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    from gradio_client.exceptions import AppError

    (tmp_path / name).write_bytes(data)
    with pytest.raises(AppError) as caught:
        client.predict(sent(tmp_path / name), 1, 0, 1, api_name="/restore")
    assert message in str(caught.value)
    assert "<i>" not in str(caught.value)
    assert not re.search(r"Traceback|/tmp|\.py", str(caught.value))


def test_http_limits(client: Any, server: Server, tmp_path: Path) -> None:
    import httpx
    from gradio_client.exceptions import AppError

    Image.new("RGB", (200, 101)).save(tmp_path / "large.png")
    with pytest.raises(AppError, match=r"large\.png: 200×101 is more than the limit of 20,000 pixels"):
        client.predict(sent(tmp_path / "large.png"), 1, 0, 1, api_name="/restore")
    with pytest.raises(AppError, match="Choose a photo first"):
        client.predict(None, 1, 0, 1, api_name="/restore")
    with pytest.raises(AppError, match="greater than maximum"):
        client.predict(sent(photo(tmp_path / "a.png")), 1.5, 0, 1, api_name="/restore")
    heavy = {"files": ("heavy.png", bytes(2**18 + 1))}
    answer = httpx.post(f"{server.url}/gradio_api/upload", files=heavy)
    assert answer.status_code == 413
    assert "exceeded maximum allowed size of 262144 bytes" in answer.text
    assert not list(server.folder.rglob("heavy.png"))


def test_http_batch(client: Any, pipe: LightenPipeline, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    sources = [photo(tmp_path / "a.png"), photo(tmp_path / "other/a.png", dpi=(72, 72)), broken(tmp_path / "b.jpg")]
    file, text = client.predict([sent(source) for source in sources], 1, 0, 2, api_name="/restore_batch")
    assert text == "2 of 3 restored.\n- Failed: b.jpg: not a PNG, JPEG, WebP, HEIC, AVIF, TIFF, BMP or GIF image"
    with zipfile.ZipFile(value(file)) as pack:
        assert pack.namelist() == ["a-restored.png", "a-restored-2.png"]
        for name in pack.namelist():
            with pack.open(name) as restored:
                got = np.asarray(Image.open(restored)).astype(int)
            np.testing.assert_allclose(got, pipe(dark(), num_inference_steps=2).astype(int), atol=1)


def test_http_batch_of_failures(client: Any, tmp_path: Path) -> None:
    from gradio_client.exceptions import AppError

    sources = [broken(tmp_path / "a.jpg"), broken(tmp_path / "b.jpg")]
    with pytest.raises(AppError, match=r"a\.jpg: not a PNG.*<br>b\.jpg: not a PNG"):
        client.predict([sent(source) for source in sources], 1, 0, 2, api_name="/restore_batch")


def test_http_video(client: Any, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    pytest.importorskip("lightendiff.video.restore")
    from gradio_client.exceptions import AppError

    with av.open(tmp_path / "clip.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(dark(), format="rgb24")))
        container.mux(stream.encode())
    file, text = client.predict(sent(tmp_path / "clip.mp4"), 1, 0, 1, api_name="/restore_video")
    assert Path(value(file)).name == "clip-restored.mp4"
    assert text.startswith("6 frames restored in ")
    with av.open(value(file)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 6
    assert np.mean(frames) > dark().mean() + 20
    with pytest.raises(AppError, match=r"b\.mp4") as caught:
        client.predict(sent(broken(tmp_path / "b.mp4")), 1, 0, 1, api_name="/restore_video")
    assert not re.search(r"Traceback|/tmp|\.py", str(caught.value))


def test_http_stopped_batch_leaves_nothing(client: Any, server: Server, tmp_path: Path) -> None:
    source = sent(photo(tmp_path / "a.png"))
    before = set(server.folder.rglob("restored.zip"))
    job = client.submit([source] * 12, 1, 0, 20, api_name="/restore_batch")
    assert any(text.startswith("1 of 12") for _, text in job)
    job.cancel()
    client.predict(source, 1, 0, 1, api_name="/restore")  # its turn comes
    assert not any(text.startswith("12 of 12") for _, text in job.outputs())
    assert eventually(lambda: set(server.folder.rglob("restored.zip")) == before)


def test_one_user_s_batch_does_not_hold_up_another(client: Any, server: Server, tmp_path: Path) -> None:
    from gradio_client import Client

    source = sent(photo(tmp_path / "a.png"))
    job = client.submit([source] * 40, 1, 0, 20, api_name="/restore_batch")
    assert any(text.startswith("1 of 40") for _, text in job)
    other = Client(server.url, verbose=False, download_files=tmp_path)
    other.predict(source, 1, 0, 1, api_name="/restore")
    assert not job.done()
    job.cancel()


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Host": "rebound.example"}, "Host"),
        ({"Origin": "http://evil.example"}, "Origin"),
        ({"Origin": "null"}, "Origin"),
        ({"Origin": "http://127.0.0.1:1"}, "Origin"),
    ],
)
def test_http_foreign_pages_are_refused(server: Server, headers: dict[str, str], reason: str) -> None:
    import httpx

    upload = {"files": ("foreign.png", b"picture")}
    answer = httpx.post(f"{server.url}/gradio_api/upload", files=upload, headers=headers)
    assert answer.status_code == 403
    assert answer.text.startswith(f"{reason}: expected ")
    assert not list(server.folder.rglob("foreign.png"))
    assert httpx.get(f"{server.url}/config", headers=headers).status_code == 403
    own = httpx.post(
        f"{server.url}/gradio_api/upload", files={"files": ("own.png", b"picture")}, headers={"Origin": server.url}
    )
    assert own.status_code == 200


STARTING = """
import os, sys, urllib.error, urllib.request

import lightendiff.cli.app as command
from lightendiff.cli.main import main

def ask(**headers):
    try:
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{sys.argv[1]}/", headers=headers))
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()

def load(args, error):
    assert "torch" not in sys.modules
    assert "gradio" not in sys.modules
    code, page = ask(Accept="text/html")
    print(code, "is starting" in page, flush=True)
    print(ask(Accept="text/html", Host="rebound.example")[0], flush=True)
    while "BROWSER" in os.environ and not os.path.exists(sys.argv[2]):
        pass
    sys.exit(7)

command.load_pipeline = load
main(["app", "--port", sys.argv[1], *sys.argv[3:]])
"""


@pytest.mark.skipif(os.name != "posix", reason="the browser is a shell script")
def test_address_is_shown_before_anything_is_loaded_and_the_browser_is_opened(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}.part\nmv {opened}.part {opened}\n')
    browser.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name and name != "BROWSER"}
    for given, options in (({"BROWSER": f"{browser} %s"}, []), ({}, ["--no-browser"])):
        port = free_port()
        process = subprocess.run(
            [sys.executable, "-c", STARTING, str(port), str(opened), *options],
            env=environment | given,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert process.returncode == 7, process.stderr
        assert process.stdout.splitlines() == [f"Starting at http://127.0.0.1:{port}", "503 True", "403"]
        if given:
            assert opened.read_text() == f"http://127.0.0.1:{port}\n"
            opened.unlink()
        else:
            assert not opened.exists()


# -------------------------------------------------------------------------- last, since it ends the server's process


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is this machine's on Linux only")
def test_only_this_machine_reaches_it(server: Server) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    socket.create_connection(("127.0.0.1", port)).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port))


def test_sigterm_ends_it_and_deletes_everything(server: Server, client: Any, tmp_path: Path) -> None:
    client.predict(sent(photo(tmp_path / "last.png")), 1, 0, 1, api_name="/restore")
    (private,) = server.folder.iterdir()
    assert private.stat().st_mode & 0o077 == 0
    assert list(private.rglob("last-restored.png"))
    server.process.send_signal(signal.SIGTERM)
    output, _ = server.process.communicate(timeout=20)
    assert server.process.returncode == 0
    assert output.endswith("ended\n")
    assert "outside:" not in output
    assert "ImageError" not in server.log.read_text()  # what is wrong with a file isn't the server's trouble
    assert list(server.folder.iterdir()) == []
