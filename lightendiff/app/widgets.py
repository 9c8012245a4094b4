"""What gradio has no component for: comparing a picture before and after, choosing an exposure, results as they come.

Each is an HTML component with a script of its own (`static/`), whose value Python sets.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from .jobs import Comparison

_STATIC = Path(__file__).parent / "static"
Value = dict[str, Any]


def head(title: str, about: str) -> gr.HTML:
    """The page's title, with what the other widgets need on the page."""
    text = f"<div class='ld-head'><h1>{html.escape(title)}</h1><p>{html.escape(about)}</p></div>"
    style = f"<style>{_text('page.css')}</style>"
    return gr.HTML(style + text, js_on_load=_text("settings.js"), apply_default_css=False)


def compare(place: str) -> gr.HTML:
    """A picture before and after; its value is of `seen` or `compared`. Of the place "photo", it can be downloaded."""
    return _html("compare", _text("compare.html"), place=place)


def choices() -> gr.HTML:
    """A row of exposures. `pick` tells the one that is chosen, as `stops`. Its value is of `choosable`."""
    return _html("choices", "<div class='ld-choices' role='group' aria-label='Exposures to choose from' hidden></div>")


def gallery() -> gr.HTML:
    """Pictures before and after, of which one is chosen to be compared.

    Its value has the `id` of the run that they come from, and `items` of `compared`.
    """
    return _html("gallery", "<div class='ld-gallery' role='group' aria-label='Restored photos' hidden></div>")


def seen(source: str, before: Path) -> Value:
    """A picture that is still to be restored."""
    return {"source": source, "before": _file(before)}


def compared(source: str, result: Comparison) -> Value:
    """A picture that is restored."""
    shown = {"name": result.name, "text": result.summary, "after": _file(result.after)}
    return seen(source, result.before) | shown


def downloadable(value: Value, result: Comparison, settings: Sequence[float]) -> Value:
    """The same with its file, for as long as the settings on the page are those."""
    return value | {"file": _file(result.file), "settings": list(settings)}


def choosable(stops: Sequence[float], pictures: Sequence[Path]) -> list[Value]:
    """A picture at each exposure."""
    return [{"stops": each, "image": _file(path)} for each, path in zip(stops, pictures, strict=True)]


def player(value: Path | None) -> Any:
    """A video, as the value of a `gr.HTML` with `PLAYER` as its template."""
    return None if value is None else _file(value)


PLAYER = """${value ? `
<div class='ld-player'><video controls src='${value.url}' aria-label='The restored video'></video></div>` : ''}"""


def status(text: str = "", share: float | None = None, problems: Sequence[str] = (), failed: bool = False) -> str:
    """What is going on, with how much of it is done; `problems` a line each."""
    bar = "" if share is None else f"<progress max='1' value='{share:.3f}' aria-label='Progress'></progress>"
    role = "alert" if failed else "status"
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in problems)
    told = html.escape(text).replace("\n", "<br>")
    return f"<div class='ld-status'>{bar}<span role='{role}'>{told}</span>{f'<ul>{lines}</ul>' if lines else ''}</div>"


def _html(name: str, template: str, **props: Any) -> gr.HTML:
    return gr.HTML(None, html_template=template, js_on_load=_text(f"{name}.js"), apply_default_css=False, **props)


def _file(path: Path) -> Value:
    """As gradio sends files to the page, with an address."""
    return {"path": str(path), "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}


def _text(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")
