"""Who may talk to the app: requests that name this machine, from the app's own page or from no page at all.

Any web page may have the browser of its visitor send requests to this machine. Two headers that pages can't forge tell:
`Origin` names the page that sends. `Host` is the name that the browser looked up, which is a foreign one where a page
has its own name lead to this machine (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """ASGI middleware that answers requests with 403 where `refusal` says why.

    Args:
        app: gets the others.
        names: further names under which the app is reached, such as that of a proxy. That may tell the app another one.
        own: names of this machine, where other programs may have pages of their own.
    """

    def __init__(self, app: App, names: Iterable[str] = (), own: Iterable[str] = ()) -> None:
        self.app = app
        self.names = {_name(f"//{name}") for name in names} - {""}  # a port beside it doesn't matter
        self.own = {name.lower() for name in own}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or (reason := self.refusal(scope["headers"])) is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": reason[:120]})
        else:
            text = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": text})
            await send({"type": "http.response.body", "body": f"{reason}\n".encode()})

    def refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Why a request isn't answered, from its headers; None for one that is."""
        found = {name.lower(): value.decode("latin-1").strip() for name, value in headers}
        host, origin = found.get(b"host", ""), found.get(b"origin")
        name = _name(f"//{host}")
        # Names lead where their owners say, addresses only where they say themselves.
        if not (_is_local(name) or _is_address(name) or name in self.names | self.own):
            return f"Host: expected an address, localhost or a name that --allow-host gave, got {host!r}"
        # A proxy may have put another Host there, but not another Origin.
        if origin is None:
            return None
        place = _place(origin)
        if place is not None and place == _place(f"{origin.partition(':')[0]}://{host}"):
            return None
        return None if _name(origin) in self.names else f"Origin: expected the app's own page, got {origin!r}"


def _name(url: str) -> str:
    """The host's name in a URL, "" where there is none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _place(url: str) -> tuple[str, int | None] | None:
    """Name and port of a URL, None where there are none."""
    try:
        port = urlsplit(url).port or {"http": 80, "https": 443}.get(urlsplit(url).scheme)
    except ValueError:
        return None
    return (name, port) if (name := _name(url)) else None


def _is_local(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
