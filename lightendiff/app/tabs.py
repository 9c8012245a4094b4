"""The tabs of the page: a photo, several, and a video."""

from __future__ import annotations

import os
import re
import secrets
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..images import READABLE
from ..pipeline import LightenPipeline
from ..progress import Stopped
from . import widgets
from .jobs import VIDEOS, Cache, Limits
from .tasks import EXPOSURES, Batch, Choices, Photo, Progress, Seen, Video
from .work import Job, Jobs, reported

BEFORE_STARTING = "Waiting for its turn"
KINDS = [*READABLE, *VIDEOS]  # may be uploaded in every tab, so that one that belongs to another is told which

Settings = Sequence[gr.Slider]  # strength, exposure, steps
Shown = dict[Any, Any]  # components -> their new values
_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
_AT_ONCE: dict[str, Any] = _PRIVATE | {"queue": False}
_ANY_NUMBER: dict[str, Any] = _PRIVATE | {"concurrency_limit": None}  # the jobs take turns themselves


@dataclass(frozen=True)
class Shared:
    """What all users of the page share."""

    pipe: LightenPipeline
    limits: Limits
    jobs: Jobs
    cache: Cache


def photo_tab(shared: Shared, settings: Settings) -> None:
    """One photo, restored as soon as it is there and whenever a setting is changed, to compare and download."""
    limits = shared.limits
    photo = gr.File(label=f"Photo, up to {limits.megapixels:g} megapixels", file_types=KINDS, height=130)
    status, (start, stop) = _controls("Restore", "photo")
    compare = widgets.compare("photo")
    choices = widgets.choices()
    controls = Controls(shared, "photo", status, stop)

    def show(task: Photo, report: Any) -> Shown:
        if isinstance(report, Seen):
            return {compare: widgets.seen(task.source.name, report.before), status: widgets.status("Restoring", 0.0)}
        if isinstance(report, Choices):
            return {choices: widgets.choosable(EXPOSURES, report.files)}
        value = widgets.compared(task.source.name, report)
        return {compare: widgets.downloadable(value, report, task.settings), status: widgets.status("Restored.")}

    async def show_photo(
        photo: str | None, strength: float, exposure: float, steps: float, request: gr.Request
    ) -> AsyncIterator[Shown]:
        if photo is None:
            yield {status: widgets.status("Choose a photo first.", failed=True)}
            return
        task = Photo(shared.pipe, limits, Path(photo), shared.cache, (strength, exposure, steps))
        async for shown in controls.run(request, task, lambda report: show(task, report)):
            yield shown

    async def show_new_photo(
        photo: str | None, strength: float, exposure: float, steps: float, request: gr.Request
    ) -> AsyncIterator[Shown]:
        yield {compare: None, choices: []}
        if photo is not None:
            task = Photo(shared.pipe, limits, Path(photo), shared.cache, (strength, exposure, steps), new=True)
            async for shown in controls.run(request, task, lambda report: show(task, report)):
                yield shown

    def clear(request: gr.Request) -> Shown:
        shared.jobs.stop(_user(request), "photo")
        return {compare: None, choices: [], status: widgets.status()}

    outputs = [compare, choices, status, stop]
    asks = "(...given) => window.lightendiff.asks(...given)"
    given = [photo, *settings]
    start.click(show_photo, given, outputs, js=asks, trigger_mode="multiple", **_ANY_NUMBER)
    photo.upload(show_new_photo, given, outputs, js=asks, trigger_mode="multiple", **_ANY_NUMBER)
    photo.clear(clear, None, outputs, js="() => { window.lightendiff.forgets(true); return []; }", **_AT_ONCE)
    controls.stops(js="() => { window.lightendiff.forgets(false); return []; }")
    _picks(choices, settings[1])


def batch_tab(shared: Shared, settings: Settings) -> None:
    """Photos in, shown as they are done, a zip file out. One that fails is listed, and the others go on."""
    photos = gr.File(
        label=f"Photos, up to {shared.limits.megapixels:g} megapixels each",
        file_count="multiple",
        file_types=KINDS,
        height=160,
    )
    status, (start, stop, download) = _controls("Restore all", "batch", "Download all (zip)")
    widgets.compare("batch")
    gallery = widgets.gallery()
    controls = Controls(shared, "batch", status, stop)

    async def show_batch(
        photos: list[str] | None, strength: float, exposure: float, steps: float, request: gr.Request
    ) -> AsyncIterator[Shown]:
        if not photos:
            yield {status: widgets.status("Choose some photos first.", failed=True)}
            return
        task = Batch(
            shared.pipe, shared.limits, [Path(each) for each in photos], shared.cache, (strength, exposure, steps)
        )
        identity, items = secrets.token_hex(4), list[widgets.Value]()

        def show(report: Any) -> Shown:
            if isinstance(report, tuple):
                source, result = report
                items.append(widgets.compared(source.name, result))
                return {gallery: {"id": identity, "items": list(items)}}
            ready = gr.DownloadButton(value=str(report), interactive=True)
            return {download: ready, status: widgets.status(task.summary, problems=task.problems)}

        yield {gallery: {"id": identity, "items": []}, download: gr.DownloadButton(value=None, interactive=False)}
        async for shown in controls.run(request, task, show):
            yield shown

    start.click(show_batch, [photos, *settings], [gallery, download, status, stop], **_ANY_NUMBER)
    controls.stops()


def video_tab(shared: Shared, settings: Settings) -> None:
    """A video in, one of the same kind out, where that can be written; without PyAV, what to install."""
    if reason := why_no_videos():
        gr.Markdown(f"{reason}, then start this page anew.")
        return
    video = gr.File(label=f"Video, up to {shared.limits.megabytes:g} MB", file_types=KINDS, height=130)
    status, (start, stop, download) = _controls("Restore", "video", "Download")
    player = gr.HTML(None, html_template=widgets.PLAYER, apply_default_css=False)
    controls = Controls(shared, "video", status, stop)

    async def show_video(
        video: str | None, strength: float, exposure: float, steps: float, request: gr.Request
    ) -> AsyncIterator[Shown]:
        if video is None:
            yield {status: widgets.status("Choose a video first.", failed=True)}
            return
        task = Video(shared.pipe, shared.limits, Path(video), shared.cache, (strength, exposure, steps))

        def show(report: Any) -> Shown:
            ready = gr.DownloadButton(value=str(report), interactive=True)
            return {
                download: ready,
                player: widgets.player(task.playable),
                status: widgets.status(task.summary, problems=task.problems),
            }

        yield {player: None, download: gr.DownloadButton(value=None, interactive=False)}
        async for shown in controls.run(request, task, show):
            yield shown

    start.click(show_video, [video, *settings], [player, download, status, stop], **_ANY_NUMBER)
    controls.stops()


@dataclass(frozen=True)
class Controls:
    """A tab's line of what is going on, and its button that stops it."""

    shared: Shared
    place: str
    status: gr.HTML
    stop: gr.Button

    async def run(
        self, request: gr.Request, task: Callable[[Job], object], show: Callable[[Any], Shown]
    ) -> AsyncIterator[Shown]:
        """Run a task for the page in place of the one that is there; what it reports is shown as `show` has it."""
        job = self.shared.jobs.start(_user(request), self.place)
        yield {self.status: widgets.status(BEFORE_STARTING), self.stop: gr.Button(interactive=True)}
        end: Shown = {}
        try:
            async with aclosing(reported(job, task)) as reports:
                async for report in reports:
                    if job.unwanted:
                        return
                    if isinstance(report, Progress):
                        yield {self.status: widgets.status(str(report), report.share)}
                    else:
                        yield {self.status: gr.skip()} if report is None else show(report)
        except Stopped as why:
            end = {self.status: widgets.status(str(why))}
        except Exception as error:
            if not isinstance(error, (ValueError, OSError)):  # what is wrong with a file isn't the server's trouble
                traceback.print_exception(error)
            end = {self.status: widgets.status(in_words(error, self.shared.cache.folder), failed=True)}
        if not job.unwanted:
            yield end | {self.stop: gr.Button(interactive=False)}

    def stops(self, js: str | None = None) -> None:
        """Have the button stop the page's job."""

        def end(request: gr.Request) -> Shown:
            there = self.shared.jobs.stop(_user(request), self.place)
            return {self.status: widgets.status("Stopping") if there else gr.skip()}

        self.stop.click(end, None, [self.status], js=js, **_AT_ONCE)


def in_words(error: Exception, cache: Path) -> str:
    """What went wrong, without the cache's folders."""
    text = str(error) or type(error).__name__
    return re.sub(re.escape(f"{cache}{os.sep}") + rf"(\w+{re.escape(os.sep)})*", "", text)


def _picks(choices: gr.HTML, exposure: gr.Slider) -> None:
    def chosen(event: gr.EventData) -> float:
        return float(event.stops)

    choices.pick(chosen, None, exposure, **_AT_ONCE)


def _controls(start: str, place: str, download: str | None = None) -> tuple[gr.HTML, list[Any]]:
    """The line of what is going on, and buttons beside it."""
    with gr.Row(elem_classes="ld-controls"):
        status = gr.HTML(widgets.status(), apply_default_css=False, scale=3, min_width=160)
        buttons: list[Any] = [
            gr.Button(start, variant="primary", size="sm", scale=0, min_width=90, elem_id=f"{place}-restore"),
            gr.Button("Stop", interactive=False, size="sm", scale=0, min_width=70, elem_id=f"{place}-stop"),
        ]
        if download is not None:
            buttons.append(gr.DownloadButton(download, interactive=False, size="sm", scale=0, min_width=130))
    return status, buttons


def why_no_videos() -> str | None:
    """How to get what videos need, where it is missing."""
    try:
        from ..video.frames import av  # noqa: F401
    except ImportError as error:
        return str(error)
    return None


def _user(request: gr.Request) -> str:
    return request.session_hash or ""
