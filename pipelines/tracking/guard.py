"""Who a server on 127.0.0.1 answers, the programs of this machine and its own pages, and how long it lives."""

import os
import signal
import time
from contextlib import suppress
from threading import Thread

import psutil
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Set for a server whose standard input its parent holds open.
ENDS_WITH_PARENT = "KNOTWATCH_ENDS_WITH_PARENT"
_LAST = 10.0  # seconds that an orderly end may take


def end_group_with_parent() -> None:
    """Have this process, its group and what it started end with the parent, which holds its standard input open.

    The system closes that, too, when the parent is killed. Where `ENDS_WITH_PARENT` is not set, standard input says
    nothing of the kind, and nothing is done.
    """
    if os.environ.get(ENDS_WITH_PARENT):
        Thread(target=_await_end, name="parent", daemon=True).start()


def _await_end() -> None:
    while os.read(0, 1):
        pass
    # A worker's flow runs are no part of its group. Told to end, they would count as crashed: left open, they begin
    # again with the next worker.
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    os.killpg(0, signal.SIGTERM)
    # Whoever has not ended by itself until then.
    time.sleep(_LAST)
    os.killpg(0, signal.SIGKILL)


class Guard:
    """Refuse what a page of another origin asks, or one that reached this server under a name of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif _is_own(Headers(scope=scope), scope["server"][1]):
            await self._app(scope, receive, _kept_in(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await PlainTextResponse("this server answers its own pages alone", 403)(scope, receive, send)


def _is_own(headers: Headers, port: int) -> bool:
    hosts = headers.getlist("host")
    named = len(hosts) == 1 and hosts[0] in {f"127.0.0.1:{port}", f"localhost:{port}"}
    return named and not is_foreign(headers)


def is_foreign(headers: Headers) -> bool:
    """Tell whether a page of another origin asks; programs name no origin."""
    # Browsers name none either where a page asks without wanting to read; they say so in these. A link may lead here.
    own = headers.get("sec-fetch-site", "none") in {"none", "same-origin"}
    followed = headers.get("sec-fetch-mode") == "navigate"
    return not (set(headers.getlist("origin")) <= {f"http://{headers.get('host')}"} and (own or followed))


# What these pages may ask for: this server alone. Prefect's ask a host that counts visits, whatever its settings say.
_POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; form-action 'self'; base-uri 'self'"


def _kept_in(send: Send) -> Send:
    """Keep other pages from showing this server's inside theirs, where a click could be stolen, and these from asking
    another.
    """

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Frame-Options"] = "SAMEORIGIN"
            headers.setdefault("Content-Security-Policy", _POLICY)
        await send(message)

    return sending
