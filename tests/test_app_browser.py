"""The web app's page in a browser, where there is one."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_server import Server, broken, clip, dark, eventually, photo, served
from PIL import Image

from lightendiff import LightenPipeline
from lightendiff.images import read_picture

LIMIT = 2**20
SLOW = {"height": 900, "width": 1200}  # with 20 steps it takes seconds


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Chromium: the executable that LIGHTENDIFF_CHROMIUM names, playwright's own, or the system's."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as play:
        named = os.environ.get("LIGHTENDIFF_CHROMIUM"), play.chromium.executable_path, "chromium", "google-chrome"
        path = next((found for name in named if name and (found := shutil.which(name))), None)
        if path is None:
            pytest.skip("no Chromium: set LIGHTENDIFF_CHROMIUM or run `playwright install chromium`")
        root = hasattr(os, "geteuid") and os.geteuid() == 0  # for whom Chromium's sandbox doesn't work
        options = ["--disable-gpu", "--disable-background-networking"]
        browser = play.chromium.launch(executable_path=path, args=options + ["--no-sandbox"] * root)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("gradio")
    with served(tmp_path_factory.mktemp("app"), max_megabytes=LIMIT / 2**20) as server:
        server.wait()
        yield server


@pytest.fixture(scope="module")
def pipe() -> LightenPipeline:
    return LightenPipeline.from_pretrained(device="cpu")


@pytest.fixture
def page(chromium: Any, server: Server) -> Iterator[Any]:
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(30_000)
    hosts: set[str] = set()
    errors: list[str] = []
    page.on("request", lambda request: hosts.add(re.sub(r"^(\w+://[^/]*|\w+:).*", r"\1", request.url, flags=re.DOTALL)))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.url)
    page.get_by_role("tab", name="Photo", exact=True).wait_for()
    yield page
    page.close()
    assert hosts <= {server.url, "data:", "blob:"}  # no fonts, scripts or counters from elsewhere
    assert errors == []


def open_tab(page: Any, name: str, place: str) -> None:
    page.get_by_role("tab", name=name).click()
    page.locator(f"#{place}-restore").wait_for()
    page.locator("#photo-restore").wait_for(state="hidden")


def upload(page: Any, *files: Path) -> None:
    page.locator("[role=tabpanel]:visible input[type=file]").first.set_input_files(files)


def restored(page: Any) -> Any:
    """Wait until the restored picture can be seen; returns it."""
    picture = page.locator(".ld-compare:visible .ld-after")
    picture.wait_for()
    return picture


def download(page: Any, name: str = "Download") -> Path:
    with page.expect_download() as given:
        page.get_by_role("link", name=name, exact=True).or_(page.get_by_role("button", name=name)).locator(
            "visible=true"
        ).click()
    path = Path(given.value.path())
    return path.rename(path.with_name(given.value.suggested_filename))


def jobs_folders(server: Server) -> list[Path]:
    """Of photos that are shown or restored."""
    return [path.parent for path in server.folder.rglob("dark.*")]


def slow_photo(page: Any, tmp_path: Path) -> None:
    """Have a photo restored that takes so long that the test comes first."""
    page.get_by_label("number input for Steps").fill("20")
    upload(page, photo(tmp_path / "slow.jpg", **SLOW))
    page.locator(".ld-compare:visible .ld-before").wait_for()


def test_restore_compare_download(page: Any, pipe: LightenPipeline, tmp_path: Path) -> None:
    def brightness() -> float:
        """Of the picture on the page, right of its middle."""
        page.screenshot(path=tmp_path / "page.png")
        x, y, width, height = (round(box[key]) for key in ("x", "y", "width", "height"))
        with Image.open(tmp_path / "page.png") as image:
            part = image.convert("L").crop((x + width * 6 // 10, y + height // 4, x + width * 7 // 10, y + height // 3))
        return float(np.asarray(part).mean())

    upload(page, photo(tmp_path / "night.png", 240, 320))
    restored(page)
    assert page.get_by_alt_text("night.png, before").is_visible()
    assert page.get_by_alt_text("night.png, restored").is_visible()
    page.get_by_text("320 × 240 pixels, PNG").wait_for()
    box = page.locator(".ld-stage").bounding_box()
    bright = brightness()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert brightness() < bright - 20  # now it is the dark photo that is seen there
    page.keyboard.press("Home")  # the divider has the focus: all of it is restored
    assert brightness() > bright - 2
    got = download(page)
    assert got.name == "night-restored.png"
    expected = pipe(dark(240, 320)).astype(int)
    np.testing.assert_allclose(read_picture(got).pixels.astype(int), expected, atol=1)


def test_divider_is_reached_by_tab_and_moved_by_arrows(page: Any, tmp_path: Path) -> None:
    upload(page, photo(tmp_path / "night.png"))
    restored(page)
    page.locator("#photo-restore").focus()
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.ld-handle')"):
            break
    handle = page.get_by_role("slider", name=re.compile("^Divider"))
    assert handle.evaluate("element => element === document.activeElement")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert handle.input_value() == "53"
    assert handle.get_attribute("aria-valuetext") == "53 % before, 47 % restored"
    clip_path = page.locator(".ld-after:visible").evaluate("element => getComputedStyle(element).clipPath")
    assert clip_path == "inset(0px 0px 0px 53%)"


@pytest.mark.parametrize("way", ["mouse", "keyboard", "number"])
def test_settings_restore_again(page: Any, tmp_path: Path, way: str) -> None:
    """However a setting is changed. Until that is done, the picture of other settings is neither shown nor given."""
    upload(page, photo(tmp_path / "night.png", 240, 320))
    before = restored(page).get_attribute("src")
    page.get_by_text("Restored.").wait_for()
    slider = page.get_by_label("range slider for Strength")
    page.evaluate("""() => {
        window.seen = [];
        const after = document.querySelector(".ld-after"), link = document.querySelector(".ld-download");
        const field = document.querySelector("#setting-0 input[type=number]");
        setInterval(() => window.seen.push([after.hidden, link.hasAttribute("href"), after.src, field.value]), 5);
    }""")
    if way == "mouse":
        box = slider.bounding_box()
        page.mouse.click(box["x"] + 1, box["y"] + box["height"] / 2)
    elif way == "keyboard":
        slider.focus()
        page.keyboard.press("Home")
    else:
        page.get_by_label("number input for Strength").fill("0")
    page.wait_for_function(
        "before => { const after = document.querySelector('.ld-after');"
        " return !after.hidden && after.getAttribute('src') != before }",
        arg=before,
    )
    np.testing.assert_array_equal(read_picture(download(page)).pixels, dark(240, 320))  # strength 0
    for hidden, given, source, strength in page.evaluate("window.seen"):
        if strength == "0" and source.endswith(before.removeprefix(page.url)):
            assert hidden
            assert not given


def test_what_did_not_change_is_not_restored_again(page: Any, tmp_path: Path) -> None:
    upload(page, photo(tmp_path / "night.png"))
    before = restored(page).get_attribute("src")
    page.get_by_text("Restored.").wait_for()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "queue/join" in request.url else None)
    page.get_by_label("range slider for Strength").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator(".ld-after").is_hidden()
    page.keyboard.press("ArrowRight")  # back, before it was asked for
    page.keyboard.press("End")
    page.wait_for_timeout(1000)
    assert restored(page).get_attribute("src") == before
    assert asked == []


def test_exposures_to_choose_from(page: Any, pipe: LightenPipeline, tmp_path: Path) -> None:
    upload(page, photo(tmp_path / "night.png"))
    choices = page.get_by_role("group", name="Exposures to choose from").get_by_role("button")
    choices.nth(4).wait_for()
    before = restored(page).get_attribute("src")
    assert choices.count() == 5
    assert [choices.nth(i).get_attribute("aria-pressed") for i in range(5)] == ["false"] * 2 + ["true"] + ["false"] * 2
    tops = {round(choices.nth(i).bounding_box()["y"]) for i in range(5)}
    assert len(tops) == 1  # side by side
    page.get_by_role("button", name="Restored at exposure +1").click()
    page.wait_for_function(
        "before => { const after = document.querySelector('.ld-after');"
        " return !after.hidden && after.getAttribute('src') != before }",
        arg=before,
    )
    assert page.get_by_label("number input for Exposure").input_value() == "1"
    assert choices.nth(4).get_attribute("aria-pressed") == "true"
    got = read_picture(download(page)).pixels.astype(int)
    np.testing.assert_allclose(got, pipe(dark(), exposure=1.0).astype(int), atol=1)


def test_dark_photo_is_shown_at_once_and_stop_works(page: Any, server: Server, tmp_path: Path) -> None:
    slow_photo(page, tmp_path)
    assert page.locator(".ld-after").is_hidden()
    assert page.get_by_role("link", name="Download").get_attribute("href") is None
    page.wait_for_function("document.querySelector('.ld-status progress')?.value > 0")
    page.locator("#photo-stop").click()
    page.get_by_text("Stopped.").wait_for()
    assert eventually(page.locator("#photo-stop").is_disabled)
    assert page.locator(".ld-before").is_visible()
    assert page.locator(".ld-after").is_hidden()
    assert page.locator(".ld-status progress:visible").count() == 0
    page.get_by_label("number input for Steps").fill("1")  # goes on with what is wanted now
    restored(page)


def test_the_last_photo_leaves_nothing(page: Any, tmp_path: Path) -> None:
    upload(page, photo(tmp_path / "night.png"))
    restored(page)
    page.get_by_label("Clear").first.click()
    page.locator(".ld-compare").first.wait_for(state="hidden")
    page.get_by_text("Restored.").wait_for(state="hidden")
    slow_photo(page, tmp_path)
    assert page.get_by_text("64 × 48").count() == 0
    assert "left" not in page.locator(".ld-status:visible").inner_text()
    page.locator("#photo-stop").click()


@pytest.mark.parametrize("way", ["closed", "reloaded", "cleared"])
def test_work_ends_when_its_page_is_gone(chromium: Any, server: Server, tmp_path: Path, way: str) -> None:
    page = chromium.new_page()
    page.goto(server.url)
    page.get_by_role("tab", name="Photo", exact=True).wait_for()
    before = set(jobs_folders(server))
    slow_photo(page, tmp_path)
    (folder,) = set(jobs_folders(server)) - before
    if way == "closed":
        page.close()
    elif way == "reloaded":
        page.reload()
    else:
        page.get_by_label("Clear").first.click()
    assert eventually(lambda: not folder.exists())  # work that goes on to its end keeps it
    page.close()


def test_broken_and_heavy_files_are_told(page: Any, tmp_path: Path) -> None:
    upload(page, broken(tmp_path / "b.jpg"))
    page.get_by_text("b.jpg: not a PNG, JPEG, WebP, HEIC, AVIF, TIFF, BMP or GIF image").wait_for()
    assert "Traceback" not in page.content()
    page.reload()
    page.get_by_role("tab", name="Photo", exact=True).wait_for()
    (tmp_path / "heavy.png").write_bytes(bytes(LIMIT + 1))
    upload(page, tmp_path / "heavy.png")
    page.get_by_text(re.compile("exceed the maximum allowed size of.*heavy.png")).wait_for()


def test_files_of_another_kind_name_their_tab(page: Any, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"a video")
    upload(page, tmp_path / "clip.mp4")
    page.get_by_text("clip.mp4: expected a photo, got a video: use the tab “Video”").wait_for()
    pytest.importorskip("av")
    open_tab(page, "Video", "video")
    upload(page, photo(tmp_path / "a.png"))
    page.locator("#video-restore").click()
    page.get_by_text("a.png: expected a video, got a photo: use the tab “Photo”").wait_for()


def test_batch_shows_results_as_they_come_and_stop_keeps_them(page: Any, tmp_path: Path) -> None:
    open_tab(page, "Several photos", "batch")
    page.get_by_label("number input for Steps").fill("20")
    files = [photo(tmp_path / "quick.png"), *(photo(tmp_path / f"{i}.jpg", **SLOW) for i in range(3))]
    upload(page, *files)
    page.locator("[role=tabpanel]:visible").get_by_text("quick").first.wait_for()
    page.locator("#batch-restore").click()
    card = page.get_by_role("button", name=re.compile("quick-restored.png"))
    card.wait_for()
    restored(page)  # the first one is compared
    assert page.get_by_role("button", name="Download all (zip)").is_disabled()
    page.wait_for_function(
        "[...document.querySelectorAll('.ld-status')].some(each => /^1 of 4, about .* left$/.test(each.textContent))"
    )
    page.locator("#batch-stop").click()
    page.get_by_text("Stopped. 1 of 4 restored.").wait_for()
    with zipfile.ZipFile(download(page, "Download all (zip)")) as pack:
        assert pack.namelist() == ["quick-restored.png"]
    assert card.get_attribute("aria-pressed") == "true"
    assert page.get_by_alt_text("quick.png, restored").count() == 2  # in the gallery, and compared


def test_video_plays(page: Any, tmp_path: Path) -> None:
    pytest.importorskip("av")
    open_tab(page, "Video", "video")
    upload(page, clip(tmp_path / "clip.mp4"))
    page.locator("[role=tabpanel]:visible").get_by_text("clip").first.wait_for()
    page.locator("#video-restore").click()
    page.get_by_text("6 frames restored").wait_for()
    player = page.locator("video")
    player.wait_for()
    assert eventually(lambda: player.evaluate("video => video.readyState") >= 1)
    assert player.evaluate("video => [video.videoWidth, video.videoHeight]") == [64, 48]
    assert download(page).name == "clip-restored.mp4"


def test_a_phone_sees_picture_and_settings_together(page: Any, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    upload(page, photo(tmp_path / "night.png", 600, 800))
    restored(page)
    page.get_by_role("group", name="Exposures to choose from").get_by_role("button").nth(4).wait_for()
    page.evaluate("scrollTo(0, 0)")
    seen = [page.locator(".ld-stage:visible").bounding_box()]
    seen += [page.get_by_label(f"range slider for {name}").bounding_box() for name in ("Strength", "Exposure", "Steps")]
    for box in seen:
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 844
    assert seen[0]["height"] > 200
    assert seen[0]["y"] + seen[0]["height"] <= seen[1]["y"]
    for name in ("Photo", "Several photos", "Video"):
        page.get_by_role("tab", name=name, exact=True).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for button in page.get_by_role("button", name=re.compile("^(Restore|Stop|Download)")).all():
            box = button.bounding_box()
            assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= 390)
