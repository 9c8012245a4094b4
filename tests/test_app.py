"""The web app: its work on files, its page over HTTP, and its page in a browser where there is one."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from lightendiff import LightenPipeline
from lightendiff.app import server as app
from lightendiff.app.jobs import PREVIEW, Limits, end_works, new_folder, reported, restore_batch, restore_photo
from lightendiff.images import ImageError, Picture, read_picture, write_picture
from lightendiff.models.lean import LeanAutoencoder
from lightendiff.models.paper import PaperAutoencoder

LIMITS = Limits(megapixels=0.02, megabytes=0.25)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
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
launch(LightenPipeline.from_pretrained(device="cpu"), port=int(sys.argv[1]), max_megapixels=0.02, max_megabytes=0.25)
print("ended", flush=True)
"""


def dark(height: int = 48, width: int = 64, channels: int = 3, dtype: Any = np.uint8) -> np.ndarray:
    """A dark gradient with some noise."""
    white = np.iinfo(dtype).max
    rng = np.random.default_rng(0)
    ramp = np.linspace(0.02, 0.2, width)[None, :, None] + rng.normal(0, 0.01, (height, width, channels))
    return (ramp.clip(0, 1) * white).round().astype(dtype)


def negative(pixels: np.ndarray) -> np.ndarray:
    return np.iinfo(pixels.dtype).max - pixels


def photo(path: Path, **options: Any) -> Path:
    Image.fromarray(dark()).save(path, **options)
    return path


def broken(path: Path) -> Path:
    path.write_bytes(b"not a picture")
    return path


@dataclass
class Server:
    """`launch` in a process of its own, whose temporary files lie in `folder` and whose errors come in `log`."""

    url: str
    process: subprocess.Popen
    folder: Path
    log: Path


@pytest.fixture(scope="module", autouse=True)
def starting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server | None]:
    """The server, which takes some seconds to start, while the tests that don't need it run."""
    if importlib.util.find_spec("gradio") is None:
        yield None
        return
    home = tmp_path_factory.mktemp("app")
    folder, log = home / "temporary", home / "log.txt"
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRADIO_")}
    environment |= {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", SERVE, str(port)]
    with open(log, "w") as errors:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
    yield Server(f"http://127.0.0.1:{port}", process, folder, log)
    process.kill()
    process.communicate()


# ------------------------------------------------------------------------------------------------- work on files


def test_photo_keeps_format_depth_alpha_and_profile(tmp_path: Path) -> None:
    given = Picture(dark(dtype=np.uint16), alpha=dark(channels=1, dtype=np.uint16)[..., 0] | 1, icc_profile=SRGB)
    write_picture(tmp_path / "a.png", given)
    result = restore_photo(tmp_path / "a.png", tmp_path, negative, LIMITS)
    assert result.file == tmp_path / "a-restored.png"
    assert result.summary.startswith("64 × 48 pixels, PNG, ")
    got = read_picture(result.file)
    np.testing.assert_array_equal(got.pixels, 65535 - given.pixels)
    np.testing.assert_array_equal(got.alpha, given.alpha)
    assert got.icc_profile == SRGB
    for preview, pixels in ((result.before, given.pixels), (result.after, 65535 - given.pixels)):
        shown = read_picture(preview)
        assert shown.icc_profile == SRGB
        assert shown.alpha is not None
        assert shown.pixels.dtype == np.uint8
        assert abs(shown.pixels.mean() - pixels.mean() / 257) < 2


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("a.gif", "GIF", "a-restored.png"),
        ("a.JPG", "JPEG", "a-restored.JPG"),
        ("a.png", "JPEG", "a-restored.jpeg"),  # called PNG, but it is none
    ],
)
def test_name_follows_what_the_file_is(tmp_path: Path, name: str, kind: str, expected: str) -> None:
    result = restore_photo(photo(tmp_path / name, format=kind), tmp_path, negative, LIMITS)
    assert result.file.name == expected
    assert read_picture(result.file).format == ("PNG" if kind == "GIF" else kind)


def test_previews_of_large_photos_are_small(tmp_path: Path) -> None:
    Image.new("L", (PREVIEW * 2, 8)).save(tmp_path / "wide.png")
    result = restore_photo(tmp_path / "wide.png", tmp_path, negative, Limits(1, 1))
    assert read_picture(result.after).pixels.shape == (4, PREVIEW, 1)
    assert read_picture(result.file).pixels.shape == (8, PREVIEW * 2, 1)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_photo_errors_are_one_line_with_the_name_alone(tmp_path: Path) -> None:
    def line(source: Path, restore: Callable = negative) -> str:
        with pytest.raises(ImageError) as caught:
            restore_photo(source, tmp_path / "out", restore, LIMITS)
        return str(caught.value)

    def fails(_: np.ndarray) -> np.ndarray:
        raise RuntimeError("out of memory\nand more")

    Image.new("RGB", (200, 101)).save(tmp_path / "large.png")
    heavy = tmp_path / "heavy.png"
    heavy.write_bytes(bytes(2**19))
    assert line(broken(tmp_path / "b.png")) == "b.png: not a PNG, JPEG, WebP, HEIC, AVIF, TIFF, BMP or GIF image"
    assert line(tmp_path / "large.png").startswith("large.png: 200×101 is more than the limit of 20,000 pixels")
    assert line(heavy) == "heavy.png: 0.5 MB, the limit is 0.25 MB"
    assert line(tmp_path / "gone.png") == "gone.png: no longer here, please upload it again"
    assert line(photo(tmp_path / "a.png"), fails) == "a.png: RuntimeError: out of memory"
    assert line(tmp_path / "a.png") == "a-restored.png: No such file or directory"  # there is no such folder


def test_batch_numbers_equal_names_and_lists_failures(tmp_path: Path) -> None:
    for folder in "xyz":
        (tmp_path / folder).mkdir()
    sources = [photo(tmp_path / "x/a.png"), broken(tmp_path / "y/b.png"), photo(tmp_path / "z/A.png")]
    archive = tmp_path / "out.zip"
    problems = list(restore_batch(sources, archive, negative, LIMITS))
    assert problems == [None, "b.png: not a PNG, JPEG, WebP, HEIC, AVIF, TIFF, BMP or GIF image", None]
    with zipfile.ZipFile(archive) as pack:
        assert pack.testzip() is None
        assert pack.namelist() == ["a-restored.png", "A-restored-2.png"]
        with pack.open("a-restored.png") as file:
            np.testing.assert_array_equal(np.asarray(Image.open(file)), 255 - dark())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.zip", "x", "y", "z"]


@pytest.mark.parametrize("limits", [(0, 1), (1, -1), (float("nan"), 1)])
def test_limits_are_positive(limits: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"max_mega\w+: expected more than 0, got"):
        Limits(*limits)


def test_new_folder_goes_when_its_work_fails(tmp_path: Path) -> None:
    with new_folder(tmp_path / "cache") as kept:
        (kept / "file").touch()
    with pytest.raises(FileExistsError), new_folder(tmp_path / "cache") as lost:
        lost.mkdir()
    assert list((tmp_path / "cache").iterdir()) == [kept]


def test_reported_yields_reports_then_raises() -> None:
    def work(report: Callable[..., None]) -> None:
        report(1, None)
        report(2, 3)
        raise ValueError("broken video")

    reports = reported(work)
    assert [next(reports), next(reports)] == [(1, None), (2, 3)]
    with pytest.raises(ValueError, match="broken video"):
        next(reports)


def test_reported_work_ends_when_it_is_closed() -> None:
    steps: list[int] = []

    def work(report: Callable[..., None]) -> None:
        while True:
            report(len(steps))
            steps.append(1)

    reports = reported(work)
    next(reports)
    reports.close()  # returns only when the work has ended
    done = len(steps)
    assert list(reports) == []
    assert len(steps) == done


def test_reported_work_ends_with_the_app() -> None:
    def work(report: Callable[..., None]) -> None:
        while True:
            report()

    reports = reported(work)
    next(reports)
    end_works()  # returns only when the work has ended
    with pytest.raises(InterruptedError):
        list(reports)


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
    gradio = pytest.importorskip("gradio")
    from lightendiff.app.tabs import _told

    with pytest.raises(gradio.Error) as caught, _told(tmp_path):
        raise ImageError(f"{tmp_path / '0a1b' / 'before.jpg'}: No space left on device")
    assert caught.value.message == "before.jpg: No space left on device"


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
    for line in starting.process.stdout or ():  # ends when the process does
        assert "outside:" not in line
        if f"Running on local URL:  {starting.url}" in line:
            return starting
    pytest.fail(starting.log.read_text())


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
    outputs = iter(job)
    assert [next(outputs)[1], next(outputs)[1]] == ["0 of 12", "1 of 12"]
    job.cancel()
    client.predict(source, 1, 0, 1, api_name="/restore")  # its turn comes
    assert len(job.outputs()) < 12
    assert set(server.folder.rglob("restored.zip")) == before


# -------------------------------------------------------------------------------------------- the page in a browser


@pytest.fixture(scope="module")
def browser(server: Server) -> Iterator[Any]:
    """Chromium: the executable that LIGHTENDIFF_CHROMIUM names, or playwright's own."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as play:
        path = os.environ.get("LIGHTENDIFF_CHROMIUM") or play.chromium.executable_path
        if shutil.which(path) is None:
            pytest.skip("no Chromium: set LIGHTENDIFF_CHROMIUM or run `playwright install chromium`")
        root = hasattr(os, "geteuid") and os.geteuid() == 0  # for whom Chromium's sandbox doesn't work
        options = ["--disable-gpu", "--disable-background-networking"]
        chromium = play.chromium.launch(executable_path=path, args=options + ["--no-sandbox"] * root)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(15_000)
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(re.sub(r"^(\w+://[^/]*|\w+:).*", r"\1", request.url, flags=re.DOTALL)))
    page.goto(server.url)
    yield page
    page.close()
    assert hosts <= {server.url, "data:", "blob:"}  # no fonts, scripts or counters from elsewhere


def test_browser_restore_compare_download(page: Any, pipe: LightenPipeline, tmp_path: Path) -> None:
    def brightness() -> float:
        """Of the picture on the page, right of its middle."""
        page.screenshot(path=tmp_path / "page.png")
        x, y, width, height = (round(box[key]) for key in ("x", "y", "width", "height"))
        with Image.open(tmp_path / "page.png") as image:
            part = image.convert("L").crop((x + width * 6 // 10, y + height // 4, x + width * 7 // 10, y + height // 3))
        return float(np.asarray(part).mean())

    page.locator("input[type=file]").first.set_input_files(photo(tmp_path / "night.png"))
    page.get_by_text("64 × 48 pixels, PNG").wait_for()
    box = page.locator(".slider-wrap img").first.bounding_box()
    handle = page.locator(".slider-wrap .inner").first.bounding_box()
    page.wait_for_function("[...document.querySelectorAll('.slider-wrap img')].every(image => image.complete)")
    bright = brightness()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] * 0.4, y, steps=4)
    page.mouse.up()
    assert brightness() < bright - 20  # now it is the dark photo that is seen there
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").or_(page.get_by_role("button", name="Download")).first.click()
    assert download.value.suggested_filename == "night-restored.png"
    got = read_picture(download.value.path()).pixels.astype(int)
    np.testing.assert_allclose(got, pipe(dark()).astype(int), atol=1)


def test_browser_settings_restore_again(page: Any, tmp_path: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(photo(tmp_path / "night.png"))
    page.get_by_text("64 × 48 pixels, PNG").wait_for()
    slider = page.get_by_role("slider", name="Strength").or_(page.locator("input[type=range]").first).first
    before = page.locator(".slider-wrap img").last.get_attribute("src")
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 1, box["y"] + box["height"] / 2)  # strength 0
    page.wait_for_function(
        "before => [...document.querySelectorAll('.slider-wrap img')].every(image => image.src != before)", arg=before
    )
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").or_(page.get_by_role("button", name="Download")).first.click()
    np.testing.assert_array_equal(read_picture(download.value.path()).pixels, dark())


def test_browser_tells_of_broken_and_heavy_files(page: Any, tmp_path: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(broken(tmp_path / "b.jpg"))
    page.get_by_text("b.jpg: not a PNG, JPEG, WebP, HEIC, AVIF, TIFF, BMP or GIF image").wait_for()
    assert "Traceback" not in page.content()
    page.reload()
    (tmp_path / "heavy.png").write_bytes(bytes(2**18 + 1))
    page.locator("input[type=file]").first.set_input_files(tmp_path / "heavy.png")
    page.get_by_text(re.compile("exceed the maximum allowed size of 256.*heavy.png")).wait_for()


def test_browser_on_a_phone(page: Any, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.locator("input[type=file]").first.set_input_files(photo(tmp_path / "night.png"))
    page.get_by_text("64 × 48 pixels, PNG").wait_for()
    for name in ("Photo", "Several photos", "Video"):
        page.get_by_role("tab", name=name, exact=True).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        for button in page.get_by_role("button", name=re.compile("^(Restore|Stop|Download)")).all():
            box = button.bounding_box()
            assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= 360)


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
