"""A web page for restoring photos and videos, on this machine: `build` makes it, `launch` serves it."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..pipeline import LightenPipeline
from .jobs import MEGABYTE, Limits, end_works

if TYPE_CHECKING:
    import gradio

MAX_MEGAPIXELS = 64.0  # of a picture; phones make 50
MAX_MEGABYTES = 500.0  # of any file; a minute of a phone's video
KEPT_HOURS = 4  # how long uploads and results are kept while the app runs


def build(
    pipe: LightenPipeline,
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    max_megabytes: float = MAX_MEGABYTES,
    footer: str = "",
) -> gradio.Blocks:
    """The page as a gradio app, for `.launch()` or for mounting in another one; `launch` does the former with care.

    Args:
        pipe: restores everything, one thing at a time.
        max_megapixels: larger pictures are refused.
        max_megabytes: larger files are refused, once they are uploaded; `launch` refuses them before.
        footer: a line below everything, such as what the weights may be used for.

    Raises:
        ImportError: gradio is missing.
        ValueError: a limit isn't positive.
    """
    gr = _gradio()
    from . import tabs

    limits = Limits(max_megapixels, max_megabytes)
    title, seconds = "lightendiff", KEPT_HOURS * 3600
    blocks: gradio.Blocks
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(600, seconds)) as blocks:
        gr.Markdown(
            f"# {title}\nRestores photos that are too dark. They stay on the machine that runs this page, "
            f"and are deleted there after {KEPT_HOURS} hours or when it is stopped."
        )
        settings = tabs.settings_of(pipe)
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                with gr.Tab("Photo"):
                    tabs.photo_tab(pipe, settings, limits)
                with gr.Tab("Several photos"):
                    tabs.batch_tab(pipe, settings, limits)
                with gr.Tab("Video"):
                    tabs.video_tab(pipe, settings, limits)
            with gr.Column(scale=1, min_width=260):
                for setting in settings:
                    setting.render()
        if footer:
            gr.Markdown(footer)
    return blocks


def launch(
    pipe: LightenPipeline,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    max_megapixels: float = MAX_MEGAPIXELS,
    max_megabytes: float = MAX_MEGABYTES,
    share: bool = False,
    footer: str = "",
) -> None:
    """Serve the page until Ctrl-C or SIGTERM; then all uploads and results are deleted.

    Args:
        pipe, max_megapixels, max_megabytes, footer: as for `build`.
        host: the address to listen at. The default can be reached from this machine only, "0.0.0.0" from everywhere.
        port: where; it must be free.
        share: make a public link through gradio's servers, which everything then passes.

    Raises:
        ImportError: gradio is missing.
        ValueError: a limit isn't positive.
        OSError: the port is taken, or there is no such address.
    """
    with _private_folder(), _ended_by_sigterm(), warnings.catch_warnings():
        _gradio()  # whether it's missing doesn't depend on the address
        _check_address(host, port)
        warnings.filterwarnings("ignore", module="PIL")  # of a picture that is refused anyway
        page = build(pipe, max_megapixels=max_megapixels, max_megabytes=max_megabytes, footer=footer)
        try:
            page.launch(
                server_name=host,
                server_port=port,
                share=share,
                max_file_size=int(max_megabytes * MEGABYTE),
                footer_links=["api", "settings"],
                # What environment variables could switch on: Node, a record of runs in the browser, other doors.
                ssr_mode=False,
                run_history=False,
                enable_monitoring=False,
                mcp_server=False,
                prevent_thread_lock=True,
            )
            if not page.server.should_exit:  # GRADIO_DEBUG makes it wait itself
                page.block_thread()  # also at Python's prompt, where it wouldn't wait itself
        finally:
            end_works()


def _gradio() -> Any:
    try:
        import gradio
    except ImportError as error:
        raise ImportError("the web app needs gradio: pip install 'lightendiff[app]'") from error
    return gradio


def _check_address(host: str, port: int) -> None:
    """OSError when it isn't possible to listen there, in fewer words than gradio's."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            if os.name == "posix":  # elsewhere this option would allow taking a port that is in use
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise OSError(f"cannot listen at {host}, port {port}: {error.strerror or error}") from error


@contextmanager
def _private_folder() -> Iterator[None]:
    """gradio's files lie in a folder that only this user can read, and which goes in the end. It looks where they are
    to lie when it is imported and later."""
    before = os.environ.get("GRADIO_TEMP_DIR")
    with tempfile.TemporaryDirectory(prefix="lightendiff-", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["GRADIO_TEMP_DIR"]
            if before is not None:
                os.environ["GRADIO_TEMP_DIR"] = before


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the app as Ctrl-C does, so that its files are deleted."""
    if threading.current_thread() is not threading.main_thread():  # elsewhere handlers can't be set
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
