"""The parts of the web app's page: the settings, and a tab each for a photo, several, and a video."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ..images import READABLE, ImageError
from ..pipeline import MAX_EXPOSURE, LightenPipeline
from .jobs import Limits, new_folder, reported, restore_batch, restore_photo

if TYPE_CHECKING:
    from ..batch.run import Restore

OTHER_VIDEOS = (".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv", ".3gp")  # read, and written as Matroska

_ONE_AT_A_TIME: dict[str, Any] = {"concurrency_id": "pipe", "concurrency_limit": 1}
_PRIVATE: dict[str, Any] = {"queue": False, "api_visibility": "private"}
Settings = Sequence[gr.Slider]  # strength, exposure, steps


def settings_of(pipe: LightenPipeline) -> Settings:
    """Strength, exposure and steps, still to be placed on the page with `render`."""
    config = pipe.restorer.config
    usual = config.num_inference_steps
    return (
        gr.Slider(0, 1, 1.0, step=0.05, label="Strength", info="0 keeps the photo, 1 restores it", render=False),
        gr.Slider(
            -MAX_EXPOSURE,
            MAX_EXPOSURE,
            0.0,
            step=0.1,
            label="Exposure",
            info="stops, brighter or darker than it chooses itself",
            visible=pipe.restorer.model.exposure_control,
            render=False,
        ),
        gr.Slider(1, max(20, usual), usual, step=1, label="Steps", info="more take longer", render=False),
    )


def photo_tab(pipe: LightenPipeline, settings: Settings, limits: Limits) -> None:
    """One photo, restored as soon as it is there and whenever a setting is moved, to compare and download."""
    photo = gr.File(label=f"Photo, up to {limits.megapixels:g} megapixels", file_types=list(READABLE), height=130)
    with gr.Row():
        button = gr.Button("Restore", variant="primary", min_width=120)
        download = gr.DownloadButton("Download", interactive=False, min_width=120)
    slider = gr.ImageSlider(  # its own download button would give the preview
        label="Before and after", interactive=False, type="filepath", max_height=560, buttons=["fullscreen"]
    )
    status = gr.Markdown()

    def empty() -> tuple[Any, ...]:
        return None, gr.DownloadButton(value=None, interactive=False), ""

    def restore(photo: str | None, strength: float, exposure: float, steps: float) -> tuple[Any, ...]:
        if photo is None:
            raise gr.Error("Choose a photo first.", print_exception=False)
        with _told(cache), new_folder(cache) as folder:
            result = restore_photo(Path(photo), folder, _restorer(pipe, strength, exposure, steps), limits)
        ready = gr.DownloadButton(value=str(result.file), interactive=True)
        return (str(result.before), str(result.after)), ready, result.summary

    def again(photo: str | None, strength: float, exposure: float, steps: float) -> tuple[Any, ...]:
        return (gr.skip(),) * 3 if photo is None else restore(photo, strength, exposure, steps)

    cache, outputs = Path(photo.GRADIO_CACHE), [slider, download, status]
    given = [photo, *settings]
    button.click(restore, given, outputs, api_name="restore", **_ONE_AT_A_TIME)
    photo.upload(empty, None, outputs, **_PRIVATE).then(
        restore, given, outputs, api_visibility="private", **_ONE_AT_A_TIME
    )
    photo.clear(empty, None, outputs, **_PRIVATE)
    gr.on(
        [setting.release for setting in settings],
        again,
        given,
        outputs,
        trigger_mode="always_last",
        api_visibility="private",
        **_ONE_AT_A_TIME,
    )


def batch_tab(pipe: LightenPipeline, settings: Settings, limits: Limits) -> None:
    """Photos in, a zip file out. One that fails is listed, and the others go on."""
    photos = gr.File(
        label=f"Photos, up to {limits.megapixels:g} megapixels each",
        file_count="multiple",
        file_types=list(READABLE),
        height=220,
    )
    start, stop, download, status = _controls("Restore all", "Download all (zip)")

    def restore(photos: list[str] | None, strength: float, exposure: float, steps: float) -> Iterator[tuple[Any, ...]]:
        if not photos:
            raise gr.Error("Choose some photos first.", print_exception=False)
        restore_one = _restorer(pipe, strength, exposure, steps)
        yield gr.DownloadButton(value=None, interactive=False), f"0 of {len(photos)}"
        with _told(cache), new_folder(cache) as folder:
            archive = folder / "restored.zip"
            problems: list[str] = []
            sources = [Path(each) for each in photos]
            for tried, problem in enumerate(restore_batch(sources, archive, restore_one, limits), 1):
                problems += [problem] if problem else []
                yield gr.skip(), f"{tried} of {len(photos)}"
            if len(problems) == len(photos):
                raise ImageError("\n".join(problems))
            lines = [f"{len(photos) - len(problems)} of {len(photos)} restored."]
            lines += [f"- Failed: {html.escape(problem)}" for problem in problems]
            yield gr.DownloadButton(value=str(archive), interactive=True), "\n".join(lines)

    cache = Path(photos.GRADIO_CACHE)
    _start_and_stop(start, stop, restore, [photos, *settings], [download, status], "restore_batch")


def video_tab(pipe: LightenPipeline, settings: Settings, limits: Limits) -> None:
    """A video in, one of the same kind out, where that can be written; without PyAV, what to install."""
    try:
        from ..video.mux import ENCODERS
    except ImportError as error:  # PyAV is missing, and the message says how to get it
        gr.Markdown(f"{error}, then start this page anew.")
        return

    kinds = [*ENCODERS, *OTHER_VIDEOS]
    video = gr.File(label=f"Video, up to {limits.megabytes:g} MB", file_types=kinds, height=130)
    start, stop, download, status = _controls("Restore", "Download")

    def restore(video: str | None, strength: float, exposure: float, steps: float) -> Iterator[tuple[Any, ...]]:
        if video is None:
            raise gr.Error("Choose a video first.", print_exception=False)
        source = Path(video)
        options: dict[str, Any] = {"strength": strength, "exposure": exposure, "num_inference_steps": int(steps)}
        yield gr.DownloadButton(value=None, interactive=False), "Starting"
        with _told(cache), new_folder(cache) as folder:
            from ..video.restore import VideoSummary, restore_video

            limits.check_file(source)
            kind = source.suffix if source.suffix.lower() in ENCODERS else ".mkv"
            target = folder / f"{source.stem}-restored{kind}"
            summaries: list[VideoSummary] = []

            def work(report: Callable[..., None]) -> None:
                summaries.append(restore_video(source, target, pipe, **options, progress=report))

            for done, total in reported(work):
                yield gr.skip(), f"{done} of {total} frames" if total else f"{done} frames"
            text = ". Note: ".join((str(summaries[0]), *summaries[0].notes))
            yield gr.DownloadButton(value=str(target), interactive=True), html.escape(text)

    cache = Path(video.GRADIO_CACHE)
    _start_and_stop(start, stop, restore, [video, *settings], [download, status], "restore_video")


def _controls(start: str, download: str) -> tuple[Any, ...]:
    with gr.Row():
        buttons = (
            gr.Button(start, variant="primary", min_width=100),
            gr.Button("Stop", min_width=100),
            gr.DownloadButton(download, interactive=False, min_width=100),
        )
    return (*buttons, gr.Markdown())


def _start_and_stop(
    start: Any, stop: Any, work: Callable[..., Any], given: list[Any], outputs: list[Any], api_name: str
) -> None:
    run = start.click(work, given, outputs, api_name=api_name, show_progress="minimal", **_ONE_AT_A_TIME)
    stop.click(lambda: "Stopped.", None, outputs[-1], cancels=[run], **_PRIVATE)


def _restorer(pipe: LightenPipeline, strength: float, exposure: float, steps: float) -> Restore:
    return pipe.bind(strength=strength, exposure=exposure, num_inference_steps=int(steps))


@contextmanager
def _told(cache: Path) -> Iterator[None]:
    """What goes wrong is shown on the page in words, as long as it takes to read, and without the cache's folders."""
    try:
        yield
    except Exception as error:
        text = str(error) or type(error).__name__
        text = re.sub(re.escape(f"{cache}{os.sep}") + r"\w+" + re.escape(os.sep), "", text)
        message = html.escape(text).replace("\n", "<br>")
        expected = isinstance(error, (ValueError, InterruptedError))  # the latter when the app ends
        raise gr.Error(message, duration=None, print_exception=not expected) from error
