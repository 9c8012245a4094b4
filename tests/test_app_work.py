"""The web app without the web: its work on files, turns and jobs, and whose requests it answers."""

from __future__ import annotations

import asyncio
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from app_server import broken, dark, photo
from PIL import Image, ImageCms

from lightendiff.app import tasks, work
from lightendiff.app.guard import Guard
from lightendiff.app.jobs import (
    CARD,
    PREVIEW,
    VIDEOS,
    Cache,
    Comparison,
    Limits,
    check_kind,
    exposures,
    look,
    new_folder,
    restore_batch,
    restore_photo,
)
from lightendiff.app.tasks import EXPOSURES, Batch, Choices, Clock, Photo, Progress, Seen
from lightendiff.app.work import Job, Jobs, Turns, duration, end_jobs, reported
from lightendiff.images import ImageError, Picture, read_picture, write_picture
from lightendiff.progress import Stopped

LIMITS = Limits(megapixels=0.02, megabytes=0.25)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def negative(pixels: np.ndarray) -> np.ndarray:
    return np.iinfo(pixels.dtype).max - pixels


# ------------------------------------------------------------------------------------------------- work on files


def test_photo_keeps_format_depth_alpha_and_profile(tmp_path: Path) -> None:
    given = Picture(dark(dtype=np.uint16), alpha=dark(channels=1, dtype=np.uint16)[..., 0] | 1, icc_profile=SRGB)
    write_picture(tmp_path / "a.png", given)
    result = restore_photo(tmp_path / "a.png", tmp_path, negative, LIMITS)
    assert (result.file, result.name) == (tmp_path / "a-restored.png", "a-restored.png")
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
    (result,) = restore_batch([tmp_path / "wide.png"], tmp_path / "out.zip", negative, Limits(1, 1))
    assert isinstance(result, Comparison)
    assert read_picture(result.after).pixels.shape == (2, CARD, 1)


def test_look_shows_the_dark_photo(tmp_path: Path) -> None:
    seen = look(photo(tmp_path / "a.png", 300, 400), tmp_path, Limits(1, 1))
    assert read_picture(seen.before).pixels.shape == (300, 400, 3)
    assert abs(read_picture(seen.before).pixels.mean() - dark(300, 400).mean()) < 1
    assert seen.small.pixels.shape == (192, 256, 3)
    assert seen.pixels == 120_000


def test_exposures_are_each_their_own(tmp_path: Path) -> None:
    def brighter(stops: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda pixels: (pixels.astype(float) * 2**stops).clip(0, 255).astype(np.uint8)

    files = exposures(Picture(dark()), tmp_path, brighter, [-1, 0, 0.5])
    means = np.array([read_picture(file).pixels.mean() for file in files]) / dark().mean()
    np.testing.assert_allclose(means, [0.5, 1, 2**0.5], rtol=0.05)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_photo_errors_are_one_line_with_the_name_alone(tmp_path: Path) -> None:
    def line(source: Path, restore: Callable = negative) -> str:
        with pytest.raises(ImageError) as caught:
            restore_photo(source, tmp_path / "out", restore, LIMITS)
        return str(caught.value)

    def fails(_: np.ndarray) -> np.ndarray:
        raise RuntimeError("out of memory\nand more")

    (tmp_path / "out").mkdir()
    Image.new("RGB", (200, 101)).save(tmp_path / "large.png")
    heavy = tmp_path / "heavy.png"
    heavy.write_bytes(bytes(2**19))
    assert line(broken(tmp_path / "b.png")) == "b.png: not a PNG, JPEG, WebP, HEIC, AVIF, TIFF, BMP or GIF image"
    assert line(tmp_path / "large.png").startswith("large.png: 200×101 is more than the limit of 20,000 pixels")
    assert line(heavy) == "heavy.png: 0.5 MB, the limit is 0.25 MB"
    assert line(tmp_path / "gone.png") == "gone.png: no longer here, please upload it again"
    assert line(photo(tmp_path / "a.png"), fails) == "a.png: RuntimeError: out of memory"
    (tmp_path / "out" / "a-restored.png").mkdir()
    assert line(tmp_path / "a.png").startswith("a-restored.png: ")


def test_files_of_another_kind_name_their_tab(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"^clip\.MP4: expected a photo, got a video: use the tab “Video”$"):
        restore_photo(tmp_path / "clip.MP4", tmp_path, negative, LIMITS)
    with pytest.raises(ImageError, match=r"^a\.jpg: expected a video, got a photo: use the tab “Photo”$"):
        check_kind(tmp_path / "a.jpg", video=True)
    check_kind(tmp_path / "a.jpg", video=False)
    check_kind(tmp_path / "clip.mp4", video=True)


def test_videos_are_those_that_can_be_written_and_more() -> None:
    mux = pytest.importorskip("lightendiff.video.mux")
    assert set(mux.ENCODERS) <= set(VIDEOS)


def test_batch_numbers_equal_names_and_lists_failures(tmp_path: Path) -> None:
    for folder in "xyz":
        (tmp_path / folder).mkdir()
    sources = [photo(tmp_path / "x/a.png"), broken(tmp_path / "y/b.png"), photo(tmp_path / "z/A.png")]
    archive = tmp_path / "out.zip"
    first, problem, second = restore_batch(sources, archive, negative, LIMITS)
    assert problem == "b.png: not a PNG, JPEG, WebP, HEIC, AVIF, TIFF, BMP or GIF image"
    assert isinstance(first, Comparison)
    assert isinstance(second, Comparison)
    assert [first.name, second.name] == ["a-restored.png", "A-restored-2.png"]
    assert first.before.is_file()
    assert not first.file.exists()  # the zip file has it
    with zipfile.ZipFile(archive) as pack:
        assert pack.testzip() is None
        assert pack.namelist() == ["a-restored.png", "A-restored-2.png"]
        with pack.open("a-restored.png") as file:
            np.testing.assert_array_equal(np.asarray(Image.open(file)), 255 - dark())


def test_stopped_batch_keeps_what_is_done(tmp_path: Path) -> None:
    def restore(pixels: np.ndarray) -> np.ndarray:
        if calls:
            raise Stopped("Stopped.")
        calls.append(1)
        return pixels

    calls: list[int] = []
    sources = [photo(tmp_path / "a.png"), photo(tmp_path / "b.png")]
    results = restore_batch(sources, tmp_path / "out.zip", restore, LIMITS)
    assert isinstance(next(results), Comparison)
    with pytest.raises(Stopped):
        next(results)
    with zipfile.ZipFile(tmp_path / "out.zip") as pack:
        assert pack.testzip() is None
        assert pack.namelist() == ["a-restored.png"]


@pytest.mark.parametrize("limits", [(0, 1, 1), (1, -1, 1), (float("nan"), 1, 1), (1, 1, 0)])
def test_limits_are_positive(limits: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"max_m\w+: expected more than 0, got"):
        Limits(*limits)


def test_new_folder_goes_when_its_work_fails(tmp_path: Path) -> None:
    with new_folder(tmp_path / "cache") as kept:
        (kept / "file").touch()
    with pytest.raises(FileExistsError), new_folder(tmp_path / "cache") as lost:
        lost.mkdir()
    assert list((tmp_path / "cache").iterdir()) == [kept]


# --------------------------------------------------------------------------------------------------- turns and jobs


def test_users_come_in_turn_however_much_one_of_them_wants() -> None:
    turns, order = Turns(), list[str]()

    def job(user: str) -> threading.Thread:
        def run() -> None:
            turns.take(user, lambda: None)
            order.append(user)
            turns.give()

        thread = threading.Thread(target=run)
        thread.start()
        while not any(user in waiting for waiting in (turns._waiting, order)):
            time.sleep(0.001)
        time.sleep(0.02)
        return thread

    turns.take("first", lambda: None)
    threads = [job(user) for user in ("ann", "ann", "ann", "bob", "bob", "cid")]
    turns.give()
    for thread in threads:
        thread.join()
    assert order == ["ann", "bob", "cid", "ann", "bob", "ann"]


def test_one_works_at_a_time_and_passes_on() -> None:
    jobs, order = Jobs(60), list[str]()
    begun = threading.Event()

    def run(user: str) -> None:
        job = jobs.start(user)
        with job.turn():
            begun.set()
            for _ in range(3):
                order.append(user)
                time.sleep(0.05)
                job.pass_on()

    first = threading.Thread(target=run, args=["a"])
    first.start()
    begun.wait()
    second = threading.Thread(target=run, args=["b"])
    second.start()
    first.join()
    second.join()
    assert order[:4] in (["a", "b", "a", "b"], ["a", "a", "b", "a"])  # the latter when b's thread is slow to come
    assert sorted(order) == list("aaabbb")


def test_waiting_ends_when_it_is_stopped_and_holds_nobody_up() -> None:
    jobs = Jobs(60)
    busy, waiting = jobs.start("a"), jobs.start("b", "photo")
    with busy.turn():
        threading.Timer(0.05, jobs.stop, ["b", "photo"]).start()
        with pytest.raises(Stopped, match=r"^Stopped\.$"), waiting.turn():
            pytest.fail("it had no turn")
    with jobs.start("c").turn():
        pass


def test_stopped_while_it_passes_on() -> None:
    jobs = Jobs(60)
    job = jobs.start("a", "video")

    def stopped() -> None:
        with job.turn():
            jobs.stop("a", "video")
            job.pass_on()

    with pytest.raises(Stopped):
        stopped()
    with jobs.start("b").turn():
        pass


def test_time_limit_counts_work_alone() -> None:
    turns = Turns()
    limited, other = Job(turns, "a", 0.05), Job(turns, "b", 60)
    with other.turn():
        time.sleep(0.1)
    with limited.turn():
        limited.check()
    time.sleep(0.1)
    with limited.turn():
        limited.check()
        time.sleep(0.06)
        with pytest.raises(Stopped, match="Stopped after 1 s, the limit for one job"):
            limited.progress("more")
    with pytest.raises(Stopped), limited.turn():
        pass


def test_a_new_job_takes_the_place_of_the_user_s_old_one() -> None:
    jobs = Jobs(60)
    old, other, elsewhere = jobs.start("a", "photo"), jobs.start("b", "photo"), jobs.start("a", "video")
    jobs.start("a", "photo").check()
    with pytest.raises(Stopped):
        old.check()
    assert old.unwanted
    for job in (other, elsewhere, jobs.start("a"), jobs.start("a")):
        job.check()
    assert jobs.stop("b", "photo")
    assert not jobs.stop("b", "photo")


async def all_of(reports: Any) -> list[Any]:
    return [report async for report in reports]


def test_reported_yields_reports_then_raises() -> None:
    def task(job: Job) -> None:
        job.report(1)
        job.report((2, 3))
        raise ValueError("broken video")

    async def run() -> None:
        job = Jobs(60).start("a")
        reports = reported(job, task)
        assert [await anext(reports), await anext(reports)] == [1, (2, 3)]
        with pytest.raises(ValueError, match="broken video"):
            await anext(reports)
        assert not job.unwanted

    asyncio.run(run())


def test_reported_lets_its_reader_leave_while_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "BEAT", 0.01)
    ended = threading.Event()

    def task(job: Job) -> None:
        try:
            while True:
                job.check()
                time.sleep(0.001)
        finally:
            ended.set()

    async def run() -> None:
        async with aclosing(reported(Jobs(60).start("a"), task)) as reports:
            assert await anext(reports) is None

    asyncio.run(run())
    assert ended.wait(5)


def test_reported_work_ends_with_the_app() -> None:
    def task(job: Job) -> None:
        while True:
            job.progress("on")
            time.sleep(0.001)

    async def run() -> None:
        reports = reported(Jobs(60).start("a"), task)
        assert await anext(reports) == "on"
        await asyncio.to_thread(end_jobs)  # returns only when the work has ended
        with pytest.raises(Stopped, match=r"The app was ended\."):
            await all_of(reports)

    asyncio.run(run())


def test_progress_is_told_now_and_then() -> None:
    def task(job: Job) -> None:
        for step in range(10_000):
            job.progress(step)

    reports = asyncio.run(all_of(reported(Jobs(60).start("a"), task)))
    assert reports[0] == 0
    assert len(reports) < 100


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.2, "1 s"), (99, "99 s"), (125, "2 min"), (3600, "60 min"), (7200, "2 h"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


# ---------------------------------------------------------------------------------------------------------- tasks


class SlowPipe:
    """Makes negatives, in four units of work that take so many seconds each."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.restorer = SimpleNamespace(model=SimpleNamespace(exposure_control=True))
        self.seconds = seconds

    def bind(self, progress: Callable[[float], object], **options: Any) -> Callable[[np.ndarray], np.ndarray]:
        def restore(pixels: np.ndarray) -> np.ndarray:
            for done in range(1, 5):
                time.sleep(self.seconds)
                progress(done / 4)
            return negative(pixels)

        return restore


def run_task(task: Any, seconds: float = 60) -> tuple[list[Any], Exception | None]:
    async def run() -> None:
        async for report in reported(Job(Turns(), "a", seconds), task):
            if report is not None:
                reports.append(report)  # noqa: PERF401 - what came before an error counts

    reports: list[Any] = []
    try:
        asyncio.run(run())
    except Exception as error:
        return reports, error
    return reports, None


def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", [])


def test_new_photo_is_seen_restored_and_offered_at_exposures(tmp_path: Path) -> None:
    kept = cache(tmp_path)
    source = photo(tmp_path / "a.png")
    task = Photo(SlowPipe(), LIMITS, source, kept, (1, 0, 2), new=True)  # type: ignore[arg-type]
    reports, error = run_task(task)
    assert error is None
    kinds = [type(report) for report in reports if not isinstance(report, Progress)]
    assert kinds == [Seen, Comparison, Choices]
    assert len(reports[-1].files) == len(EXPOSURES)
    ((folder),) = (tmp_path / "cache").iterdir()
    assert kept.files == [{str(path) for path in folder.iterdir()}]
    reports, _ = run_task(Photo(SlowPipe(), LIMITS, source, kept, (1, 0, 2)))  # type: ignore[arg-type]
    assert [type(report) for report in reports if not isinstance(report, Progress)] == [Comparison]


def test_progress_within_a_photo_has_a_share_and_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def progress(value: object) -> None:
        told.append(str(value))

    told: list[str] = []
    now = [100.0]
    monkeypatch.setattr(tasks, "time", SimpleNamespace(monotonic=lambda: now[0]))
    clock = Clock(SimpleNamespace(progress=progress))  # type: ignore[arg-type]
    for seconds, share in ((0, 0), (1, 0.1), (5, 0.5), (9, 0.9)):
        now[0] = 100.0 + seconds
        clock.tell(share, "Restoring")
    assert told == ["Restoring", "Restoring, about 9 s left", "Restoring, about 5 s left", "Restoring"]
    source = photo(tmp_path / "a.png")
    reports, _ = run_task(Photo(SlowPipe(0.15), LIMITS, source, cache(tmp_path), (1, 0, 2)))  # type: ignore[arg-type]
    shares = [report.share for report in reports if isinstance(report, Progress)]
    assert shares == [0, 0.25, 0.5, 0.75, 1]


def test_time_limit_ends_a_photo_within_it_and_leaves_nothing(tmp_path: Path) -> None:
    source = photo(tmp_path / "a.png")
    task = Photo(SlowPipe(0.1), LIMITS, source, cache(tmp_path), (1, 0, 2))  # type: ignore[arg-type]
    _, error = run_task(task, seconds=0.15)
    assert isinstance(error, Stopped)
    assert list((tmp_path / "cache").iterdir()) == []


def test_time_limit_of_a_batch_keeps_what_is_done(tmp_path: Path) -> None:
    sources = [photo(tmp_path / "a.png"), broken(tmp_path / "b.png"), *[tmp_path / "a.png"] * 20]
    task = Batch(SlowPipe(0.02), LIMITS, sources, cache(tmp_path), (1, 0, 2))  # type: ignore[arg-type]
    reports, error = run_task(task, seconds=0.5)
    assert error is None
    results = [report for report in reports if isinstance(report, tuple)]
    assert 1 <= len(results) < 10
    assert task.summary == f"Stopped after 1 s, the limit for one job. {len(results)} of 22 restored."
    assert len(task.problems) == 1
    with zipfile.ZipFile(reports[-1]) as pack:
        assert len(pack.namelist()) == len(results)


def test_batch_of_a_page_that_is_gone_leaves_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with aclosing(reported(job, task)) as reports:
            async for report in reports:
                if isinstance(report, tuple):
                    return

    job = Jobs(60).start("a", "batch")
    sources = [photo(tmp_path / "a.png")] * 20
    task = Batch(SlowPipe(0.02), LIMITS, sources, cache(tmp_path), (1, 0, 2))  # type: ignore[arg-type]
    asyncio.run(run())
    assert job.ended.wait(5)
    assert list((tmp_path / "cache").iterdir()) == []


def test_batch_without_a_single_result_is_an_error(tmp_path: Path) -> None:
    task = Batch(SlowPipe(), LIMITS, [broken(tmp_path / "b.png")], cache(tmp_path), (1, 0, 2))  # type: ignore[arg-type]
    reports, error = run_task(task)
    assert isinstance(error, ValueError)
    assert all(isinstance(report, Progress) for report in reports)


# ---------------------------------------------------------------------------------------- whose requests are answered


@pytest.mark.parametrize(
    ("host", "origin", "refused"),
    [
        ("127.0.0.1:7860", None, None),
        ("127.0.0.1:7860", "http://127.0.0.1:7860", None),
        ("localhost:7860", "http://localhost:7860", None),
        ("LocalHost:7860", "http://localhost:7860", None),
        ("[::1]:7860", "http://[::1]:7860", None),
        ("192.168.1.7:7860", "http://192.168.1.7:7860", None),  # an address can't be made to lead elsewhere
        ("photos.example.org", "https://photos.example.org", None),  # a proxy with TLS
        ("127.0.0.1:7860", "https://photos.example.org", None),  # a proxy that puts its own Host
        ("mine.lan:7860", "http://mine.lan:7860", None),
        ("mine.lan:7860", "http://mine.lan:3000", "Origin"),
        ("localhost:7860", "http://mine.lan:3000", "Origin"),
        ("evil.example:7860", None, "Host"),
        ("evil.example:7860", "http://evil.example:7860", "Host"),
        ("127.0.0.1.evil.example", None, "Host"),
        ("localhost.evil.example", None, "Host"),
        ("127.0.0.1:7860", "http://evil.example", "Origin"),
        ("127.0.0.1:7860", "http://127.0.0.1:3000", "Origin"),  # another program of this machine
        ("127.0.0.1:7860", "http://localhost:7860", "Origin"),
        ("127.0.0.1:7860", "null", "Origin"),
        ("127.0.0.1:7860", "", "Origin"),
        ("127.0.0.1:7860", "http://[", "Origin"),
        ("[", None, "Host"),
        ("127.0.0.1:x", "http://127.0.0.1:x", "Origin"),
        ("", None, "Host"),
    ],
)
def test_requests_of_this_page_alone_are_answered(host: str, origin: str | None, refused: str | None) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        answers.append("app")

    async def send(message: Any) -> None:
        answers.append(message)

    answers: list[Any] = []
    headers = [(b"Host", host.encode())] + ([] if origin is None else [(b"Origin", origin.encode())])
    guard = Guard(app, ["Photos.example.org:443"], ["127.0.0.1", "Mine.lan"])
    asyncio.run(guard({"type": "http", "headers": headers}, None, send))  # type: ignore[arg-type]
    if refused is None:
        assert answers == ["app"]
    else:
        assert answers[0]["status"] == 403
        assert answers[1]["body"].decode().startswith(f"{refused}: expected ")
    answers.clear()
    asyncio.run(guard({"type": "websocket", "headers": headers}, None, send))  # type: ignore[arg-type]
    assert answers == ["app"] if refused is None else answers[0]["type"] == "websocket.close"
