"""The page as a gradio app: its settings, its tabs, and how they lie beside each other."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import gradio as gr

from ..pipeline import MAX_EXPOSURE, LightenPipeline
from . import api, tabs, widgets
from .jobs import PHOTO, SEVERAL, VIDEO, Cache, Limits
from .tabs import Settings, Shared
from .work import Jobs

TITLE = "lightendiff"


def page(pipe: LightenPipeline, limits: Limits, hours: float, footer: str) -> gr.Blocks:
    """All of it. Files are deleted after so many hours."""
    cleaning = (600, round(hours * 3600))
    blocks: gr.Blocks
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=cleaning) as blocks:
        widgets.head(
            TITLE,
            "Restores photos that are too dark. They stay on the machine that runs this page, and are deleted there "
            f"after {hours:g} hours or when it is stopped.",
        )
        settings = _settings(pipe)
        cache = Cache(Path(settings[0].GRADIO_CACHE), blocks.temp_file_sets)
        shared = Shared(pipe, limits, Jobs(60 * limits.minutes), cache)
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                with gr.Tab(PHOTO):
                    tabs.photo_tab(shared, settings)
                with gr.Tab(SEVERAL):
                    tabs.batch_tab(shared, settings)
                with gr.Tab(VIDEO):
                    tabs.video_tab(shared, settings)
            with gr.Column(scale=1, min_width=260, elem_id="settings"):
                for setting in settings:
                    setting.render()
        gr.on(
            [setting.change for setting in settings],
            None,
            list(settings),
            None,
            js="(...settings) => window.lightendiff.moved(...settings)",
        )
        api.endpoints(shared, settings)
        if footer:
            gr.HTML(f"<p>{html.escape(footer)}</p>")
    return blocks


def _settings(pipe: LightenPipeline) -> Settings:
    """Strength, exposure and steps, still to be placed on the page with `render`."""
    usual = pipe.restorer.config.num_inference_steps
    return (
        gr.Slider(0, 1, 1.0, step=0.05, label="Strength", info="0 keeps the photo, 1 restores it", **_setting(0)),
        gr.Slider(
            -MAX_EXPOSURE,
            MAX_EXPOSURE,
            0.0,
            step=0.1,
            label="Exposure",
            info="stops, brighter or darker than it chooses itself",
            visible=pipe.restorer.model.exposure_control,
            **_setting(1),
        ),
        gr.Slider(1, max(20, usual), usual, step=1, label="Steps", info="more take longer", **_setting(2)),
    )


def _setting(number: int) -> dict[str, Any]:
    return {"elem_id": f"setting-{number}", "render": False}
