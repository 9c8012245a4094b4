"""Serving the page: from the first second, while what is behind it is still being loaded."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import uvicorn

from .guard import App, Receive, Scope, Send

if TYPE_CHECKING:
    import gradio

_STARTING = Path(__file__).parent / "static" / "starting.html"
_GRACE = 1  # seconds that open connections have when the server ends


class Door:
    """An ASGI app that is there at once. Until `open`, browsers get a page that asks again, and other requests wait."""

    def __init__(self) -> None:
        self._page: gradio.Blocks | None = None
        self._app: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if not self._opened.is_set() and b"text/html" in dict(scope["headers"]).get(b"accept", b""):
            headers = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": _STARTING.read_bytes()})
            return
        await self._opened.wait()
        await self._app(scope, receive, send)

    @contextmanager
    def served(self, guard: App, listening: socket.socket) -> Iterator[Server]:
        """Serve it behind `guard` at a listening socket, in a thread of its own, until the end."""
        server = Server(guard, listening)
        try:
            yield server
        finally:
            if self._page is not None:
                self._loop.call_soon_threadsafe(self._page.close, False)  # connections that last end themselves then
            server.end()

    def open(self, page: gradio.Blocks, max_megabytes: float) -> None:
        """From now on the page is behind it. Files of more megabytes (2²⁰ bytes) are refused."""
        import fastapi
        import gradio

        self._page = page
        self._app = gradio.mount_gradio_app(
            fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
            page,
            path="/",
            max_file_size=int(max_megabytes * 2**20),
            footer_links=["api", "settings"],
            # What environment variables could switch on: Node, a record of runs in the browser, other doors.
            ssr_mode=False,
            run_history=False,
            enable_monitoring=False,
            mcp_server=False,
        )
        self._loop.call_soon_threadsafe(self._loaded.set)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        self._loaded, self._opened = asyncio.Event(), asyncio.Event()
        await receive()
        await send({"type": "lifespan.startup.complete"})
        live, closing = asyncio.create_task(self._live()), asyncio.create_task(_wait_for(receive))
        await asyncio.wait([live, closing], return_when=asyncio.FIRST_COMPLETED)
        await closing
        live.cancel()
        await asyncio.wait([live])
        await send({"type": "lifespan.shutdown.complete"})

    async def _live(self) -> None:
        """The page's own beginning and end, within which requests reach it."""
        await self._loaded.wait()
        async with self._app.router.lifespan_context(self._app):
            self._opened.set()
            await asyncio.Event().wait()


async def _wait_for(receive: Receive) -> None:
    await receive()


class Server:
    """uvicorn in a thread, so that signals and imports have the main one."""

    def __init__(self, app: App, listening: socket.socket) -> None:
        config = uvicorn.Config(
            app, lifespan="on", ws="none", log_level="warning", timeout_graceful_shutdown=_GRACE, server_header=False
        )
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._server.run, args=([listening],), daemon=True, name="server")
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.01)

    def wait(self) -> None:
        """Until Ctrl-C or SIGTERM, or the server ends itself."""
        try:
            while self._thread.is_alive():
                self._thread.join(0.5)
        except KeyboardInterrupt:
            pass

    def end(self) -> None:
        """No longer listen."""
        self._server.should_exit = True
        self._thread.join(10 * _GRACE)
