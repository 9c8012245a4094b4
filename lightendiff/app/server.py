"""A web page for restoring photos and videos, on this machine: `build` makes it, `launch` serves it."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import warnings
import webbrowser
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..runtime.extras import needing
from .guard import Guard
from .work import end_jobs

if TYPE_CHECKING:
    import gradio

    from ..pipeline import LightenPipeline

MAX_MEGAPIXELS = 64.0  # of a picture; phones make 50
MAX_MEGABYTES = 500.0  # of any file; a minute of a phone's video
MAX_MINUTES = 60.0  # of work for one photo, batch or video
KEPT_HOURS = 4  # how long uploads and results are kept while the app runs


def build(
    pipe: LightenPipeline,
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    max_megabytes: float = MAX_MEGABYTES,
    max_minutes: float = MAX_MINUTES,
    footer: str = "",
) -> gradio.Blocks:
    """The page as a gradio app, for `.launch()` or for mounting in another one; `launch` serves it with care.

    Args:
        pipe: restores everything, one picture or frame at a time, those of several users in turn.
        max_megapixels: larger pictures are refused.
        max_megabytes: larger files are refused, once they are uploaded; `launch` refuses them before.
        max_minutes: of work for one photo, batch or video, without the time that it waits for others; it is stopped
            then, and a batch keeps what is done.
        footer: a line below everything, such as what the weights may be used for.

    Raises:
        ImportError: gradio is missing.
        ValueError: a limit isn't positive.
    """
    _check_gradio()
    from .jobs import Limits
    from .page import page

    return page(pipe, Limits(max_megapixels, max_megabytes, max_minutes), KEPT_HOURS, footer)


def launch(
    pipe: LightenPipeline | Callable[[], LightenPipeline],
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    max_megapixels: float = MAX_MEGAPIXELS,
    max_megabytes: float = MAX_MEGABYTES,
    max_minutes: float = MAX_MINUTES,
    allow_hosts: Iterable[str] = (),
    share: bool = False,
    browser: bool = False,
    footer: str = "",
) -> None:
    """Serve the page until Ctrl-C or SIGTERM; then all uploads and results are deleted.

    Args:
        pipe: as for `build`, or a function that makes it, which is called when the address is already shown.
        max_megapixels, max_megabytes, max_minutes, footer: as for `build`.
        host: the address to listen at. The default can be reached from this machine only, "0.0.0.0" from everywhere.
        port: where; it must be free.
        allow_hosts: names by which others reach it, such as "photos.example.org" of a proxy. Addresses, localhost and
            this machine's own name are allowed anyway; requests that name another host, or come from the page of
            another one, are refused.
        share: make a public link through gradio's servers, which everything then passes.
        browser: open the page in the user's browser.

    Raises:
        ImportError: gradio is missing.
        ValueError: a limit isn't positive.
        OSError: the port is taken, or there is no such address.
    """
    _check_gradio()
    _check_limits(max_megapixels=max_megapixels, max_megabytes=max_megabytes, max_minutes=max_minutes)
    with _private_folder(), _ended_by_sigterm(), warnings.catch_warnings(), _listening(host, port) as listening:
        from .door import Door

        warnings.filterwarnings("ignore", module="PIL")  # of a picture that is refused anyway
        door = Door()
        guard = Guard(door, allow_hosts, [host, *_own_names()])
        with door.served(guard, listening) as server:
            try:
                url = f"http://{_shown_host(host)}:{port}"
                print(f"Starting at {url}", flush=True)
                if browser:
                    _browse(url)
                ready = pipe() if callable(pipe) and not hasattr(pipe, "restorer") else pipe
                page = build(
                    ready,  # type: ignore[arg-type]
                    max_megapixels=max_megapixels,
                    max_megabytes=max_megabytes,
                    max_minutes=max_minutes,
                    footer=footer,
                )
                door.open(page, max_megabytes)
                print(f"Running on local URL:  {url}", flush=True)
                if share:
                    public = _public_link(port)
                    guard.names.add(urlsplit(public).hostname or "")
                    print(f"Running on public URL: {public}", flush=True)
                server.wait()
            finally:
                end_jobs()


def _check_gradio() -> None:
    """Without importing it, which takes seconds."""
    with needing("app", "the web app"):
        if importlib.util.find_spec("gradio") is None:
            raise ModuleNotFoundError("No module named 'gradio'", name="gradio")


def _check_limits(**limits: float) -> None:
    for name, value in limits.items():
        if not value > 0:
            raise ValueError(f"{name}: expected more than 0, got {value}")


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens there, so that browsers wait from now on. OSError when that isn't possible."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listening:
        try:
            if os.name == "posix":  # elsewhere this option would allow taking a port that is in use
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            listening.listen(100)
        except OSError as error:
            raise OSError(f"cannot listen at {host}, port {port}: {error.strerror or error}") from error
        yield listening


def _shown_host(host: str) -> str:
    """What to put into an address that is opened on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def _own_names() -> list[str]:
    """Names of this machine in its network."""
    name = socket.gethostname()
    return [name, f"{name}.local"] if name else []


def _browse(url: str) -> None:
    """Open it in the user's browser, where there is one: a browser in this terminal wouldn't do."""
    graphical = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    )
    if graphical:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _public_link(port: int) -> str:
    from gradio.networking import setup_tunnel

    link: str = setup_tunnel("127.0.0.1", port, secrets.token_urlsafe(32), None, None)
    return link


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
    main = threading.current_thread() is threading.main_thread()  # elsewhere handlers can't be set
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # whoever has one ends it himself
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
