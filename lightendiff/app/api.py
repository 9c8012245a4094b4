"""The endpoints for other programs: /restore, /restore_batch and /restore_video."""

from __future__ import annotations

import html
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr

from ..progress import Stopped
from .jobs import Comparison
from .tabs import KINDS, Settings, Shared, in_words, why_no_videos
from .tasks import Batch, Photo, Progress, Video
from .work import Job, reported

_UNSEEN: dict[str, Any] = {"visible": False}


def endpoints(shared: Shared, settings: Settings) -> None:
    """Add them to the page, of which they need components that can't be seen."""
    photo, video = (gr.File(label=label, file_types=KINDS, **_UNSEEN) for label in ("Photo", "Video"))
    photos = gr.File(label="Photos", file_count="multiple", file_types=KINDS, **_UNSEEN)
    previews = gr.ImageSlider(label="Before and after", type="filepath", **_UNSEEN)
    download, text = gr.DownloadButton("Download", **_UNSEEN), gr.Markdown(**_UNSEEN)

    async def answers(request: gr.Request, task: Callable[[Job], object]) -> AsyncIterator[tuple[Any, str]]:
        """What the task reports, and how far it is; what goes wrong is told in words."""
        job = shared.jobs.start(request.session_hash or "")
        try:
            async with aclosing(reported(job, task)) as reports:
                said = "Waiting"
                async for report in reports:
                    said = str(report) if isinstance(report, Progress) else said
                    yield report, said
        except Exception as error:
            expected = isinstance(error, (ValueError, OSError, Stopped))
            if not expected:
                traceback.print_exception(error)
            message = html.escape(in_words(error, shared.cache.folder)).replace("\n", "<br>")
            raise gr.Error(message, duration=None, print_exception=False) from error

    async def restore(
        photo: str | None, strength: float, exposure: float, steps: float, request: gr.Request
    ) -> AsyncIterator[tuple[Any, ...]]:
        if photo is None:
            raise gr.Error("Choose a photo first.", print_exception=False)
        task = Photo(shared.pipe, shared.limits, Path(photo), shared.cache, (strength, exposure, steps))
        async for report, said in answers(request, task):
            if isinstance(report, Comparison):
                yield (str(report.before), str(report.after)), _given(report.file), report.summary
            else:
                yield gr.skip(), gr.skip(), said

    async def restore_batch(
        photos: list[str] | None, strength: float, exposure: float, steps: float, request: gr.Request
    ) -> AsyncIterator[tuple[Any, ...]]:
        if not photos:
            raise gr.Error("Choose some photos first.", print_exception=False)
        task = Batch(
            shared.pipe, shared.limits, [Path(each) for each in photos], shared.cache, (strength, exposure, steps)
        )
        async for report, said in answers(request, task):
            if isinstance(report, Path):
                lines = [task.summary, *(f"- Failed: {html.escape(problem)}" for problem in task.problems)]
                yield _given(report), "\n".join(lines)
            else:
                yield gr.skip(), said

    async def restore_video(
        video: str | None, strength: float, exposure: float, steps: float, request: gr.Request
    ) -> AsyncIterator[tuple[Any, ...]]:
        if video is None:
            raise gr.Error("Choose a video first.", print_exception=False)
        task = Video(shared.pipe, shared.limits, Path(video), shared.cache, (strength, exposure, steps))
        async for report, said in answers(request, task):
            if isinstance(report, Path):
                yield _given(report), html.escape(". Note: ".join((task.summary, *task.problems)))
            else:
                yield gr.skip(), said

    for function, given, outputs in (
        (restore, photo, [previews, download, text]),
        (restore_batch, photos, [download, text]),
        *([] if why_no_videos() else [(restore_video, video, [download, text])]),
    ):
        gr.Button(**_UNSEEN).click(
            function, [given, *settings], outputs, api_name=function.__name__, concurrency_limit=None
        )


def _given(file: Path) -> Any:
    return gr.DownloadButton(value=str(file))
